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
dense = build("mlp", num_classes=10, input_shape=digits.input_shape, hidden=(64, 64))
quiet = Console(quiet=True)
history = train(dense, digits, TrainConfig(epochs=6, batch_size=32), console=quiet)
print(f"accuracy on the test images: {history.accuracy:.1%}")

# %%
# A plan says what would become of each layer. It changes nothing.

example, _ = digits.test.__getitems__([0])
decided = plan(dense, digits.test.prepare(example), density=0.14)
print(decided)

# %%
# The second hidden layer gets a projective plane. Its channels play the points (inputs) and the blocks (outputs);
# where there are more channels than points, several play the same one, so nothing is cut off and nothing left out.
# Laid down *as it falls*, the design takes the channels in the order in which they happen to stand. The weights have
# no say in that order, and the design keeps about as much of them as chance would. *Fitted*, the channels
# change places until the design keeps as much of the squared weights as can be found.

name = "3"
layer = decided.layers[name]
falls = replace(layer, in_order=(), out_order=()).pattern()
fitted = layer.pattern()
kept, unfitted, free = layer.worth
print(f"squared weights kept: as it falls {unfitted:.1%}, fitted {kept:.1%}, chosen freely {free:.1%}")

figure, axes = pyplot.subplots(1, 3, figsize=(12, 4.4), layout="constrained")
weight = dense.get_submodule(name).weight.detach()
axes[0].imshow(weight.abs(), cmap="gray_r", vmax=weight.abs().quantile(0.995), aspect="auto")
axes[0].set(title="size of the dense weights", xlabel="input channel", ylabel="output channel")
draw_pattern(falls, axes[1]).set_title(f"as it falls: {unfitted:.0%} kept")
draw_pattern(fitted, axes[2]).set_title(f"fitted: {kept:.0%} kept")
pyplot.show()

# %%
# It is the same design in both pictures: put the rows and columns of the fitted one back in their places
# and the one as it falls appears. Below are the dense weights under the design, each in the design's own order,
# the darker the larger: on the right the large ones have gathered there.

figure, axes = pyplot.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
orders = {"as it falls": (falls.out_groups, falls.in_groups), "fitted": (fitted.out_groups, fitted.in_groups)}
for ax, (title, (blocks, points)) in zip(axes, orders.items(), strict=True):
    moved = weight[np.argsort(blocks, kind="stable")][:, np.argsort(points, kind="stable")]
    ax.imshow(np.where(falls.mask(), moved.abs(), 0), cmap="gray_r", vmax=weight.abs().quantile(0.995))
    ax.set(title=f"weights under the design, {title}", xlabel="points", ylabel="blocks")
pyplot.show()

# %%
# Putting the plan into effect replaces the dense layers by ones that store the kept weights only.

sparse = prune_(dense, decided)
print(sparse)
