"""The two products as operators of torch: `iddl::linear`, `iddl::conv2d` and their gradients.

Each takes tensors, integers and the name of a kernel only, so that compilers, exporters and copies see one opaque
call. A kernel never meets an empty batch, and the gradient of the ReLU and of the bias are taken here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from iddl_prune.ops.geometry import Geometry
from iddl_prune.ops.kernels import KERNELS

__all__ = ["conv2d", "linear"]


@torch.library.custom_op("iddl::linear", mutates_args=())
def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    indices: Sequence[Tensor],
    out_features: int,
    relu: bool,
    kernel: str,
) -> Tensor:
    """x (n, in_features), weight (kept,), bias (out_features,) -> (n, out_features)."""
    if not x.numel():
        return x.new_zeros(len(x), out_features)
    return KERNELS[kernel].linear(x, weight, bias, indices, out_features, relu).contiguous()


@linear.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    indices: Sequence[Tensor],
    out_features: int,
    relu: bool,
    kernel: str,
) -> Tensor:
    return x.new_empty(x.shape[0], out_features)


@torch.library.custom_op("iddl::linear_grad_input", mutates_args=())
def linear_grad_input(grad: Tensor, weight: Tensor, indices: Sequence[Tensor], in_features: int, kernel: str) -> Tensor:
    """grad (n, out_features), weight (kept,) -> (n, in_features)."""
    if not grad.numel():
        return grad.new_zeros(len(grad), in_features)
    return KERNELS[kernel].linear_grad_input(grad, weight, indices, in_features).contiguous()


@linear_grad_input.register_fake
def _(grad: Tensor, weight: Tensor, indices: Sequence[Tensor], in_features: int, kernel: str) -> Tensor:
    return grad.new_empty(grad.shape[0], in_features)


@torch.library.custom_op("iddl::linear_grad_weight", mutates_args=())
def linear_grad_weight(grad: Tensor, x: Tensor, indices: Sequence[Tensor], kept: int, kernel: str) -> Tensor:
    """grad (n, out_features), x (n, in_features) -> (kept,)."""
    if not grad.numel():
        return grad.new_zeros(kept)
    return KERNELS[kernel].linear_grad_weight(grad, x, indices, kept).contiguous()


@linear_grad_weight.register_fake
def _(grad: Tensor, x: Tensor, indices: Sequence[Tensor], kept: int, kernel: str) -> Tensor:
    return grad.new_empty(kept)


@torch.library.custom_op("iddl::conv2d", mutates_args=())
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    indices: Sequence[Tensor],
    out_features: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    relu: bool,
    kernel: str,
) -> Tensor:
    """x (N, in_features, H, W), weight (kept, kh, kw) -> (N, out_features, H', W').

    The bias, then the residual, is added, then the ReLU taken. The result is channels-last if x is.
    """
    geometry = Geometry.of(stride, padding, dilation)
    if not len(x):
        return _conv2d_like(x, weight, out_features, geometry)
    out = KERNELS[kernel].conv2d(x, weight, bias, residual, indices, out_features, geometry, relu)
    return out.contiguous(memory_format=_layout(x))


@conv2d.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    indices: Sequence[Tensor],
    out_features: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    relu: bool,
    kernel: str,
) -> Tensor:
    return _conv2d_like(x, weight, out_features, Geometry.of(stride, padding, dilation))


@torch.library.custom_op("iddl::conv2d_grad_input", mutates_args=())
def conv2d_grad_input(
    grad: Tensor,
    weight: Tensor,
    x: Tensor,
    indices: Sequence[Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    kernel: str,
) -> Tensor:
    """grad (N, out_features, H', W'), weight (kept, kh, kw) -> shape and layout of x."""
    if not grad.numel():
        return torch.zeros_like(x, memory_format=_layout(x))
    geometry = Geometry.of(stride, padding, dilation)
    out = KERNELS[kernel].conv2d_grad_input(grad, weight, indices, x.shape, geometry)
    return out.contiguous(memory_format=_layout(x))


@conv2d_grad_input.register_fake
def _(
    grad: Tensor,
    weight: Tensor,
    x: Tensor,
    indices: Sequence[Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    kernel: str,
) -> Tensor:
    return torch.empty_like(x, memory_format=_layout(x))


@torch.library.custom_op("iddl::conv2d_grad_weight", mutates_args=())
def conv2d_grad_weight(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    indices: Sequence[Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    kernel: str,
) -> Tensor:
    """grad (N, out_features, H', W'), x (N, in_features, H, W) -> shape of weight, (kept, kh, kw)."""
    if not grad.numel():
        return weight.new_zeros(weight.shape)
    geometry = Geometry.of(stride, padding, dilation)
    return KERNELS[kernel].conv2d_grad_weight(grad, x, indices, weight.shape, geometry).contiguous()


@conv2d_grad_weight.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    indices: Sequence[Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    kernel: str,
) -> Tensor:
    return weight.new_empty(weight.shape)


def _keep_linear(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, indices, _, relu, kernel = inputs
    ctx.kernel = kernel
    _keep(ctx, x, weight, indices, output if relu else None)


def _keep_conv2d(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, _, indices, _, stride, padding, dilation, relu, kernel = inputs
    ctx.how = stride, padding, dilation, kernel
    _keep(ctx, x, weight, indices, output if relu else None)


def _keep(ctx: Any, x: Tensor, weight: Tensor, indices: Sequence[Tensor], positive: Tensor | None) -> None:
    ctx.relu = positive is not None
    ctx.save_for_backward(x, weight, *([] if positive is None else [positive]), *indices)


def _kept(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """x, weight, indices, and the gradient before the ReLU."""
    x, weight, *rest = ctx.saved_tensors
    if ctx.relu:
        grad = grad * (rest.pop(0) > 0)
    return x, weight, rest, grad


def _linear_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight, indices, grad = _kept(ctx, grad.contiguous())
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    return (
        linear_grad_input(grad, weight, indices, x.shape[1], ctx.kernel) if wants_x else None,
        linear_grad_weight(grad, x, indices, weight.shape[0], ctx.kernel) if wants_weight else None,
        grad.sum(0) if wants_bias else None,
        [None] * len(indices),
        *[None] * 3,
    )


def _conv2d_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight, indices, grad = _kept(ctx, grad.contiguous(memory_format=_layout(grad)))
    wants_x, wants_weight, wants_bias, wants_residual = ctx.needs_input_grad[:4]
    return (
        conv2d_grad_input(grad, weight, x, indices, *ctx.how) if wants_x else None,
        conv2d_grad_weight(grad, x, weight, indices, *ctx.how) if wants_weight else None,
        grad.sum((0, 2, 3)) if wants_bias else None,
        grad if wants_residual else None,
        [None] * len(indices),
        *[None] * 6,
    )


linear.register_autograd(_linear_backward, setup_context=_keep_linear)
conv2d.register_autograd(_conv2d_backward, setup_context=_keep_conv2d)


def _conv2d_like(x: Tensor, weight: Tensor, out_features: int, geometry: Geometry) -> Tensor:
    taps = weight.shape[1], weight.shape[2]
    shape = x.shape[0], out_features, *geometry.output((x.shape[2], x.shape[3]), taps)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_layout(x))


def _layout(x: Tensor) -> torch.memory_format:
    last = torch.channels_last
    return last if x.is_contiguous(memory_format=last) and not x.is_contiguous() else torch.contiguous_format
