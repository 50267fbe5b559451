"""What sparse layers hold and what a pass needs: bytes beside the dense net's, and peaks of resident memory.

    python benchmarks/memory.py [--batch 256] [--output benchmarks/results/memory.json]

Bytes held are counted; a peak is the most resident memory of a process of its own, less what it held before.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import resource
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from iddl_prune import pattern_layers, plan, prune_
from iddl_prune.measure import machine
from iddl_prune.models import build

DENSITY = 0.125
SIDES = ("dense", "sparse, reference", "sparse, vector", "sparse, gather")


def nets() -> tuple[nn.Module, nn.Module]:
    """ResNet18 with the stem for images of 32 pixels, dense and sparse."""
    torch.manual_seed(0)
    dense = build("resnet18", num_classes=10, input_shape=(3, 32, 32))
    return dense, prune_(copy.deepcopy(dense), plan(dense, torch.zeros(1, 3, 32, 32), density=DENSITY, fit=False))


def held() -> dict[str, object]:
    """Bytes of parameters, gradients and Adam's state of the converted layers, and of the indices."""
    dense, sparse = nets()
    names = list(pattern_layers(sparse))
    result: dict[str, object] = {}
    for side, net in (("dense", dense), ("sparse", sparse)):
        layers = [net.get_submodule(name) for name in names]
        optimizer = torch.optim.Adam([layer.weight for layer in layers])
        F.cross_entropy(net(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1])).backward()
        optimizer.step()
        state = [value for layer in layers for value in optimizer.state[layer.weight].values() if value.ndim]
        result[side] = {
            "parameters": size(layer.weight for layer in layers),
            "gradients": size(layer.weight.grad for layer in layers),
            "optimizer state": size(state),
        }
    kept = sum(layer.weight.numel() for layer in pattern_layers(sparse).values())
    result["density"] = kept / sum(dense.get_submodule(name).weight.numel() for name in names)
    for kernel in ("reference", "gather", "vector"):
        for layer in pattern_layers(sparse).values():
            layer.use_kernel(kernel)
        result[f"indices, {kernel}"] = size(
            buffer for layer in pattern_layers(sparse).values() for buffer in layer.buffers()
        )
    return result


def size(tensors: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def peak(side: str, training: bool, batch: int) -> int:
    """Bytes a pass needs beyond what the process held before, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (side, training, batch))


def _peak(side: str, training: bool, batch: int) -> int:
    torch.set_num_threads(1)
    dense, sparse = nets()
    net = dense if side == "dense" else sparse
    del dense, sparse
    if side != "dense":
        for layer in pattern_layers(net).values():
            layer.use_kernel(side.partition(", ")[2])
    net.train(training)
    x, labels = torch.randn(batch, 3, 32, 32), torch.zeros(batch, dtype=torch.long)

    def step(x: torch.Tensor, labels: torch.Tensor) -> None:
        if training:
            optimizer.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            optimizer.step()
        else:
            with torch.no_grad():
                net(x)

    optimizer = torch.optim.Adam(net.parameters())
    step(x[:2], labels[:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(x, labels)
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    arguments = parser.parse_args()
    peaks = {
        name: {side: peak(side, training, arguments.batch) for side in SIDES}
        for name, training in (("forward", False), ("training step", True))
    }
    result = {
        "command": "python benchmarks/memory.py",
        "machine": machine(),
        "batch": arguments.batch,
        "held": held(),
        "peak": peaks,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
