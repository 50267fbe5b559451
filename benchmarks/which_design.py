"""Whether the fit gains by a choice among designs with the same parameters that are not isomorphic.

    python benchmarks/which_design.py --data-dir data --checkpoint resnet18_cifar10.safetensors

For each layer and set of parameters, designs are made that are pairwise not isomorphic, and each is fitted from as many
random starts as there are designs. Compared at equal time: the best of n starts of one design, in the mean over the
designs, with the best of n designs from one start each, in the mean over the starts.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

import bibdlib
from iddl_prune import SparsePattern
from iddl_prune.assign import fit
from iddl_prune.data import load
from iddl_prune.files import write_whole
from iddl_prune.importance import worths
from iddl_prune.measure import machine
from iddl_prune.models import load_checkpoint

# Parameters of which bibdlib makes several designs.
CASES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "layer1.0.conv1": ((13, 3, 1), (13, 4, 2), (15, 3, 1), (21, 5, 2)),
    "layer2.1.conv1": ((15, 3, 1), (16, 4, 2), (25, 4, 2), (31, 15, 7)),
    "layer3.1.conv1": ((19, 3, 1), (28, 4, 1), (31, 6, 2)),
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    checkpoint: Annotated[Path, typer.Option(help="Weights of the dense network.")],
    model: Annotated[str, typer.Option(help="Its name.")] = "resnet18",
    data: Annotated[str, typer.Option(help="cifar10 or another data set.")] = "cifar10",
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    designs: Annotated[int, typer.Option(min=2, help="Designs of each set of parameters, at most.")] = 6,
    calibration: Annotated[int, typer.Option(help="Number of calibration images.")] = 256,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/which_design.json"),
) -> None:
    """Fit every design of every case, and write what each kept."""
    console = Console()
    dataset = load(data, data_dir)
    dense, _ = load_checkpoint(checkpoint, model, input_shape=dataset.input_shape)
    valued = worths(dense, list(CASES), calibration=dataset.train.sample(calibration, 0))
    rows = []
    for name, sets in CASES.items():
        for parameters in sets:
            found = list(unlike_each_other(parameters, designs))
            for cells in (False, True):
                row = {"layer": name, "parameters": parameters, **fits(valued[name], found, cells)}
                console.print({what: value for what, value in row.items() if what != "kept"})
                rows.append(row)
    result = {"rows": rows, "command": shlex.join(["python", *sys.argv]), "machine": machine()}
    write_whole(output, (json.dumps(result, indent=1) + "\n").encode())


def unlike_each_other(parameters: tuple[int, int, int], count: int) -> Iterator[bibdlib.Design]:
    """Designs that are pairwise not isomorphic, at most so many."""
    found: list[bibdlib.Design] = []
    while len(found) < count:
        try:
            found.append(bibdlib.construct(*parameters, unlike=found))
        except bibdlib.NoKnownConstruction:
            return
        yield found[-1]


def fits(worth: npt.NDArray[np.float64], designs: list[bibdlib.Design], cells: bool) -> dict[str, Any]:
    """Shares of worth kept, a row a design, a column a start; and what a choice among the designs is worth."""
    n, (out_features, in_features) = len(designs), worth.shape
    copies = (out_features // designs[0].b, in_features // designs[0].v) if cells else (1, 1)
    kept = np.empty((n, n))
    start = time.perf_counter()
    for i, design in enumerate(designs):
        pattern = SparsePattern.from_design(in_features, out_features, design, cells=copies)
        for j in range(n):
            draw = np.random.default_rng(j)
            placed = pattern.permuted(draw.permutation(in_features), draw.permutation(out_features))
            kept[i, j] = fit(worth, placed, starts=1, seed=j).kept
    return {
        "cells": copies,
        "designs": n,
        "seconds_per_fit": (time.perf_counter() - start) / n**2,
        "one_start": float(kept.mean()),
        "best_of_starts": float(kept.max(axis=1).mean()),
        "best_of_designs": float(kept.max(axis=0).mean()),
        "kept": kept.tolist(),
    }


if __name__ == "__main__":
    app()
