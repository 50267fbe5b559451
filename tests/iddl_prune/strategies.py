"""Random patterns and layer shapes."""

from __future__ import annotations

from hypothesis import strategies as st

import bibdlib
from iddl_prune import SparsePattern

SMALL_DESIGNS = ((7, 3, 1), (4, 3, 2), (9, 3, 1), (13, 4, 1), (6, 3, 2), (11, 5, 2), (3, 2, 1))


@st.composite
def patterns(draw: st.DrawFn) -> SparsePattern:
    """A design spread over widths that are no multiple of anything, with any edge."""
    design = bibdlib.construct(*draw(st.sampled_from(SMALL_DESIGNS)))
    edge = draw(st.integers(1, 4))
    width = st.integers(0, 30)
    in_features = (design.v - 1) * edge + 1 + draw(width)
    out_features = (design.b - 1) * edge + 1 + draw(width)
    return SparsePattern.from_design(in_features, out_features, design, edge=edge)
