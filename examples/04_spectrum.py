"""
The spectrum of a design
========================

For a design N Nᵀ = (r - λ) I + λ J, so the incidence matrix N has only two singular values:
√(rk) once, and √(r - λ) for everything that is orthogonal to the constant vector.
"""

import numpy as np
from matplotlib import pyplot

import bibdlib
from bibdlib.plot import draw_spectrum
from iddl_prune import SparsePattern

design = bibdlib.construct(73, 9, 1)
drawn = SparsePattern.from_design(design.v, design.b, design).random(seed=0)

# %%
# Beside it stands a random table with the same number of ones in each row and in each column
# (the control that `iddl_prune` uses).

figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
draw_spectrum(design, ax=axes, label="the plane of order 8, (73, 9, 1)")
draw_spectrum(drawn.mask().T, ax=axes, label="random, the same degrees")
pyplot.show()

# %%
# Both have the largest value √(rk) = 9, since that comes from the degrees alone. The others of the design
# are all √8 = 2.83; those of the random table reach from near zero to well above that.
# Read as a layer with equal weights, the design passes on every contrast between its inputs with the same strength;
# the random one amplifies some and all but loses others.

for name, matrix in {"design": design.incidence_matrix(), "random": drawn.mask().T}.items():
    values = np.linalg.svd(matrix.astype(float), compute_uv=False)
    print(f"{name}: largest {values[0]:.3f}, second {values[1]:.3f}, smallest {values[-1]:.3f}")

# %%
# That is a property of the connections before any weight is learnt. Whether it helps a trained network is a question
# of measurement, and the answer so far is sobering: see :doc:`/explanation/the-fit`.
