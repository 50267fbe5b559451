"""The reference: the kept weights put back into a dense matrix, and torch's own dense product."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iddl_prune.pattern import SparsePattern

__all__ = ["buffers", "conv2d", "dense_weight", "linear"]


def buffers(pattern: SparsePattern) -> dict[str, Tensor]:
    """The place of each kept pair in the flattened matrix."""
    return {"positions": torch.from_numpy(pattern.positions)}


def dense_weight(weight: Tensor, positions: Tensor, out_features: int, in_features: int) -> Tensor:
    """The masked dense weight (out_features, in_features, ...) of kept weights (kept, ...)."""
    dense = weight.new_zeros(out_features * in_features, *weight.shape[1:])
    return dense.index_copy(0, positions, weight).view(out_features, in_features, *weight.shape[1:])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, pattern: SparsePattern, *, positions: Tensor) -> Tensor:
    """x (..., in_features) -> (..., out_features)."""
    return F.linear(x, dense_weight(weight, positions, pattern.out_features, pattern.in_features), bias)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pattern: SparsePattern,
    *,
    positions: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int] | str,
    dilation: tuple[int, int],
) -> Tensor:
    """x (N, in_features, H, W) -> (N, out_features, H', W')."""
    dense = dense_weight(weight, positions, pattern.out_features, pattern.in_features)
    return F.conv2d(x, dense, bias, stride, padding, dilation)
