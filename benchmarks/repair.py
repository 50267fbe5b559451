"""What a trained network loses by pruning alone, without any fine-tuning: the fit and the repair, each left out.

    python benchmarks/repair.py --data-dir data --checkpoint resnet18_cifar10.safetensors

The calibration images are drawn from the training images by the seed. The designs are laid over every 3x3 convolution
but the first; the shortcuts, the first convolution and the classifier stay dense. Each run is written to the JSON when
it is done and not made twice. Accuracy is that of the sparse weights in dense layers, computed in bfloat16.
"""

from __future__ import annotations

import copy
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from iddl_prune import pattern_layers, plan, prune_, repair_
from iddl_prune.data import Split, load
from iddl_prune.files import write_whole
from iddl_prune.measure import machine
from iddl_prune.models import load_checkpoint
from iddl_prune.recover import renew_norms_

METHODS: dict[str, dict[str, Any]] = {
    "design as it falls": {"fit": False, "cells": False},
    "random, fitted": {"design": "random", "cells": False},
    "design, fitted": {"cells": False},
    "random in cells, fitted": {"design": "random"},
    "design in cells, fitted": {},
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    checkpoint: Annotated[Path, typer.Option(help="Weights of the dense network.")],
    model: Annotated[str, typer.Option(help="Its name.")] = "resnet18",
    data: Annotated[str, typer.Option(help="cifar10 or another data set.")] = "cifar10",
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    density: Annotated[float, typer.Option(help="Of the layers that are converted.")] = 0.125,
    edge: Annotated[int, typer.Option(help="Edge of the tiles in channels; 0 for the largest.")] = 1,
    calibration: Annotated[int, typer.Option(help="Number of calibration images.")] = 1536,
    method: Annotated[list[str] | None, typer.Option(help="May be given again; all without.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the calibration images.")] = 1,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/repair.json"),
) -> None:
    """Make every run that is not in the JSON yet."""
    console = Console()
    dataset = load(data, data_dir)
    dense, _ = load_checkpoint(checkpoint, model, input_shape=dataset.input_shape)
    dense.eval()
    results = json.loads(output.read_text()) if output.exists() else {"runs": {}}
    for seed in range(seeds):
        for name in method or METHODS:
            key = f"{name}, edge {edge or 'largest'}, density {density:g}, {calibration} images, seed {seed}"
            if key in results["runs"]:
                continue
            inputs = dataset.train.sample(calibration, seed)
            options = METHODS[name] | {"density": density, "edge": edge or None, "seed": seed}
            results["runs"][key] = {
                "method": name,
                "calibration": calibration,
                "seed": seed,
                "edge": edge,
                **run(dense, inputs, dataset.test, options),
                "command": shlex.join(["python", *sys.argv]),
                "machine": machine(),
            }
            console.print(key, {what: results["runs"][key][what] for what in ("renewed", "repaired", "repair_s")})
            write_whole(output, (json.dumps(results, indent=1) + "\n").encode())
    if "dense" not in results:
        results["dense"] = accuracy(dense, dataset.test)
        write_whole(output, (json.dumps(results, indent=1) + "\n").encode())


def run(dense: nn.Module, inputs: Tensor, test: Split, options: dict[str, Any]) -> dict[str, Any]:
    """Accuracies (0..1), seconds of wall clock and of processor time, peak memory of the process, shares kept."""
    start = time.perf_counter()
    decided = plan(dense, inputs[:2], calibration=inputs[:512], filter_fn=only_3x3, **options)
    fit_s = time.perf_counter() - start
    renewed = prune_(copy.deepcopy(dense), decided)
    repaired = copy.deepcopy(renewed)
    renew_norms_(renewed, inputs)
    start, start_cpu = time.perf_counter(), time.process_time()
    repair_(repaired, dense, inputs)
    repair_s, repair_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    worths = [layer.worth for layer in decided.layers.values() if layer.worth is not None]
    return {
        "renewed": accuracy(renewed, test),
        "repaired": accuracy(repaired, test),
        "fit_s": fit_s,
        "repair_s": repair_s,
        "repair_cpu_s": repair_cpu_s,
        "peak_bytes": getrusage(RUSAGE_SELF).ru_maxrss * 1024,
        "weights": sum(matrix.numel() for matrix in matrices(repaired)),
        "weights_dense": sum(matrix.numel() for matrix in matrices(dense)),
        "worth_kept": [sum(column) / len(worths) for column in zip(*worths, strict=True)],
    }


def only_3x3(_: str, module: nn.Module) -> bool | None:
    """Leaves the shortcuts dense: one tap makes them a ninth of the convolution beside them."""
    return False if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) else None


def matrices(model: nn.Module) -> Iterator[Tensor]:
    """The weights of linear layers and convolutions, norms and biases not counted."""
    for module in model.modules():
        if not isinstance(module, nn.BatchNorm2d) and isinstance(getattr(module, "weight", None), Tensor):
            yield module.weight


@torch.inference_mode()
def accuracy(model: nn.Module, test: Split, batch_size: int = 250) -> float:
    """Share of the test images put in their class."""
    model = copy.deepcopy(model).eval()
    for name, layer in pattern_layers(model).items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer.to_dense())
    model.to(memory_format=torch.channels_last)
    right = 0
    for start in range(0, len(test), batch_size):
        images, labels = test.__getitems__(list(range(start, min(start + batch_size, len(test)))))
        x = test.prepare(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            right += int((model(x).argmax(1) == labels).sum())
    return right / len(test)


if __name__ == "__main__":
    app()
