"""
Incidence matrices
==================

A design is a table of zeros and ones: a row for each point, a column for each block,
a dark cell where the point lies on the block.
"""

import numpy as np
from matplotlib import pyplot

import bibdlib
from bibdlib.plot import draw_incidence

parameters = [(7, 3, 1), (13, 4, 1), (31, 6, 1), (16, 6, 2), (19, 9, 4), (15, 3, 1)]

figure, axes = pyplot.subplots(2, 3, figsize=(10, 7), layout="constrained")
for ax, p in zip(axes.flat, parameters, strict=True):
    draw_incidence(bibdlib.construct(*p), ax=ax)
    ax.set_title(f"(v, k, λ) = {p}")
pyplot.show()

# %%
# In the first five there are as many blocks as points; the last, a triple system, has 35 blocks.
# Every column holds k dark cells, every row r.
#
# What makes a design is seen in the product N Nᵀ. Its entry (x, y) counts the blocks that hold both x and y:
# r where x = y, and the same number λ everywhere else. A random table with the same number of
# cells in every column does not have that.

design = bibdlib.construct(31, 6, 1)
balanced = design.incidence_matrix().astype(int)
generator = np.random.default_rng(0)
drawn = np.zeros_like(balanced)
for column in drawn.T:
    column[generator.choice(design.v, design.k, replace=False)] = 1

figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, matrix, title in zip(
    axes, [balanced, drawn], ["the (31, 6, 1) design", "columns drawn at random"], strict=True
):
    image = ax.imshow(matrix @ matrix.T, cmap="viridis", vmin=0, vmax=drawn.sum(axis=1).max())
    ax.set(title=f"$N N^T$ of {title}", xlabel="point", ylabel="point")
figure.colorbar(image, ax=axes, label="blocks that hold both")
pyplot.show()

# %%
# Exchanging zeros and ones gives the complement, which is a design again.

figure, axes = pyplot.subplots(1, 2, figsize=(8, 4), layout="constrained")
for ax, d in zip(axes, [design, design.complement()], strict=True):
    draw_incidence(d, ax=ax)
    ax.set_title(f"(v, k, λ) = {d.parameters}")
pyplot.show()
