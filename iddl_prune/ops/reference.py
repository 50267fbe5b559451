"""The reference: the kept weights put back into a dense matrix, and torch's own dense product."""

from __future__ import annotations

from collections.abc import Sequence

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
    "dense_weight",
    "linear",
    "linear_grad_input",
    "linear_grad_weight",
]

COMPOSITE = True
AUTOGRAD = True


def available(device_type: str, dtype: torch.dtype) -> bool:
    """Everywhere."""
    return True


def buffers(pattern: SparsePattern) -> dict[str, Tensor]:
    """The place of each kept pair in the flattened matrix."""
    return {"positions": torch.from_numpy(pattern.positions)}


def dense_weight(weight: Tensor, positions: Tensor, out_features: int, in_features: int) -> Tensor:
    """The masked dense weight (out_features, in_features, ...) of kept weights (kept, ...)."""
    dense = weight.new_zeros(out_features * in_features, *weight.shape[1:])
    return dense.index_copy(0, positions, weight).view(out_features, in_features, *weight.shape[1:])


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, indices: Sequence[Tensor], out_features: int, relu: bool
) -> Tensor:
    """x (n, in_features) -> (n, out_features)."""
    out = F.linear(x, dense_weight(weight, indices[0], out_features, x.shape[1]), bias)
    return out.relu() if relu else out


def linear_grad_input(grad: Tensor, weight: Tensor, indices: Sequence[Tensor], in_features: int) -> Tensor:
    """grad (n, out_features) -> (n, in_features)."""
    return grad @ dense_weight(weight, indices[0], grad.shape[1], in_features)


def linear_grad_weight(grad: Tensor, x: Tensor, indices: Sequence[Tensor], kept: int) -> Tensor:
    """grad (n, out_features), x (n, in_features) -> (kept,)."""
    return (grad.t() @ x).flatten().index_select(0, indices[0])


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
    out = F.conv2d(x, dense_weight(weight, indices[0], out_features, x.shape[1]), bias, *geometry)
    out = out if residual is None else out + residual
    return out.relu() if relu else out


def conv2d_grad_input(
    grad: Tensor, weight: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W') -> `shape`, (N, in_features, H, W)."""
    dense = dense_weight(weight, indices[0], grad.shape[1], shape[1])
    return conv2d_input(shape, dense, grad, *geometry)


def conv2d_grad_weight(
    grad: Tensor, x: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W'), x (N, in_features, H, W) -> `shape`, (kept, kh, kw)."""
    dense = conv2d_weight(x, [grad.shape[1], x.shape[1], *shape[1:]], grad, *geometry)
    return dense.flatten(0, 1).index_select(0, indices[0])
