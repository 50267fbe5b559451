"""Gather the inputs of each block, then one small dense product a block: work scales with the density.

A block that reads fewer inputs, or has fewer outputs, than the largest is filled up with zeros;
where all groups are equal nothing is filled and the stored weights are used as they lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from iddl_prune.ops.geometry import Geometry
from iddl_prune.pattern import SparsePattern

__all__ = [
    "AUTOGRAD",
    "COMPOSITE",
    "available",
    "buffers",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "linear",
    "linear_grad_input",
    "linear_grad_weight",
]

COMPOSITE = True
AUTOGRAD = False

_NAMES = ("gathered", "spread", "order")


def available(device_type: str, dtype: torch.dtype) -> bool:
    """Everywhere."""
    return True


def buffers(pattern: SparsePattern) -> dict[str, Tensor]:
    """Inputs (b, fan_in) and outputs (b, height) of each block, place of each output, and of each kept weight.

    The last only where blocks are filled up.
    """
    fan_in, height = max(map(len, pattern.inputs)), max(map(len, pattern.outputs))
    gathered = np.zeros((len(pattern.blocks), fan_in), dtype=np.int64)
    spread = np.zeros((len(pattern.blocks), height), dtype=np.int64)
    order = np.zeros(pattern.out_features, dtype=np.int64)
    for block, (inputs, outputs) in enumerate(zip(pattern.inputs, pattern.outputs, strict=True)):
        gathered[block, : len(inputs)] = inputs
        spread[block, : len(outputs)] = outputs
        order[outputs] = block * height + np.arange(len(outputs))
    tensors = {name: torch.from_numpy(array) for name, array in zip(_NAMES, (gathered, spread, order), strict=True)}
    if pattern.kept != gathered.size * height:
        slots = [
            ((block * height + np.arange(len(outputs)))[:, None] * fan_in + np.arange(len(inputs))).ravel()
            for block, (inputs, outputs) in enumerate(zip(pattern.inputs, pattern.outputs, strict=True))
        ]
        tensors["slots"] = torch.from_numpy(np.concatenate(slots))
    return tensors


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, indices: Sequence[Tensor], out_features: int, relu: bool
) -> Tensor:
    """x (n, in_features) -> (n, out_features)."""
    gathered, _, order = indices[:3]
    products = torch.bmm(_tiles(x, gathered), _filled(weight, indices).transpose(1, 2))
    out = products.transpose(0, 1).flatten(1).index_select(1, order)
    out = out if bias is None else out + bias
    return out.relu() if relu else out


def linear_grad_input(grad: Tensor, weight: Tensor, indices: Sequence[Tensor], in_features: int) -> Tensor:
    """grad (n, out_features) -> (n, in_features)."""
    gathered, spread = indices[:2]
    products = torch.bmm(_tiles(grad, spread), _filled(weight, indices)).transpose(0, 1).flatten(1)
    return grad.new_zeros(len(grad), in_features).index_add(1, gathered.flatten(), products)


def linear_grad_weight(grad: Tensor, x: Tensor, indices: Sequence[Tensor], kept: int) -> Tensor:
    """grad (n, out_features), x (n, in_features) -> (kept,)."""
    gathered, spread = indices[:2]
    return _kept(torch.bmm(_tiles(grad, spread).transpose(1, 2), _tiles(x, gathered)).flatten(), indices)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    indices: Sequence[Tensor],
    out_features: int,
    geometry: Geometry,
    relu: bool,
) -> Tensor:
    """x (N, in_features, H, W) -> (N, out_features, H', W')."""
    gathered, _, order = indices[:3]
    filled = _filled(weight, indices).flatten(0, 1)
    out = F.conv2d(x.index_select(1, gathered.flatten()), filled, None, *geometry, groups=len(gathered))
    out = out.index_select(1, order)
    out = out if bias is None else out + bias[:, None, None]
    out = out if residual is None else out + residual
    return out.relu() if relu else out


def conv2d_grad_input(
    grad: Tensor, weight: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W') -> `shape`, (N, in_features, H, W)."""
    gathered, spread = indices[:2]
    products = conv2d_input(
        [shape[0], gathered.numel(), *shape[2:]],
        _filled(weight, indices).flatten(0, 1),
        grad.index_select(1, spread.flatten()),
        *geometry,
        groups=len(gathered),
    )
    return grad.new_zeros(shape).index_add(1, gathered.flatten(), products)


def conv2d_grad_weight(
    grad: Tensor, x: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W'), x (N, in_features, H, W) -> `shape`, (kept, kh, kw)."""
    gathered, spread = indices[:2]
    products = conv2d_weight(
        x.index_select(1, gathered.flatten()),
        [spread.numel(), gathered.shape[1], *shape[1:]],
        grad.index_select(1, spread.flatten()),
        *geometry,
        groups=len(gathered),
    )
    return _kept(products.flatten(0, 1), indices)


def _tiles(x: Tensor, places: Tensor) -> Tensor:
    """x (n, channels), places (b, size) -> (b, n, size)."""
    return x.index_select(1, places.flatten()).unflatten(1, places.shape).transpose(0, 1)


def _filled(weight: Tensor, indices: Sequence[Tensor]) -> Tensor:
    """weight (kept, ...) -> (b, height, fan_in, ...)."""
    gathered, spread, _, *slots = indices
    if slots:
        filled = weight.new_zeros(spread.numel() * gathered.shape[1], *weight.shape[1:])
        weight = filled.index_copy(0, slots[0], weight)
    return weight.view(*spread.shape, gathered.shape[1], *weight.shape[1:])


def _kept(products: Tensor, indices: Sequence[Tensor]) -> Tensor:
    """products (b * height * fan_in, ...) -> (kept, ...)."""
    return products.index_select(0, indices[3]) if len(indices) > 3 else products
