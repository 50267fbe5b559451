"""Time sparse layers and nets beside every dense form of them, all sides in turns in one run.

    python benchmarks/speed.py [--only SECTION ...] [--threads 2] [--seconds 1] [--output benchmarks/results/speed.json]

Sections: linear, mlp, resnet18-cifar, resnet18-imagenet, whole, backward, backward-16, density, cells, floor. Each
replaces its part of the JSON, so a run that was cut short goes on with --only. Where the processor has no instructions
for bfloat16 leave backward-16 out: a pass takes minutes there. The dense side is the fastest of eager, channels-last
and torch.compile, batch norms folded; beside it stand torch's CSR and BSR matrices and, for ResNet18, Torch-Pruning's
net of fewer channels at the same multiply-adds. Weights are random: no time depends on them. One design covers each
layer, but in the sections whole and cells, which have copies of one wherever there is room. All sides keep the memory
that they free: else the time of large batches is that of the system, which clears pages for each answer anew.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import bibdlib
from iddl_prune import BIBDConv2d, BIBDLinear, SparsePattern, optimize_, plan, prune_
from iddl_prune.baselines import fewer_channels
from iddl_prune.choice import choose
from iddl_prune.fold import fold_norms_, traced
from iddl_prune.layers import PatternLayer
from iddl_prune.measure import count_multiply_adds, machine
from iddl_prune.models import build
from iddl_prune.ops import KERNELS
from iddl_prune.optimize import taking_turns
from iddl_prune.pattern import told_cells

DENSE = ("eager", "channels-last", "compiled")
DENSITY = 0.125
DESIGN = (73, 9, 1)  # 12.3% kept
WIDTHS = (4096, 1024)
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
CURVE = ((7, 3, 1), (13, 4, 1), (21, 5, 1), (31, 6, 1), (57, 8, 1), (73, 9, 1), (91, 10, 1), (133, 12, 1))


def linear(seconds: float) -> dict[str, object]:
    """One layer: every kernel, dense, CSR and BSR."""
    results = {}
    for width in WIDTHS:
        pattern = SparsePattern.from_design(width, width, bibdlib.construct(*DESIGN), edge=width // 128)
        layers = kernels(pattern)
        dense = next(iter(layers.values())).to_dense()
        compiled = torch.compile(dense)
        csr = dense.weight.detach().to_sparse_csr()
        bsr = dense.weight.detach().to_sparse_bsr((width // 128, width // 128))
        for batch in (1, 32, 256):
            x = torch.randn(batch, width)
            sides: dict[str, Callable[[], object]] = {
                "eager": partial(dense, x),
                "compiled": partial(compiled, x),
                "CSR": partial(F.linear, x, csr, dense.bias),
                "BSR": partial(F.linear, x, bsr, dense.bias),
                **{name: partial(layer, x) for name, layer in layers.items()},
            }
            results[f"{width} x {width}, batch {batch}"] = told(sides, seconds, tuple(layers), pattern.density)
    return results


def cells(seconds: float) -> dict[str, object]:
    """Layers and nets filled with copies of a design, at falling width of the tiles."""
    results = {}
    for width, edges in ((4096, (8, 4)), (1024, (8, 4, 1))):
        for edge in edges:
            choice = choose(width, width, DENSITY, edge)
            design = choice.recipe.build()
            pattern = SparsePattern.from_design(width, width, design, edge=edge, cells=choice.cells, lists=choice.lists)
            told_choice = f"{choice.parameters} in {told_cells(choice.cells, int(pattern.joins[0].sum()))}"
            layer = BIBDLinear(width, width, pattern=pattern, kernel="vector")
            dense = layer.to_dense()
            compiled = torch.compile(dense)
            for batch in (1, 32, 256):
                x = torch.randn(batch, width)
                sides = {"eager": partial(dense, x), "compiled": partial(compiled, x), "vector": partial(layer, x)}
                name = f"linear {width}, tiles of {edge}, {told_choice}, batch {batch}"
                results[name] = told(sides, seconds, ("vector",), pattern.density)
    for name, shape in (("mlp", (1, 28, 28)), ("resnet18", (3, 32, 32))):
        model = with_statistics(build(name, num_classes=10, input_shape=shape))
        for how, options in (("tiles by width", {}), ("tiles of 1", {"edge": 1})):
            for case, result in nets(model, shape, (1, 32), seconds, cells=True, **options).items():
                results[f"{name}, {how}, {case}"] = result
    return results


def floor(seconds: float) -> dict[str, object]:
    """A linear layer at batch 1: what must be read, how long reading that alone takes, and a call by itself."""
    memory = torch.ones(2**25)
    results: dict[str, object] = {
        "gigabytes a second": 1e-9 * memory.nbytes / taking_turns({"sum": memory.sum}, seconds)["sum"]
    }
    small, few = SparsePattern.from_design(7, 7, bibdlib.construct(7, 3, 1)), torch.randn(1, 7)
    tiny = BIBDLinear(7, 7, pattern=small, kernel="vector")
    calls = {"a call of torch's layer": partial(tiny.to_dense(), few), "a call of ours": partial(tiny, few)}
    for width in WIDTHS:
        pattern = SparsePattern.from_design(width, width, bibdlib.construct(*DESIGN), edge=width // 128)
        layer, x = BIBDLinear(width, width, pattern=pattern, kernel="vector"), torch.randn(1, width)
        dense = layer.to_dense()
        sides = {
            "dense": partial(dense, x),
            "vector": partial(layer, x),
            "a sum of the dense weights": dense.weight.sum,
            "a sum of ours": layer.weight.sum,
            **calls,
        }
        after_others = {name: median(apart(memory, side) for _ in range(50)) for name, side in sides.items()}
        results[f"{width} x {width}"] = {
            "bytes": {"dense": dense.weight.nbytes, "vector": layer.weight.nbytes + 4 * sum(map(len, pattern.inputs))},
            "ms again and again": {name: 1000 * taken for name, taken in taking_turns(sides, seconds).items()},
            "ms after others": {name: 1000 * taken for name, taken in after_others.items()},
        }
    print(json.dumps(results, indent=1), flush=True)
    return results


def apart(memory: torch.Tensor, call: Callable[[], object]) -> float:
    """Seconds of a call after so much memory was read that no cache holds what it needs."""
    memory.sum()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def mlp(seconds: float) -> dict[str, object]:
    """MLP 784-512-512-10."""
    model = build("mlp", num_classes=10, input_shape=(1, 28, 28)).eval()
    return nets(model, (1, 28, 28), (1, 8, 32, 256), seconds)


def resnet18_cifar(seconds: float) -> dict[str, object]:
    """ResNet18 with the stem for images of 32 pixels."""
    model = with_statistics(build("resnet18", num_classes=10, input_shape=(3, 32, 32)))
    return nets(model, (3, 32, 32), (1, 32), seconds)


def resnet18_imagenet(seconds: float) -> dict[str, object]:
    """ResNet18 with its own stem, images of 224 pixels."""
    model = with_statistics(build("resnet18", num_classes=1000, input_shape=(3, 224, 224)))
    return nets(model, (3, 224, 224), (1, 32), seconds)


def whole(seconds: float) -> dict[str, object]:
    """ResNet18 with an eighth of the multiply-adds of all its layers, those that stay dense included."""
    results = {}
    for stem, classes, size, batches in (("CIFAR", 10, 32, (1, 32)), ("ImageNet", 1000, 224, (1, 32))):
        shape = 3, size, size
        model = with_statistics(build("resnet18", num_classes=classes, input_shape=shape))
        decided = plan(model, torch.zeros(1, *shape), density=DENSITY, fit=False)
        kept = share(prune_(copy.deepcopy(model), decided), model, shape)
        dense = (kept - DENSITY) / (1 - DENSITY)  # of the multiply-adds, in what stays dense
        density = (DENSITY - dense) / (1 - dense)
        for case, result in nets(model, shape, batches, seconds, cells=True, density=density).items():
            results[f"{stem} stem, {case}"] = result
    return results


def backward(seconds: float, *, short: bool = False) -> dict[str, object]:
    """A forward and backward pass of ResNet18 (CIFAR stem) at batch 32, in 32 bits or, where torch may, in 16."""
    dense = build("resnet18", num_classes=10, input_shape=(3, 32, 32))
    sparse = prune_(
        copy.deepcopy(dense), plan(dense, torch.zeros(1, 3, 32, 32), density=DENSITY, fit=False, cells=False)
    )
    forms = {
        "eager": dense,
        "channels-last": copy.deepcopy(dense).to(memory_format=torch.channels_last),
        "compiled": torch.compile(copy.deepcopy(dense)),
        "reference": sparse,
        "vector": with_kernel(copy.deepcopy(sparse), "vector"),
    }
    x, labels = torch.randn(32, 3, 32, 32), torch.randint(10, (32,))
    turned = x.to(memory_format=torch.channels_last)

    def step(model: nn.Module, images: torch.Tensor) -> None:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            loss = F.cross_entropy(model(images).float(), labels)
        loss.backward()

    # `train` lays 16-bit images out channels-last, for every net.
    sides = {name: partial(step, net, turned if short or name == "channels-last" else x) for name, net in forms.items()}
    precision, kept = "bfloat16" if short else "float32", share(sparse, dense, (3, 32, 32))
    return {f"resnet18 (CIFAR), batch 32, {precision}": told(sides, 5 * seconds, ("reference", "vector"), kept)}


def density(seconds: float) -> dict[str, object]:
    """A layer of 2048 at batch 32, and a convolution of 256 channels at batch 8, at falling density."""
    results = {}
    for parameters in CURVE:
        design = bibdlib.construct(*parameters)
        edge = 2 ** ((2048 // design.v).bit_length() - 1)
        pattern = SparsePattern.from_design(2048, 2048, design, edge=edge)
        layers = kernels(pattern)
        dense = next(iter(layers.values())).to_dense()
        x = torch.randn(32, 2048)
        sides = {"eager": partial(dense, x)} | {name: partial(of, x) for name, of in layers.items()}
        results[f"linear {design.parameters}"] = told(sides, seconds, tuple(layers), pattern.density)
        if design.v > 256:
            continue
        channels = SparsePattern.from_design(256, 256, design, edge=2 ** ((256 // design.v).bit_length() - 1))
        window = BIBDConv2d(256, 256, 3, padding=1, pattern=channels, kernel="vector")
        whole, image = window.to_dense(), torch.randn(8, 256, 14, 14)
        last = window.to_dense().to(memory_format=torch.channels_last)
        turned = image.to(memory_format=torch.channels_last)
        sides = {
            "eager": partial(whole, image),
            "channels-last": partial(last, turned),
            "vector": partial(window, image),
        }
        results[f"convolution {design.parameters}"] = told(sides, seconds, ("vector",), channels.density)
    return results


SECTIONS: dict[str, Callable[[float], dict[str, object]]] = {
    "linear": linear,
    "mlp": mlp,
    "resnet18-cifar": resnet18_cifar,
    "resnet18-imagenet": resnet18_imagenet,
    "backward": backward,
    "backward-16": partial(backward, short=True),
    "density": density,
    "whole": whole,
    "cells": cells,
    "floor": floor,
}


def nets(
    model: nn.Module, shape: tuple[int, ...], batches: tuple[int, ...], seconds: float, **options: Any
) -> dict[str, object]:
    """A whole net, dense in its forms, sparse as `optimize_` leaves it for each batch size, with fewer channels."""
    example = torch.zeros(1, *shape)
    options = {"cells": False, "density": DENSITY, **options}
    sparse = prune_(copy.deepcopy(model), plan(model, example, fit=False, **options)).eval()
    kept = share(sparse, model, shape)
    dense = folded(copy.deepcopy(model))
    last = copy.deepcopy(dense).to(memory_format=torch.channels_last)
    compiled = torch.compile(copy.deepcopy(dense))
    narrow = None
    if len(shape) == 3 and shape[0] == 3:
        with torch.enable_grad():
            narrow = fewer_channels(copy.deepcopy(model), example, lambda net: share(net, model, shape), kept)
        narrow = folded(narrow)
    results = {}
    for batch in batches:
        x = torch.randn(batch, *shape)
        deployed = optimize_(copy.deepcopy(sparse), x, batch_sizes=(batch,))
        print(deployed, flush=True)
        sides = {
            "eager": partial(dense, x),
            "channels-last": partial(last, x.to(memory_format=torch.channels_last)),
            "compiled": partial(compiled, x),
            "iddl": partial(deployed.model, x),
            "iddl, not optimised": partial(sparse, x),
        }
        if narrow is not None:
            sides["fewer channels"] = partial(narrow, x)
        told_here = told(sides, 3 * seconds, ("iddl",), kept)
        told_here["layers"] = {
            name: {"kernel": choice.kernel, "ratio": choice.ratio} for name, choice in deployed.layers.items()
        }
        told_here["parts"] = parts(deployed.model, x)
        if narrow is not None:
            told_here["fewer channels"] = {"share": share(narrow, model, shape)}
        results[f"batch {batch}"] = told_here
    return results


def parts(model: nn.Module, x: torch.Tensor, rounds: int = 5) -> dict[str, float]:
    """Milliseconds of a pass: in sparse layers, in dense ones, and in all the rest; the shortest of some rounds."""
    running: list[float] = []

    def taken(*_: object) -> None:
        running[-1] += time.perf_counter()

    def started(*_: object) -> None:
        running.append(-time.perf_counter())

    found = []
    for _ in range(rounds):
        spent = {}
        for kind, types in (("sparse", PatternLayer), ("dense", nn.Linear | nn.Conv2d), ("all", type(model))):
            running.clear()
            hooks = [
                hook
                for module in model.modules()
                if isinstance(module, types)
                for hook in (module.register_forward_pre_hook(started), module.register_forward_hook(taken))
            ]
            model(x)
            for hook in hooks:
                hook.remove()
            spent[kind] = 1000 * sum(running)
        found.append(spent)
    least = {kind: min(spent[kind] for spent in found) for kind in found[0]}
    rest = least.pop("all") - least["sparse"] - least["dense"]
    return {"sparse layers": least["sparse"], "dense layers": least["dense"], "the rest": rest}


def told(
    sides: dict[str, Callable[[], object]], seconds: float, ours: tuple[str, ...], kept: float
) -> dict[str, object]:
    """Milliseconds of each side, and how many times faster the best of ours is than the best dense one."""
    times = {name: 1000 * taken for name, taken in taking_turns(sides, seconds).items()}
    dense, best = min(times[name] for name in DENSE if name in times), min(ours, key=times.__getitem__)
    result = {"ms": times, "best": best, "ratio": dense / times[best], "share": kept}
    print(
        f"  {best} {result['ratio']:.2f}x, {json.dumps({name: round(ms, 3) for name, ms in times.items()})}", flush=True
    )
    return result


def kernels(pattern: SparsePattern) -> dict[str, BIBDLinear]:
    """The layer with each kernel that can run here."""
    names = [name for name, kernel in KERNELS.items() if name != "reference" and kernel.available("cpu", torch.float32)]
    first = BIBDLinear(pattern.in_features, pattern.out_features, pattern=pattern)
    return {name: with_kernel(copy.deepcopy(first), name) for name in names}


def with_kernel(model: nn.Module, kernel: str) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "use_kernel"):
            module.use_kernel(kernel)
    return model


def with_statistics(model: nn.Module) -> nn.Module:
    """Norms that have met data: none is the identity."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def folded(model: nn.Module) -> nn.Module:
    """Batch norms folded, as in the sparse net."""
    graph = traced(model.eval().requires_grad_(False))
    fold_norms_(graph)
    return graph


def share(small: nn.Module, whole: nn.Module, shape: tuple[int, ...]) -> float:
    """Multiply-adds kept."""
    return count_multiply_adds(small, shape) / count_multiply_adds(whole, shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each layer's turns; a net has three times that")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    arguments = parser.parse_args()
    if not KEEP.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP)  # read when a process begins
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    os.environ["IDDL_CACHE"] = tempfile.mkdtemp()  # choices of another hour are none of this run
    warnings.filterwarnings("ignore", message="Sparse (CSR|BSR|invariant)")
    for name in arguments.only:
        print(name, flush=True)
        inference = torch.enable_grad() if name.startswith("backward") else torch.no_grad()
        with inference:
            results = SECTIONS[name](arguments.seconds)
        section = {"command": shlex.join(["python", *sys.argv]), "machine": machine(), "results": results}
        result = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
        result |= {"command": "python benchmarks/speed.py", name: section}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
