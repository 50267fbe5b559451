"""Repair before any training: kept weights re-solved by least squares, batch normalisation renewed.

Both happen in one forward pass of the sparse model over all calibration inputs: when a layer is reached, what
reaches it is known, and what it should answer was noted in the dense model; it is solved, and the pass goes on
with the new weights. So each layer makes up for what the layers before it lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from iddl_prune.convert import pattern_layers
from iddl_prune.errors import InvalidArgument
from iddl_prune.layers import BIBDConv2d, BIBDLinear, PatternLayer
from iddl_prune.mode import in_eval_mode

__all__ = ["repair_"]


@dataclass(frozen=True)
class _Target:
    """What a layer should answer at some rows: a row is one input, or one place of one image."""

    rows: Tensor
    answers: Tensor


@torch.no_grad()
def repair_(
    model: nn.Module,
    dense: nn.Module,
    inputs: Tensor,
    *,
    ridge: float = 1e-3,
    rows: int = 8192,
    seed: int = 0,
) -> None:
    """Re-solve, in place, the weights of a sparse model for the answers of the dense one.

    Parameters
    ----------
    model
        What `prune_` made of a copy of `dense`.
    inputs
        Calibration inputs, one batch; all its activations of one layer are in memory at a time.
    ridge
        Pull towards the weights as they are, relative to the mean square of the layer's inputs; more than 0.
    rows
        Equations a layer: drawn at random from all its places.

    Raises
    ------
    InvalidArgument
        If ridge or rows is not positive, or the dense model lacks a layer of the sparse one.
    """
    if not ridge > 0:
        raise InvalidArgument(f"Argument 'ridge' must be positive, not {ridge}.")
    if rows < 1:
        raise InvalidArgument(f"Argument 'rows' must be at least 1, not {rows}.")
    layers = pattern_layers(model)
    targets = _targets(dense, layers, inputs, rows, torch.Generator().manual_seed(seed))

    def solve(name: str) -> Callable[..., None]:
        def hook(layer: PatternLayer, arguments: tuple[Tensor, ...]) -> None:
            if name in targets:
                _solve_(layer, arguments[0], targets.pop(name), ridge)

        return hook

    hooks = [layer.register_forward_pre_hook(solve(name)) for name, layer in layers.items()]
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    hooks += [norm.register_forward_pre_hook(_renew_) for norm in norms]
    try:
        with in_eval_mode(model):
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()


def _targets(
    dense: nn.Module, layers: dict[str, PatternLayer], inputs: Tensor, rows: int, generator: torch.Generator
) -> dict[str, _Target]:
    targets: dict[str, _Target] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, out: Tensor) -> None:
            if name not in targets:
                answers = out.movedim(-3, -1) if isinstance(layers[name], BIBDConv2d) else out
                answers = answers.flatten(0, -2)
                chosen = torch.randperm(len(answers), generator=generator)[:rows].to(out.device)
                targets[name] = _Target(chosen, answers[chosen])

        return hook

    try:
        hooks = [dense.get_submodule(name).register_forward_hook(note(name)) for name in layers]
    except AttributeError as error:
        raise InvalidArgument(f"Argument 'dense' must have every layer of the sparse model: {error}.") from error
    try:
        with in_eval_mode(dense):
            dense(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return targets


def _solve_(layer: PatternLayer, x: Tensor, target: _Target, ridge: float) -> None:
    """Least squares, a block of the design at a time: its outputs read the same inputs."""
    seen = _rows(layer, x, target.rows).to(torch.float32)
    wanted = target.answers.to(torch.float32)
    means = (seen.mean(0), wanted.mean(0)) if layer.bias is not None else None
    if means is not None:
        seen, wanted = seen - means[0], wanted - means[1]
    taps = layer.weight.shape[1:].numel()
    dense = layer.dense_weight().reshape(layer.pattern.out_features, layer.pattern.in_features, taps)
    for inputs, outputs in zip(layer.pattern.inputs, layer.pattern.outputs, strict=True):
        read = torch.as_tensor(inputs, device=x.device)
        give = torch.as_tensor(outputs, device=x.device)
        a = seen[:, read].flatten(1)
        before = dense[give][:, read].flatten(1).T.float()
        gram = a.T @ a
        pull = ridge * gram.diagonal().mean().clamp_min(torch.finfo(torch.float32).tiny)
        gram.diagonal().add_(pull)
        after = torch.cholesky_solve(a.T @ wanted[:, give] + pull * before, torch.linalg.cholesky(gram))
        dense[give[:, None], read] = after.T.reshape(len(give), len(read), taps).to(dense.dtype)
    positions = torch.from_numpy(layer.pattern.positions).to(x.device)
    layer.weight.copy_(dense.flatten(0, 1)[positions].view_as(layer.weight))
    if means is not None and layer.bias is not None:
        layer.bias.copy_(means[1] - dense.flatten(1).float() @ means[0].flatten())


def _rows(layer: PatternLayer, x: Tensor, rows: Tensor) -> Tensor:
    """What the layer reads at some rows, shape (rows, in, taps)."""
    if isinstance(layer, BIBDLinear):
        return x.flatten(0, -2)[rows][..., None]
    assert isinstance(layer, BIBDConv2d)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(x if x.ndim == 4 else x[None], layer.wrapped_padding, mode=mode).movedim(1, -1)
    (height, width), (down, right) = layer.kernel_size, layer.stride
    reach = [(size - 1) * step + 1 for size, step in zip(layer.kernel_size, layer.dilation, strict=True)]
    per_row = (padded.shape[2] - reach[1]) // right + 1
    per_image = ((padded.shape[1] - reach[0]) // down + 1) * per_row
    image, place = rows // per_image, rows % per_image
    top, left = place // per_row * down, place % per_row * right
    taps = [
        padded[image, top + i * layer.dilation[0], left + j * layer.dilation[1]]
        for i in range(height)
        for j in range(width)
    ]
    return torch.stack(taps, dim=-1)


def _renew_(norm: _BatchNorm, arguments: tuple[Tensor, ...]) -> None:
    x = arguments[0]
    axes = [axis for axis in range(x.ndim) if axis != 1]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(x.mean(axes))
    norm.running_var.copy_(x.var(axes))
