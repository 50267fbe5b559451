"""
The connections of a sparse layer
=================================

How a design is laid over a layer of a trained network, and what fitting it to the weights means.
"""

from dataclasses import replace

import numpy as np
import torch
from matplotlib import pyplot
from rich.console import Console

from iddl_prune import plan, prune_
from iddl_prune.data import load
from iddl_prune.finetune import TrainConfig, train
from iddl_prune.models import build
from iddl_prune.pictures import draw_pattern

# %%
# First a small dense network, trained on scikit-learn's handwritten digits. It takes a few seconds.

digits = load("digits", augment=False)
torch.manual_seed(0)
dense = build("mlp", num_classes=10, input_shape=digits.input_shape, hidden=(128, 128))
quiet = Console(quiet=True)
history = train(dense, digits, TrainConfig(epochs=6, batch_size=32), console=quiet)
print(f"accuracy on the test images: {history.accuracy:.1%}")

# %%
# A plan says what would become of each layer. It changes nothing.

example, _ = digits.test.__getitems__([0])
decided = plan(dense, digits.test.prepare(example), density=0.25, edge=1)
print(decided)

# %%
# Look at the second hidden layer. The design's points are played by inputs, its blocks by outputs; where there are more
# channels than points, several play the same one, so nothing is cut off and nothing left out.
#
# Laid down *as it falls*, the design takes the channels in the order in which they happen to stand. The weights have
# no say in that order, and the design keeps about as much of them as chance would. *Fitted*, the channels change
# places until the design keeps as much of the squared weights as can be found. *In cells*, the layer is filled
# with copies of the design side by side, and in each of them points and blocks change places as well.

name = "3"
one = plan(dense, digits.test.prepare(example), density=0.25, edge=1, cells=False).layers[name]
in_cells = decided.layers[name]
falls = replace(one, in_order=(), out_order=())
patterns = {
    f"as it falls: {one.worth[1]:.0%} kept": falls.pattern(),
    f"fitted: {one.worth[0]:.0%} kept": one.pattern(),
    f"fitted in cells: {in_cells.worth[0]:.0%} kept": in_cells.pattern(),
}
print(f"as many weights chosen freely would keep {one.worth[2]:.0%}")

figure, axes = pyplot.subplots(1, 4, figsize=(16, 4.4), layout="constrained")
weight = dense.get_submodule(name).weight.detach()
darkest = weight.abs().quantile(0.995)
axes[0].imshow(weight.abs(), cmap="gray_r", vmax=darkest, aspect="auto")
axes[0].set(title="size of the dense weights", xlabel="input channel", ylabel="output channel")
for ax, (title, pattern) in zip(axes[1:], patterns.items(), strict=True):
    draw_pattern(pattern, ax).set_title(title)
pyplot.show()

# %%
# Below are the weights that each keeps, rows and columns in the design's own order, the darker the larger. The first
# two are one design in the same places, with other channels on them: the large weights have gathered under it. The
# third is a design in each of the columns between the lines, which only some of the blocks join.

figure, axes = pyplot.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
for ax, (title, pattern) in zip(axes, patterns.items(), strict=True):
    rows, columns = (np.argsort(groups, kind="stable") for groups in (pattern.out_groups, pattern.in_groups))
    ax.imshow(np.where(pattern.mask(), weight.abs(), 0)[rows][:, columns], cmap="gray_r", vmax=darkest, aspect="auto")
    ax.set(title=title, xlabel="points", ylabel="blocks")
    for axis, size, parts in zip((ax.axhline, ax.axvline), weight.shape, pattern.cells, strict=True):
        for border in np.linspace(0, size, parts + 1)[1:-1]:
            axis(border - 0.5, color="tab:blue", linewidth=0.5)
pyplot.show()

# %%
# Putting the plan into effect replaces the dense layers by ones that store the kept weights only.

sparse = prune_(dense, decided)
print(sparse)
