"""What `gpu.py` compares: a wide linear layer forward and in training, and ResNet18 from end to end."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gpu_timing import Ceilings, Side, copies_for, time_sides
from torch import Tensor, nn
from torch.nn import functional as F

import bibdlib
from iddl_prune import BIBDLinear, SparsePattern, pattern_layers, plan, prune_
from iddl_prune.layers import PatternLayer
from iddl_prune.ops import triton
from iddl_prune.optimize import optimize_

__all__ = ["Scale", "check_linear", "linear", "network", "training_step"]

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@dataclass(frozen=True)
class Scale:
    """How large everything is: as the targets are stated, or so small that an interpreter gets through it."""

    device: str
    width: int
    edge: int
    batches: tuple[int, ...]
    training_batches: tuple[int, ...]
    image_batches: tuple[int, ...]
    seconds: float
    tuning_seconds: float
    build_network: Callable[[], nn.Module]
    density: float
    image: tuple[int, int, int] = (3, 32, 32)

    def pattern(self) -> SparsePattern:
        """The projective plane of order 7 (smoke: of order 2) in whole tiles."""
        v, k = (7, 3) if self.width < 57 * self.edge else (57, 8)
        return SparsePattern.from_design(self.width, self.width, bibdlib.construct(v, k, 1), edge=self.edge)


def check_linear(scale: Scale, dtype: torch.dtype) -> dict[str, Any]:
    """Relative errors of the product and both gradients against float64, on fresh random inputs."""
    pattern, rows = scale.pattern(), scale.batches[-1] // 8 + 3
    layer = _sparse(pattern, scale.device, dtype, rows, scale, training=True)
    x = torch.randn(rows, scale.width, device=scale.device, dtype=dtype, requires_grad=True)
    slope = torch.randn(rows, scale.width, device=scale.device, dtype=dtype)
    mine = layer(x)
    slopes = torch.autograd.grad(mine, (x, layer.weight), slope)
    exact, dense = x.detach().double(), layer.dense_weight().detach().double()
    assert layer.bias is not None
    positions = torch.from_numpy(pattern.positions).to(scale.device)
    wanted = {
        "forward": (mine, exact @ dense.T + layer.bias.detach().double()),
        "backward": (slopes[0], slope.double() @ dense),
        "gradient": (slopes[1], (slope.double().T @ exact).flatten()[positions]),
    }
    errors = {what: float((a.detach().double() - b).norm() / b.norm()) for what, (a, b) in wanted.items()}
    return {
        "errors": errors,
        "tolerance": TOLERANCE[dtype],
        "holds": all(e <= TOLERANCE[dtype] for e in errors.values()),
    }


def linear(scale: Scale, ceilings: Ceilings, dtype: torch.dtype, batch: int) -> dict[str, Any]:
    """One forward product with bias, against dense products of the same layer, and against torch's sparse ones."""
    pattern, width, device = scale.pattern(), scale.width, scale.device
    x = torch.randn(batch, width, device=device, dtype=dtype)
    ours = _sparse(pattern, device, dtype, batch, scale)
    assert ours.bias is not None
    many = _copies(ours, device, x)
    dense = _copies(ours.to_dense(), device, x)
    gathering = [copy.deepcopy(layer) for layer in many[:2]]
    for layer in gathering:
        layer.use_kernel("gather")
    compiled = torch.compile(F.linear, dynamic=False)
    tile = (scale.edge, scale.edge)
    sides = [
        Side("dense, eager", lambda: _on(dense, x), graph=False),
        Side("dense, graph", lambda: _on(dense, x)),
        Side("dense, compiled, graph", lambda: [lambda d=d: compiled(x, d.weight, d.bias) for d in dense]),
        Side("iddl, eager", lambda: _on(many, x), graph=False),
        Side("iddl, graph", lambda: _on(many, x)),
        Side("iddl by gather, graph", lambda: _on(gathering, x)),
        Side("torch BSR", lambda: [_bsr(layer, x, tile) for layer in many]),
        Side("torch 2:4", lambda: [_semi_structured(d, x) for d in dense]),
    ]
    with torch.no_grad():
        times = time_sides(sides, device, seconds=scale.seconds)
    item = x.element_size()
    moved, operations = item * (pattern.kept + 2 * batch * width), 2 * batch * pattern.kept
    return _told(times, ceilings.floor_s(moved, operations, dtype), pattern)


def training_step(scale: Scale, ceilings: Ceilings, dtype: torch.dtype, batch: int) -> dict[str, Any]:
    """Forward and both gradients of the same layer."""
    pattern, width, device = scale.pattern(), scale.width, scale.device
    x = torch.randn(batch, width, device=device, dtype=dtype, requires_grad=True)
    slope = torch.randn(batch, width, device=device, dtype=dtype)
    ours = _copies(_sparse(pattern, device, dtype, batch, scale, training=True), device, x)
    dense = _copies(ours[0].to_dense(), device, x)
    compiled = torch.compile(F.linear, dynamic=False)

    def steps(forward: Callable[[nn.Module], Tensor], layers: Sequence[nn.Module]) -> list[Callable[[], object]]:
        return [lambda d=d: torch.autograd.grad(forward(d), (x, *d.parameters()), slope) for d in layers]

    sides = [
        Side("dense, eager", lambda: steps(lambda d: d(x), dense), graph=False),
        Side("dense, graph", lambda: steps(lambda d: d(x), dense)),
        Side("dense, compiled, graph", lambda: steps(lambda d: compiled(x, d.weight, d.bias), dense)),
        Side("iddl, eager", lambda: steps(lambda d: d(x), ours), graph=False),
        Side("iddl, graph", lambda: steps(lambda d: d(x), ours)),
    ]
    times = time_sides(sides, device, seconds=scale.seconds)
    item = x.element_size()
    # Each product reads two of three tensors and writes the third.
    moved, operations = 3 * item * (pattern.kept + 2 * batch * width), 6 * batch * pattern.kept
    return _told(times, ceilings.floor_s(moved, operations, dtype), pattern)


def network(scale: Scale, dtype: torch.dtype, batch: int) -> dict[str, Any]:
    """A network from end to end, channels last: dense, pruned by designs, pruned of channels to equal multiply-adds."""
    torch.manual_seed(0)
    device = scale.device
    x = torch.randn(batch, *scale.image, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    dense = scale.build_network().to(device, dtype, memory_format=torch.channels_last).eval()
    example = torch.randn(1, *scale.image)
    decided = plan(copy.deepcopy(dense).cpu().float(), example, density=scale.density, fit=False)
    sparse = prune_(copy.deepcopy(dense), decided).eval()
    costs = {name: _multiply_adds(model, example) for name, model in (("dense", dense), ("iddl", sparse))}
    deployed = optimize_(copy.deepcopy(sparse), x, batch_sizes=(batch,), seconds=scale.seconds / 10)
    ours, compiled, compiled_dense = deployed.model, torch.compile(deployed.model), torch.compile(dense)
    sides = [
        Side("dense, eager", lambda: [lambda: dense(x)], graph=False),
        Side("dense, graph", lambda: [lambda: dense(x)]),
        Side("dense, compiled, graph", lambda: [lambda: compiled_dense(x)]),
        Side("iddl, eager", lambda: [lambda: ours(x)], graph=False),
        Side("iddl, graph", lambda: [lambda: ours(x)]),
        Side("iddl, compiled, graph", lambda: [lambda: compiled(x)]),
        Side("fewer channels, compiled, graph", lambda: [_fewer_channels(dense, sparse, example, x)]),
    ]
    with torch.no_grad():
        times = time_sides(sides, device, seconds=2 * scale.seconds)
    kernels = {
        name: {"kernel": choice.kernel, "times": choice.times[batch]} for name, choice in deployed.layers.items()
    }
    return {**_ratios(times), "times": times, "kernels": kernels, "layout": deployed.layout, "multiply_adds": costs}


def _sparse(
    pattern: SparsePattern, device: str, dtype: torch.dtype, batch: int, scale: Scale, *, training: bool = False
) -> BIBDLinear:
    layer = BIBDLinear(
        pattern.in_features, pattern.out_features, device=device, dtype=dtype, pattern=pattern, kernel="triton"
    )
    x = torch.randn(batch, pattern.in_features, device=device, dtype=dtype, requires_grad=training)
    with triton.searching(scale.tuning_seconds), torch.set_grad_enabled(training):
        out = layer(x)
        if training:
            torch.autograd.grad(out, (x, layer.weight), torch.randn_like(out))
    return layer


def _copies(layer: Any, device: str, x: Tensor) -> list[Any]:
    """Copies of a layer that together leave the cache cold; two where the rows alone do."""
    large = x.numel() * x.element_size() > 50e6
    count = 2 if large else copies_for(layer.weight.numel() * layer.weight.element_size(), device)
    return [copy.deepcopy(layer) for _ in range(count)]


def _on(layers: Sequence[nn.Module], x: Tensor) -> list[Callable[[], object]]:
    return [lambda layer=layer: layer(x) for layer in layers]


def _bsr(layer: BIBDLinear, x: Tensor, tile: tuple[int, int]) -> Callable[[], object]:
    from torch.sparse._triton_ops import bsr_dense_addmm

    weight = layer.dense_weight().detach().to_sparse_bsr(tile)
    assert layer.bias is not None
    bias = layer.bias.detach()[:, None].expand(-1, len(x))
    return lambda: bsr_dense_addmm(bias, weight, x.T)


def _semi_structured(dense: nn.Linear, x: Tensor) -> Callable[[], object]:
    from torch.sparse import to_sparse_semi_structured

    half = torch.tensor([0, 0, 1, 1], device=x.device, dtype=x.dtype).tile(dense.out_features, dense.in_features // 4)
    weight = to_sparse_semi_structured(torch.randn_like(dense.weight) * half)
    return lambda: F.linear(x, weight, dense.bias)


def _fewer_channels(dense: nn.Module, sparse: nn.Module, example: Tensor, x: Tensor) -> Callable[[], object]:
    from iddl_prune.baselines import fewer_channels

    with torch.enable_grad():
        narrow = fewer_channels(
            copy.deepcopy(dense).cpu().float(),
            example,
            lambda model: _multiply_adds(model, example),
            _multiply_adds(sparse, example),
        )
    narrow = narrow.to(x.device, x.dtype, memory_format=torch.channels_last).eval()
    compiled = torch.compile(narrow, dynamic=False)
    return lambda: compiled(x)


def _multiply_adds(model: nn.Module, example: Tensor) -> int:
    """Of the convolutions and linear layers, for one image; a kept weight counts once for each place of the output."""
    total = 0

    def add(module: Any, _: object, out: Tensor) -> None:
        nonlocal total
        channels = out.shape[1]
        total += module.weight.numel() * (out.numel() // channels)

    kinds = nn.Linear, nn.Conv2d, PatternLayer
    spare = copy.deepcopy(model).cpu().float().eval()
    for layer in pattern_layers(spare).values():
        layer.use_kernel("reference")
    hooks = [module.register_forward_hook(add) for module in spare.modules() if isinstance(module, kinds)]
    with torch.no_grad():
        spare(example)
    for hook in hooks:
        hook.remove()
    return total


def _told(times: dict[str, dict[str, Any]], floor_s: float, pattern: SparsePattern) -> dict[str, Any]:
    ours = [told["median_s"] for name, told in times.items() if name.startswith("iddl") and "median_s" in told]
    fraction = floor_s / min(ours) if ours else None
    return {
        **_ratios(times),
        "floor_s": floor_s,
        "fraction_of_floor": fraction,
        "density": pattern.density,
        "times": times,
    }


def _ratios(times: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The best dense time over the best of ours."""
    best = {
        kind: min(
            (t["median_s"] for name, t in times.items() if name.startswith(kind) and "median_s" in t), default=None
        )
        for kind in ("dense", "iddl")
    }
    ratio = best["dense"] / best["iddl"] if best["dense"] and best["iddl"] else None
    return {"times_faster": ratio}
