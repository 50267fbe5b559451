"""Pictures of a run: accuracy per epoch, weights against accuracy, the pattern of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from iddl_prune.files import write_whole
from iddl_prune.pattern import SparsePattern
from iddl_prune.report import Outcome

__all__ = ["draw", "draw_accuracy", "draw_pattern", "draw_weights"]


def draw(outcomes: Mapping[str, Outcome], folder: Path) -> None:
    """Write `accuracy.png`, `weights.png` and `patterns/LAYER.png` to the folder."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    draw_accuracy(outcomes, figure.subplots())
    _save(figure, folder / "accuracy.png")
    figure = Figure(figsize=(6, 4), layout="constrained")
    draw_weights(outcomes, figure.subplots())
    _save(figure, folder / "weights.png")
    plans = {name: outcome.plan for name, outcome in outcomes.items() if outcome.plan is not None}
    for layer in next(iter(plans.values())).layers if plans else ():
        figure = Figure(figsize=(5 * len(plans), 5), layout="constrained")
        for axes, (name, plan) in zip(figure.subplots(1, len(plans), squeeze=False)[0], plans.items(), strict=True):
            draw_pattern(plan.layers[layer].pattern(), axes)
            axes.set_title(f"{layer}: {name}")
        _save(figure, folder / "patterns" / f"{layer}.png")


def draw_accuracy(outcomes: Mapping[str, Outcome], axes: Axes) -> Axes:
    """Test accuracy in percent after each epoch, epoch 0 before any fine-tuning; a dense checkpoint is a line."""
    for name, outcome in outcomes.items():
        epochs = outcome.history.epochs
        if epochs:
            start = [] if outcome.plan is None else [100 * outcome.before]
            values = [*start, *(100 * epoch.accuracy for epoch in epochs)]
            axes.plot(range(1 - len(start), len(epochs) + 1), values, marker="o", label=name)
        else:
            axes.axhline(100 * outcome.before, linestyle="--", color="grey", label=name)
    axes.set(xlabel="epoch", ylabel="test accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return axes


def draw_weights(outcomes: Mapping[str, Outcome], axes: Axes) -> Axes:
    """Final accuracy in percent against the number of weights."""
    # A design and its control keep as many weights: one mark must not hide the other.
    for marker, (name, outcome) in zip(cycle("ox+"), outcomes.items(), strict=False):
        m = outcome.measurement
        if m.accuracy is not None:
            axes.scatter(m.weights, 100 * m.accuracy, marker=marker, s=60, label=name)
    axes.set(xlabel="weights", ylabel="test accuracy, %", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    return axes


def draw_pattern(pattern: SparsePattern, axes: Axes) -> Axes:
    """The mask of a layer: a dot where an output (row) reads an input (column)."""
    axes.imshow(~np.asarray(pattern.mask()), cmap="gray", interpolation="nearest", aspect="auto")
    axes.set(xlabel="input channel", ylabel="output channel")
    return axes


def _save(figure: Figure, path: Path) -> None:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=100)
    write_whole(path, content.getvalue())
