"""Channels in an order of each layer, or of each dependency group: what either keeps, and how fast it is.

    python benchmarks/orders.py --data cifar10 --model resnet18 --checkpoint resnet18_cifar10.safetensors
    python benchmarks/orders.py --data fashion-mnist --model mlp

At several densities each side is pruned and repaired, without fine-tuning. All are timed in the forms in which they are
deployed, in turns, so that the accuracies can be compared at equal time.
"""

from __future__ import annotations

import copy
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accuracy import TRAININGS, trained
from repair import accuracy, only_3x3
from rich.console import Console
from torch import nn

from iddl_prune import compress, optimize_
from iddl_prune.data import load
from iddl_prune.files import write_whole
from iddl_prune.measure import machine
from iddl_prune.optimize import taking_turns

SIDES: dict[str, dict[str, Any]] = {
    "free, in cells": {"permutation": "free"},
    "free, one design": {"permutation": "free", "cells": False},
    "groups": {"permutation": "groups"},
}
BATCHES = (1, 32)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[str, typer.Option(help="mlp (784-512-512-10) or resnet18.")] = "mlp",
    data: Annotated[str, typer.Option(help="fashion-mnist, cifar10 or another data set.")] = "fashion-mnist",
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    checkpoint: Annotated[Path | None, typer.Option(help="A trained dense network; else one is trained.")] = None,
    density: Annotated[
        list[float] | None, typer.Option(help="May be given again.", show_default="0.125, 0.18, 0.25")
    ] = None,
    edge: Annotated[int | None, typer.Option(help="Edge of the tiles.", show_default="by width")] = None,
    calibration: Annotated[int, typer.Option(help="Number of calibration images.")] = 512,
    seconds: Annotated[float, typer.Option(help="Time for each batch size.")] = 20.0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/orders.json"),
    state_dir: Annotated[Path, typer.Option(help="Folder for dense networks.")] = Path("runs/accuracy"),
) -> None:
    """Prune by every side at every density, time all of them together, and write the JSON's part of this model."""
    torch.set_num_threads(threads)
    console = Console()
    dataset = load(data, data_dir)
    state_dir.mkdir(parents=True, exist_ok=True)
    dense = trained(model, dataset, 0, TRAININGS[model].dense, checkpoint, state_dir, console).eval()
    inputs = dataset.train.sample(calibration, 0)
    runs: dict[str, dict[str, Any]] = {}
    forms: dict[str, nn.Module] = {}
    for asked in sorted(density or (0.125, 0.18, 0.25)):
        for side, options in SIDES.items():
            sparse = compress(
                dense, inputs[:2], density=asked, calibration=inputs, edge=edge, filter_fn=only_3x3, **options
            )
            worths = [layer.worth for layer in sparse.plan.layers.values() if layer.worth is not None]
            key = f"{side}, {asked:g}"
            runs[key] = {
                "side": side,
                "asked": asked,
                "reached": sparse.plan.reached(),
                "edges": sorted({layer.edge for layer in sparse.plan.layers.values()}),
                "worth_kept": sum(worth[0] for worth in worths) / len(worths),
                "accuracy": accuracy(sparse, dataset.test),
            }
            deployed = optimize_(copy.deepcopy(sparse), inputs[:2], batch_sizes=BATCHES, seconds=0.1)
            forms |= {key: deployed.model, "dense": deployed.dense}
            console.print(key, runs[key], highlight=False)
    for size in BATCHES:
        taken = timed(forms, inputs[:size], seconds)
        for key, run in runs.items():
            run.setdefault("ms", {})[size] = 1000 * taken[key]
            run.setdefault("times_faster", {})[size] = taken["dense"] / taken[key]
    told = json.loads(output.read_text()) if output.exists() else {}
    told[f"{model} on {data}"] = {
        "dense_accuracy": accuracy(dense, dataset.test),
        "runs": runs,
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
    }
    write_whole(output, (json.dumps(told, indent=1) + "\n").encode())


@torch.inference_mode()
def timed(forms: dict[str, nn.Module], inputs: torch.Tensor, seconds: float) -> dict[str, float]:
    """Median seconds of each form, all in turns."""
    return taking_turns({name: lambda form=form: form(inputs) for name, form in forms.items()}, seconds)


if __name__ == "__main__":
    app()
