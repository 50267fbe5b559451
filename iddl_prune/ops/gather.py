"""Gather the inputs of each block, then one small dense product a block: work scales with the density.

A block that reads fewer inputs, or has fewer outputs, than the largest is filled up with zeros;
where all groups are equal nothing is filled and the stored weights are used as they lie.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from iddl_prune.pattern import SparsePattern

__all__ = ["buffers", "conv2d", "linear"]


def buffers(pattern: SparsePattern) -> dict[str, Tensor]:
    """Inputs of each block (b * fan_in,), place of each output, and of each kept weight where blocks are filled up."""
    fan_in, height = _sizes(pattern)
    gathered = np.zeros((len(pattern.blocks), fan_in), dtype=np.int64)
    order = np.zeros(pattern.out_features, dtype=np.int64)
    for block, (inputs, outputs) in enumerate(zip(pattern.inputs, pattern.outputs, strict=True)):
        gathered[block, : len(inputs)] = inputs
        order[outputs] = block * height + np.arange(len(outputs))
    tensors = {"gathered": torch.from_numpy(gathered.ravel()), "order": torch.from_numpy(order)}
    if pattern.kept != gathered.size * height:
        slots = [
            ((block * height + np.arange(len(outputs)))[:, None] * fan_in + np.arange(len(inputs))).ravel()
            for block, (inputs, outputs) in enumerate(zip(pattern.inputs, pattern.outputs, strict=True))
        ]
        tensors["slots"] = torch.from_numpy(np.concatenate(slots))
    return tensors


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pattern: SparsePattern,
    *,
    gathered: Tensor,
    order: Tensor,
    slots: Tensor | None = None,
) -> Tensor:
    """x (..., in_features) -> (..., out_features)."""
    fan_in, height = _sizes(pattern)
    b = len(pattern.blocks)
    rows = x.reshape(-1, pattern.in_features)
    tiles = rows.index_select(1, gathered).view(len(rows), b, fan_in).transpose(0, 1)
    products = torch.bmm(tiles, _filled(weight, slots, b * height * fan_in).view(b, height, fan_in).transpose(1, 2))
    out = products.transpose(0, 1).reshape(len(rows), b * height).index_select(1, order)
    if bias is not None:
        out = out + bias
    return out.view(*x.shape[:-1], pattern.out_features)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pattern: SparsePattern,
    *,
    gathered: Tensor,
    order: Tensor,
    slots: Tensor | None = None,
    stride: tuple[int, int],
    padding: tuple[int, int] | str,
    dilation: tuple[int, int],
) -> Tensor:
    """x (N, in_features, H, W) -> (N, out_features, H', W')."""
    fan_in, height = _sizes(pattern)
    b = len(pattern.blocks)
    filled = _filled(weight, slots, b * height * fan_in).view(b * height, fan_in, *weight.shape[1:])
    out = F.conv2d(x.index_select(1, gathered), filled, None, stride, padding, dilation, groups=b)
    out = out.index_select(1, order)
    return out if bias is None else out + bias[:, None, None]


def _sizes(pattern: SparsePattern) -> tuple[int, int]:
    return max(map(len, pattern.inputs)), max(map(len, pattern.outputs))


def _filled(weight: Tensor, slots: Tensor | None, size: int) -> Tensor:
    if slots is None:
        return weight
    return weight.new_zeros(size, *weight.shape[1:]).index_copy(0, slots, weight)
