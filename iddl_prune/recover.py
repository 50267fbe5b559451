"""Repair before any training: kept weights re-solved by least squares, batch normalisation renewed.

Both happen in one forward pass of the sparse model over all calibration inputs: when a layer is reached, what
reaches it is known, and what it should answer was noted in the dense model; it is solved, and the pass goes on
with the new weights. So each layer makes up for what the layers before it lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from iddl_prune.convert import pattern_layers
from iddl_prune.errors import InvalidArgument
from iddl_prune.layers import PatternLayer
from iddl_prune.least_squares import LeastSquares, rows_of
from iddl_prune.trail import Trail

__all__ = ["renew_norms_", "repair_"]

_ROUNDS = 2
_PART = 128


@torch.no_grad()
def repair_(
    model: nn.Module,
    dense: nn.Module,
    inputs: Tensor,
    *,
    ridge: float = 1e-3,
    rows: int = 32768,
    seed: int = 0,
) -> None:
    """Re-solve, in place, the weights of a sparse model for the answers of the dense one.

    A layer is solved for what it is to be after its batch normalisation, whose weight and bias are solved with it. The
    weights of an output keep the length they had, which the normalisation makes good: a solution is several times as
    long, and training would turn it so much less (T. van Laarhoven, L2 regularization versus batch and weight
    normalization, arXiv:1706.05350).
    Where a ReLU follows, only what passes it counts (X. Zhang, J. Zou, K. He, J. Sun, Accelerating very deep
    convolutional networks for classification and detection, IEEE TPAMI 38 (2016) 1943-1955). Where the answer is
    added to another tensor, as at the end of a residual branch, the sum is what is to be reached, so the layer makes
    up for the loss of that tensor too (Y. He, X. Zhang, J. Sun, Channel pruning for accelerating very deep neural
    networks, ICCV 2017).

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
    try:
        twins = {name: dense.get_submodule(name) for name in layers}
    except AttributeError as error:
        raise InvalidArgument(f"Argument 'dense' must have every layer of the sparse model: {error}.") from error
    notes = _Notes(dense, twins, layers, rows, seed)
    notes.follow(inputs)
    _Repair(model, layers, notes.targets, ridge).follow(inputs)


def renew_norms_(model: nn.Module, inputs: Tensor) -> None:
    """Take the statistics of every batch normalisation anew, in place, from one batch of calibration inputs."""
    _Repair(model, {}, {}, ridge=1.0).follow(inputs)


@dataclass
class _Target:
    """What is wanted of a layer at some rows: its answer, or that after its norm, or the sum this becomes a term of."""

    rows: Tensor
    wanted: Tensor
    norm: str | None = None
    summed: bool = False
    rectified: bool = False


class _Notes(Trail):
    """The run of the dense model: the targets are noted."""

    def __init__(
        self,
        dense: nn.Module,
        twins: Mapping[str, nn.Module],
        layers: Mapping[str, PatternLayer],
        rows: int,
        seed: int,
    ) -> None:
        super().__init__(dense, twins)
        self.sparse, self.rows, self.generator = layers, rows, torch.Generator().manual_seed(seed)
        self.norms = {module: name for name, module in dense.named_modules()}
        self.targets: dict[str, _Target] = {}

    def after_layer(self, name: str, answer: Tensor) -> None:
        count = answer.numel() // self.sparse[name].pattern.out_features
        chosen = torch.randperm(count, generator=self.generator)[: self.rows].to(answer.device)
        self.targets[name] = _Target(chosen, rows_of(self.sparse[name], answer, chosen))

    def after_norm(self, norm: _BatchNorm, answer: Tensor, name: str) -> None:
        target = self.targets[name]
        target.norm, target.wanted = self.norms[norm], rows_of(self.sparse[name], answer, target.rows)

    def before_sum(self, terms: dict[str, tuple[Tensor, Tensor]]) -> str:
        return max(terms, key=lambda name: self.sparse[name].weight.numel())

    def after_sum(self, name: str, result: Tensor) -> None:
        target = self.targets[name]
        target.summed, target.wanted = True, rows_of(self.sparse[name], result, target.rows)

    def at_relu(self, name: str) -> None:
        self.targets[name].rectified = True


class _Repair(Trail):
    """The run of the sparse model: a layer is solved when it is reached, or when what it is added to is known."""

    def __init__(
        self, model: nn.Module, layers: dict[str, PatternLayer], targets: dict[str, _Target], ridge: float
    ) -> None:
        super().__init__(model, layers)
        self.sparse, self.targets, self.ridge = layers, targets, ridge
        self.waiting: dict[str, Tensor] = {}
        self.settings: dict[str, tuple[Tensor, Tensor]] = {}

    def before_layer(self, name: str, x: Tensor) -> None:
        if self.targets[name].summed:
            self.waiting[name] = x
        else:
            self._solve_(name, x, None)

    def before_norm(self, norm: _BatchNorm, x: Tensor, name: str | None) -> None:
        if name not in self.waiting:
            _renew_(norm, x)
            if name in self.settings:
                _set_affine_(norm, *self.settings.pop(name))

    def before_sum(self, terms: dict[str, tuple[Tensor, Tensor]]) -> None:
        for name in terms.keys() & self.waiting.keys():
            answer, other = terms[name]
            x = self.waiting.pop(name)
            self._solve_(name, x, other)
            _answer_again_(answer, self.sparse[name], x)
            if (norm := self._norm(name)) is not None:
                self.before_norm(norm, answer, name)
                _answer_again_(answer, norm, answer)

    def _norm(self, name: str) -> _BatchNorm | None:
        norm = self.targets[name].norm
        return None if norm is None else self.model.get_submodule(norm)  # type: ignore[return-value]

    def _solve_(self, name: str, x: Tensor, other: Tensor | None) -> None:
        layer, target, norm = self.sparse[name], self.targets[name], self._norm(name)
        scale = layer.weight.new_ones(layer.pattern.out_features, dtype=torch.float32) if norm is None else _scale(norm)
        equations = LeastSquares(
            layer, x, target.rows, scale=scale, ridge=self.ridge, offset=norm is not None or layer.bias is not None
        )
        beside = 0.0 if other is None else rows_of(layer, other, target.rows).float()
        weight, constant = equations.rectified(target.wanted.float(), beside, _ROUNDS if target.rectified else 0)
        if norm is not None:
            scale = scale.sign() * _lengths(weight) / _lengths(layer.dense_weight().flatten(1).float())
        positions = torch.from_numpy(layer.pattern.positions).to(weight.device)
        layer.weight.copy_((weight / scale[:, None]).view(-1, *layer.weight.shape[1:])[positions])
        if norm is not None:
            self.settings[name] = scale, constant if layer.bias is None else constant - scale * layer.bias
        elif layer.bias is not None:
            layer.bias.copy_(constant)


def _answer_again_(answer: Tensor, module: nn.Module, x: Tensor) -> None:
    """Write what the module answers now, some inputs at a time: all at once would need room for one more of each."""
    for into, part in zip(answer.split(_PART), x.split(_PART), strict=True):
        into.copy_(module.forward(part))


def _scale(norm: _BatchNorm) -> Tensor:
    """What each channel is multiplied with; 1 in place of 0, whose channel is constant anyway."""
    assert norm.running_var is not None
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).float()
    return torch.where(scale == 0, torch.ones_like(scale), scale)


def _lengths(rows: Tensor) -> Tensor:
    """Length of each row; 1 in place of 0."""
    lengths = rows.norm(dim=1)
    return torch.where(lengths == 0, torch.ones_like(lengths), lengths)


def _renew_(norm: _BatchNorm, x: Tensor) -> None:
    axes = [axis for axis in range(x.ndim) if axis != 1]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(x, axes)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _set_affine_(norm: _BatchNorm, scale: Tensor, constant: Tensor) -> None:
    """Have the norm, its statistics renewed, answer scale * x + constant."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.weight.copy_(scale * (norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(scale * norm.running_mean + constant)
