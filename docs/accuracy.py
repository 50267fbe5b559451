"""The tables and pictures of `benchmarks/accuracy.py`, from its JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

__all__ = ["PICTURES", "accuracy", "plain_numbers", "spread"]

# Pictures are printed from the JSON like the pages, and stand beside them.
PICTURES = Path(__file__).parent / "generated"

Runs = list[dict[str, Any]]

_SHOWN = (
    "design",
    "random",
    "balanced",
    "magnitude",
    "channels, equal weights",
    "channels, equal FLOPs",
    "narrow, equal weights",
)
_ABLATION = {
    "design": "nothing",
    "design, no teacher": "no distillation",
    "design, refitted": "nothing, but channels change places while it is trained",
    "design, not repaired": "no repair",
    "design, not fitted": "no permutation",
    "design as it falls": "neither permutation nor repair",
    "design, by magnitude": "the inputs' power in the worth of a weight",
    "design, by sensitivity": "nothing, but layers that lose less keep less",
    "one design": "one design spread over each layer instead of copies",
    "one random pattern": "one random pattern likewise",
    "random": "random instead of the design",
    "random as it falls": "random, neither permutation nor repair",
}
_TRAINING = ("epochs", "lr", "calibration")
_PRECISION = {"mlp": "32-true", "resnet18": "bf16-mixed"}


def accuracy(folder: Path) -> Iterator[str]:
    """The section: for each model and data set the table of methods, what each step is worth, a picture."""
    runs: Runs = list(json.loads((folder / "accuracy.json").read_text())["runs"].values())
    yield "## Accuracy, beside other ways to prune"
    yield ""
    yield "Test accuracy in percent after fine-tuning with the dense network as teacher; in brackets before it. The"
    yield "same dense network, epochs, batches and order for all; *narrow* networks are trained from nothing for the"
    yield "epochs of the dense one and of the fine-tuning. *Random* has the degrees of the design and gets the same fit"
    yield "and repair. *Balanced* is the best pattern of equal fan-in and fan-out, *magnitude* chooses every weight"
    yield "freely. *Truncated plane* is the first project's mask, whose density is its own. Weights are those that are"
    yield "not zero, biases left out. Times of *magnitude* are those of the dense network with zeros in place."
    for model, data in dict.fromkeys((run["model"], run["data"]) for run in runs):
        mine = [run for run in runs if (run["model"], run["data"]) == (model, data)]
        # A seed's dense network is another one where another processor has trained it.
        dense: dict[int, list[float]] = {run["seed"]: [] for run in mine}
        for run in mine:
            dense[run["seed"]].append(100 * run["dense_accuracy"])
        apart = max(max(of_a_seed) - min(of_a_seed) for of_a_seed in dense.values())
        yield ""
        yield f"### {model} on {data}, dense {spread(map(mean, dense.values()))} %, seeds: {len(dense)}"
        yield ""
        checkpoint = f" --checkpoint {model}_{data}.safetensors --seeds {len(dense)}" if model != "mlp" else ""
        yield f"`python benchmarks/accuracy.py --data-dir data --model {model} --data {data}{checkpoint}`"
        yield ""
        pruned = [run for run in mine if not run["method"].startswith("narrow")]
        told = (" or ".join(f"{x:g}" for x in sorted({run[what] for run in pruned})) for what in _TRAINING)
        yield "`--epochs {} --lr {} --calibration {}`: fine-tuning, its peak rate, images to fit and repair by.".format(
            *told
        )
        usual = _PRECISION[model]
        if apart:
            yield ""
            yield f"Dense networks of one seed differ from processor to processor, here by up to {apart:.2f}; a run's"
            yield "own is its `dense_accuracy` in the JSON."
        others = dict.fromkeys(run["method"] for run in mine if run.get("precision", usual) != usual)
        if others:
            yield ""
            yield f"Not trained in {usual}, as the rest, but as their commands in the JSON say: {', '.join(others)}."
        yield ""
        yield from _table("method", mine, {name: name for name in dict.fromkeys(run["method"] for run in mine)})
        yield ""
        yield "What each step is worth:"
        yield ""
        yield from _table("left out", mine, _ABLATION)
        yield ""
        yield f"![Accuracy of {model} on {data}]({_plot(mine, f'accuracy-{model}-{data}.png')})"


def _table(what: str, runs: Runs, methods: dict[str, str]) -> Iterator[str]:
    """Only what was run at some goal has a row."""
    goals = dict.fromkeys(run["goal"] for run in runs)
    ran = {run["method"] for run in runs}
    yield f"| {what} | " + " | ".join(goals) + " |"
    yield "|---|" + "--:|" * len(goals)
    for method, title in methods.items():
        if method not in ran:
            continue
        row = [title]
        for goal in goals:
            mine = [run for run in runs if (run["method"], run["goal"]) == (method, goal)]
            after, before = ([100 * run[key] for run in mine] for key in ("accuracy", "before"))
            row.append(f"{spread(after)} ({mean(before):.1f})" if mine else "not run yet")
        yield f"| {' | '.join(row)} |"


def _plot(runs: Runs, name: str) -> str:
    """Accuracy against weights, multiply-adds and latency relative to the dense network; the name of the picture."""
    from matplotlib.figure import Figure

    against = {
        "share of the weights": lambda run: run["weights"] / run["dense_weights"],
        "share of the multiply-adds": lambda run: run["multiply_adds"] / run["dense_multiply_adds"],
        "time at batch 32 / dense": lambda run: run["latency_ms"]["32"]["this"] / run["latency_ms"]["32"]["dense"],
    }
    tiles = sorted({run["tile"] for run in runs}, key=lambda tile: tile or 0)  # by width first
    figure = Figure(figsize=(14, 4), layout="constrained")
    for axes, (title, cost) in zip(figure.subplots(1, 3, sharey=True), against.items(), strict=True):
        for colour, method in enumerate(_SHOWN):
            mine = [run for run in runs if run["method"] == method]
            for style, tile in zip(("-", ":", "--"), tiles, strict=False):
                points = []
                for goal in dict.fromkeys(run["goal"] for run in mine if run["tile"] == tile):
                    here = [run for run in mine if run["goal"] == goal]
                    points.append((mean(map(cost, here)), mean(100 * run["accuracy"] for run in here)))
                if points:
                    label = method if style == "-" else f"{method}, tile {tile}"
                    line = f"C{colour}o{style}"
                    axes.plot(*zip(*sorted(points), strict=True), line, markersize=4, label=label)
        axes.axhline(mean(100 * run["dense_accuracy"] for run in runs), color="gray", linestyle="--", label="dense")
        axes.set(xlabel=title, xscale="log")
        plain_numbers(axes.xaxis)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.axes[0].set_ylabel("accuracy, %")
    figure.savefig(PICTURES / name, dpi=120, metadata={"Software": None})
    return name


def plain_numbers(axis: Any) -> None:
    """Label a logarithmic axis of matplotlib with 0.1, 0.2, 0.5, 1, not with powers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def spread(values: Iterable[float]) -> str:
    """The mean, and with several values their standard deviation."""
    numbers = list(values)
    return f"{mean(numbers):.2f}" + (f" ± {stdev(numbers):.2f}" if len(numbers) > 1 else "")
