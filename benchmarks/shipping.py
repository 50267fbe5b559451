"""What a sparse model weighs in a file, beside the weights it keeps, and how fast its ONNX file runs in onnxruntime.

    python benchmarks/shipping.py [--threads 2] [--seconds 2] [--output benchmarks/results/shipping.json]

Bytes are those of the folder that `save_pretrained` writes, less what is dense, over density times dense of the
converted layers. ONNX files, of the kept weights alone and of the zeros too, take turns. Weights are random, channels
fitted to them.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import nn

from iddl_prune import pattern_layers, plan, prune_
from iddl_prune.checkpoint import save_pretrained
from iddl_prune.export import export
from iddl_prune.measure import machine, time_models
from iddl_prune.models import ModelSpec

NETS = {
    "MLP 784-512-512-10": ModelSpec("mlp", 10, (1, 28, 28), hidden=(512, 512)),
    "ResNet18 (CIFAR stem)": ModelSpec("resnet18", 10, (3, 32, 32)),
}
PLANS = {"as planned by default": {}, "tiles of edge 1": {"edge": 1}, "one design": {"cells": False}}
DENSITIES = (0.25, 0.14, 0.125, 0.09, 0.05)
BATCHES = (1, 32)


@cache
def sparse(net: str, how: str, density: float) -> nn.Module:
    """A net of random weights, pruned by one of the plans."""
    torch.manual_seed(0)
    spec = NETS[net]
    model = spec.build()
    decided = plan(model, torch.zeros(1, *spec.input_shape), density=density, starts=1, **PLANS[how])
    return prune_(copy.deepcopy(model), decided).eval()


def in_a_folder(model: nn.Module) -> dict[str, object]:
    """Bytes of the folder and of the weights, and how many times those of the kept weights."""
    with tempfile.TemporaryDirectory() as folder:
        written = sum(path.stat().st_size for path in save_pretrained(model, folder).iterdir())
    layers = pattern_layers(model)
    state = model.state_dict()
    rest = sum(tensor.nbytes for name, tensor in state.items() if name.rpartition(".")[0] not in layers)
    kept = sum(tensor.nbytes for tensor in state.values()) - rest
    designs = sorted({str(layer.pattern.parameters) for layer in layers.values()})
    return {"bytes": written, "kept": kept, "ratio": (written - rest) / kept, "designs": designs}


def in_onnxruntime(model: nn.Module, shape: tuple[int, ...], seconds: float) -> dict[str, object]:
    """Bytes of the files and milliseconds of a pass, sparse and dense in turns."""
    with tempfile.TemporaryDirectory() as folder:
        files = {form: export(model, Path(folder) / form, shape, form=form) for form in ("packed", "dense")}
    runs = {form: file.run for form, file in files.items()}
    return {
        "bytes": {form: file.size_bytes for form, file in files.items()},
        "deviation": {form: file.error for form, file in files.items()},
        "ms": {
            str(batch): {
                form: latency.median_ms
                for form, latency in time_models(runs, (batch, *shape), seconds=seconds, rounds=2000).items()
            }
            for batch in BATCHES
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="of the two ONNX files' turns at each batch size")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "shipping.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mlp = next(iter(NETS))
    cases = [(net, how, 0.125) for net in NETS for how in PLANS]
    cases += [(mlp, "tiles of edge 1", density) for density in DENSITIES if density != 0.125]
    result: dict[str, object] = {"command": "python benchmarks/shipping.py", "machine": machine(), "folder": []}
    for net, how, density in cases:
        told = {"net": net, "plan": how, "density": density, **in_a_folder(sparse(net, how, density))}
        print(told, flush=True)
        result["folder"].append(told)
    result["onnx"] = {}
    for net in NETS:
        told = in_onnxruntime(sparse(net, "as planned by default", 0.125), NETS[net].input_shape, arguments.seconds)
        print(net, told, flush=True)
        result["onnx"][net] = told
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
