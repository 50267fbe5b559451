"""Draw the picture of the README: python docs/images/draw.py

The Fano plane, a larger plane as a matrix, and that plane as the connections of a layer.
"""

from pathlib import Path

from matplotlib.figure import Figure

import bibdlib
from bibdlib.plot import draw_incidence, draw_plane
from iddl_prune import SparsePattern
from iddl_prune.pictures import draw_pattern

plane = bibdlib.finite_geometry.projective_plane(7)
figure = Figure(figsize=(9.6, 3.4), layout="constrained")
left, middle, right = figure.subplots(1, 3)
draw_plane(bibdlib.construct(7, 3, 1), ax=left).set_title("the (7, 3, 1) design", fontsize=10)
draw_incidence(plane, ax=middle).set_title(f"the {plane.parameters} design as a matrix", fontsize=10)
pattern = SparsePattern.from_design(256, 128, plane)
draw_pattern(pattern, right).set_title(
    f"and as a layer, {pattern.in_features} -> {pattern.out_features}, {pattern.density:.0%} kept", fontsize=10
)
figure.savefig(Path(__file__).with_name("designs.png"), dpi=100)
