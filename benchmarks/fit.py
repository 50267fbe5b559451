"""How long the fit of a trained ResNet18 takes, and what each layer keeps: an order for each layer, or each group.

    python benchmarks/fit.py --data-dir data --checkpoint resnet18_cifar10.safetensors --threads 2

The whole of `iddl_prune.plan` is timed, with the calibration images run through the network; the fit of each layer
apart. Tiles of edge 8. With an order for each group one design covers a layer, and at a uniform 12.5 % only the widest
have one with such tiles.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from iddl_prune import Plan, plan
from iddl_prune.data import load
from iddl_prune.files import write_whole
from iddl_prune.measure import machine
from iddl_prune.models import load_checkpoint
from iddl_prune.plan import PERMUTATIONS

CASES: dict[str, dict[str, Any]] = {
    "12.5 %, uniform": {"density": 0.125},
    "25 %, ERK": {"density": 0.25, "allocation": "erk"},
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    checkpoint: Annotated[Path, typer.Option(help="Weights of the dense network.")],
    model: Annotated[str, typer.Option(help="Its name.")] = "resnet18",
    data: Annotated[str, typer.Option(help="cifar10 or another data set.")] = "cifar10",
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    edge: Annotated[int, typer.Option(min=1, help="Edge of the tiles in channels.")] = 8,
    calibration: Annotated[int, typer.Option(help="Number of calibration images.")] = 768,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/fit.json"),
) -> None:
    """Plan every case under both kinds of permutation."""
    torch.set_num_threads(threads)
    console = Console()
    dataset = load(data, data_dir)
    dense, _ = load_checkpoint(checkpoint, model, input_shape=dataset.input_shape)
    inputs = dataset.train.sample(calibration, 0)
    cases: dict[str, Any] = {}
    for case, options in CASES.items():
        for permutation in PERMUTATIONS:
            start = time.perf_counter()
            decided = plan(dense, inputs[:2], calibration=inputs, edge=edge, permutation=permutation, **options)
            seconds = time.perf_counter() - start
            console.print(f"{case}, {permutation}: {seconds:.1f} s", highlight=False)
            cases.setdefault(case, {})[permutation] = {"plan_s": seconds, **told(decided)}
    result = {
        "edge": edge,
        "calibration": calibration,
        "cases": cases,
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
    }
    write_whole(output, (json.dumps(result, indent=1) + "\n").encode())


def told(decided: Plan) -> dict[str, Any]:
    """Seconds of the fit, share of the weights that the converted layers keep, and by layer what it keeps."""
    layers = {}
    for name, layer in decided.layers.items():
        assert layer.worth is not None
        kept, as_it_falls, ceiling = layer.worth
        layers[name] = {
            "channels": f"{layer.in_features} -> {layer.out_features}",
            "design": (layer.v, layer.k, layer.lam),
            "cells": layer.cells,
            "seconds": decided.seconds.get(name),
            "kept": kept,
            "as_it_falls": as_it_falls,
            "at_random": layer.density,
            "ceiling": ceiling,
        }
    before = sum(layer.weights_before for layer in decided.layers.values())
    weights = sum(layer.weights for layer in decided.layers.values())
    return {"fit_s": sum(decided.seconds.values()), "density": weights / before, "layers": layers}


if __name__ == "__main__":
    app()
