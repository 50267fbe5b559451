"""The page of measured results, printed from the JSON in `benchmarks/results`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from accuracy import accuracy

__all__ = ["results"]


def results(folder: Path) -> str:
    """The page: a section a benchmark, each with the command that makes it again."""
    lines = [
        "# Measured",
        "",
        "Every figure here stands in a JSON file of `benchmarks/results`, which the command beside it makes again.",
        "The machine has two cores, no GPU, and was never quiet: trust ratios taken in one run, not seconds.",
        "",
    ]
    for section in (_seed_table, accuracy, _designs, _coverage):
        lines += [*section(folder), ""]
    return "\n".join(lines)


def _seed_table(folder: Path) -> Iterator[str]:
    rows = _read(folder / "seed_table.json")
    yield "## The table where the idea began"
    yield ""
    yield "The first project printed these models with masked dense layers. Here they have the same widths and packed"
    yield "weights: the MLPs sparse from the start (12.5 %, single weights), ResNet18 pruned from a trained checkpoint."
    yield "One seed."
    yield ""
    yield "`python benchmarks/seed_table.py --data-dir data --checkpoint resnet18_cifar10.safetensors`"
    yield ""
    header = "model", "data", "epochs", "time", "accuracy", "theirs", "weights", "multiply-adds", "FLOPs"
    theirs = rows["seeds"]
    yield from _table(
        header,
        (
            (
                run["run"]["model"],
                run["run"]["data"],
                str(run["run"]["epochs"]) + (" of fine-tuning" if "resnet18" in run["run"]["model"] else ""),
                f"{run['seconds']:.0f} s",
                f"{run['accuracy']:.2%}",
                f"{theirs[key]} %" if (key := f"{run['run']['model']} {run['run']['data']}") in theirs else "",
                f"{run['weights']:,}",
                f"{run['multiply_adds'] / 1e6:.2f} M",
                f"{run['flops'] / 1e6:.2f} M",
            )
            for run in rows["rows"].values()
        ),
    )


def _designs(folder: Path) -> Iterator[str]:
    data = _read(folder / "designs.json")
    yield "## Building and verifying, beside SageMath"
    yield ""
    yield f"SageMath {data['sagemath']}, both sides in turns in one run, median of {data['rounds']} rounds."
    yield ""
    yield "`python benchmarks/designs.py --sage PYTHON`"
    yield ""
    yield from _table(
        ("design", "bibdlib", "SageMath", "times faster"),
        (
            (
                name,
                f"{case['ours']['median_s']:.4f} s",
                f"{case['sagemath']['median_s']:.3f} s",
                f"{case['faster_median']:.0f}",
            )
            for name, case in data["cases"].items()
        ),
    )


def _coverage(folder: Path) -> Iterator[str]:
    data = _read(folder / "coverage.json")
    yield f"## Of the {data['sets']} admissible sets with r at most 41"
    yield ""
    yield "Built / impossible / unknown; every design that is built is counted."
    yield ""
    yield "`python benchmarks/coverage.py --sage PYTHON`"
    yield ""
    sides = {"bibdlib": "bibdlib", "SageMath": "sage"}
    kinds = list(data["bibdlib"]["r <= 41"])
    rows = []
    for name, side in sides.items():
        for reach, counts in data[side].items():
            told = (" / ".join(str(counts[kind][v]) for v in ("built", "impossible", "unknown")) for kind in kinds)
            rows.append((name, reach.replace("<=", "≤"), *told))
    yield from _table(("", "", *(kind.replace("lam", "λ") for kind in kinds)), rows)


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    header = list(header)
    yield f"| {' | '.join(header)} |"
    yield "|---|" + "--:|" * (len(header) - 1)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _spread(values: Iterable[float]) -> str:
    numbers = list(values)
    return f"{mean(numbers):.2f}" + (f" ± {stdev(numbers):.2f}" if len(numbers) > 1 else "")


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data
