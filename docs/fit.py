"""The tables of the fit, from their JSON: time and worth, the two kinds of order, a choice among designs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from tables import table

__all__ = ["fit", "orders", "which_design"]

Run = dict[str, Any]

# Times this near to each other are the same.
_SAME = 1.05


def fit(folder: Path) -> Iterator[str]:
    """A table for each case: what each layer keeps and how long its fit took, under both kinds of order."""
    data = json.loads((folder / "fit.json").read_text())
    yield "## The fit, layer by layer"
    yield ""
    yield f"The trained ResNet18, tiles of edge {data['edge']}, {data['machine']['threads']} threads. Share of each"
    yield "layer's worth that is kept: fitted with an order of its own for each layer (*free*), or one for each"
    yield "dependency group (*groups*); as the design falls; at random, which is the density; and by as many weights"
    yield "chosen freely."
    yield ""
    yield f"`{data['command']}`"
    for case, sides in data["cases"].items():
        free, groups = sides["free"], sides["groups"]
        yield ""
        yield f"**{case}.** The whole plan took {free['plan_s']:.1f} s (free) and {groups['plan_s']:.1f} s (groups),"
        yield f"{data['calibration']} calibration images included; the fit alone {free['fit_s']:.1f} s and"
        yield f"{groups['fit_s']:.1f} s."
        yield ""
        header = "layer", "channels", "design", "seconds", "free", "groups", "as it falls", "at random", "ceiling"
        yield from table(
            header, (_layer(name, layer, groups["layers"].get(name)) for name, layer in free["layers"].items())
        )


def _layer(name: str, free: Run, groups: Run | None) -> tuple[str, ...]:
    design = str(tuple(free["design"])) + ("" if free["cells"] == [1, 1] else " in {} × {}".format(*free["cells"]))
    shares = [f"{free[what]:.0%}" for what in ("kept", "as_it_falls", "at_random", "ceiling")]
    shares.insert(1, "stays dense" if groups is None else f"{groups['kept']:.0%}")
    return name, free["channels"], design, f"{free['seconds']:.1f}", *shares


def orders(folder: Path) -> Iterator[str]:
    """Worth, accuracy and time of the kinds of order, and accuracy at equal time."""
    data = json.loads((folder / "orders.json").read_text())
    yield "## An order for each layer, or for each group of channels"
    yield ""
    yield "Fitted and repaired, not fine-tuned; timed as they are deployed, all in turns."
    for case, told in data.items():
        runs: list[Run] = list(told["runs"].values())
        yield ""
        yield f"### {case}, dense {told['dense_accuracy']:.2%}"
        yield ""
        yield f"`{told['command']}`"
        yield ""
        sizes = list(runs[0]["ms"])
        header = "order", "kept", "edges", "worth kept", "accuracy", *(f"ms, batch {size}" for size in sizes)
        yield from table((*header, "times faster"), (_order(run, sizes) for run in runs))
        yield ""
        gained = [gain for size in sizes for gain in at_equal_time(runs, "free, in cells", "groups", size)]
        low, high, middle = (f"{100 * of(gained):+.2f}" for of in (min, max, mean))
        yield f"Beside the most accurate of *groups* that takes no longer ({_SAME - 1:.0%} are noise; where none is as"
        yield f"fast, the fastest), *free, in cells* is {low} to {high} points more accurate, {middle} in the mean."


def at_equal_time(runs: list[Run], side: str, other: str, size: str) -> Iterator[float]:
    """By how much each run of one side is more accurate than the best of the other that takes no longer."""
    mine, theirs = ([run for run in runs if run["side"] == name] for name in (side, other))
    fastest = min(run["ms"][size] for run in theirs)
    for run in mine:
        limit = max(_SAME * run["ms"][size], fastest)
        yield run["accuracy"] - max(one["accuracy"] for one in theirs if one["ms"][size] <= limit)


def _order(run: Run, sizes: list[str]) -> tuple[str, ...]:
    faster = " / ".join(f"{run['times_faster'][size]:.2f}" for size in sizes)
    told = ", ".join(map(str, run["edges"])), f"{run['worth_kept']:.1%}", f"{run['accuracy']:.2%}"
    return run["side"], f"{run['reached']:.1%}", *told, *(f"{run['ms'][size]:.3g}" for size in sizes), faster


def which_design(folder: Path) -> Iterator[str]:
    """Starts of one design against a start each of several."""
    data = json.loads((folder / "which_design.json").read_text())
    gains = [100 * (row["best_of_designs"] - row["best_of_starts"]) for row in data["rows"]]
    yield "## Which of the designs with the same parameters"
    yield ""
    yield "Designs with the same parameters need not be isomorphic, so the fit could choose among them. Here it does:"
    yield "the share of worth kept by the best of n starts of one design, and by the best of n designs with one start"
    yield "each, in the mean over designs and starts. Layers of the trained ResNet18, tiles of edge 1."
    yield f"**It gains nothing:** {mean(gains):+.2f} points in the mean, from {min(gains):+.2f} to {max(gains):+.2f}."
    yield "So a layer takes the design that is built first, and time goes to starts and cells."
    yield ""
    yield f"`{data['command']}`"
    yield ""
    header = "layer", "design", "cells", "n", "one start", "best of n starts", "best of n designs"
    shown = ("one_start", "best_of_starts", "best_of_designs")
    rows = []
    for row in data["rows"]:
        design = str(tuple(row["parameters"])), "{} × {}".format(*row["cells"]), str(row["designs"])
        rows.append((row["layer"], *design, *(f"{row[what]:.2%}" for what in shown)))
    yield from table(header, rows)
