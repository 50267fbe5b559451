"""Where the answer of a layer goes: through a batch normalisation, into a sum, through a ReLU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from iddl_prune.mode import in_eval_mode

__all__ = ["Trail"]

_SUMS = (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor)
_RELUS = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)


class Trail(TorchDispatchMode):
    """One run of a model that tells, layer by layer, what is reached; whoever wants to know overrides the events.

    A trail begins at the first call of a layer. A sum is one of two different tensors of the same shape.

    Parameters
    ----------
    model
        Any module; it is run in eval mode, without gradients.
    layers
        Modules of the model whose answers are followed, by name.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model, self.layers = model, layers
        self._begun: set[str] = set()
        # Of which layer a tensor is the answer, and of which layer's sum it is the result.
        self._answers, self._sums = WeakTensorKeyDictionary(), WeakTensorKeyDictionary()

    def before_layer(self, name: str, x: Tensor) -> None:
        """The layer is about to be called for the first time."""

    def after_layer(self, name: str, answer: Tensor) -> None:
        """The layer has answered."""

    def before_norm(self, norm: _BatchNorm, x: Tensor, name: str | None) -> None:
        """A batch normalisation with statistics of its own is reached, by the answer of a layer if one is named."""

    def after_norm(self, norm: _BatchNorm, answer: Tensor, name: str) -> None:
        """The answer of a layer is normalised."""

    def before_sum(self, terms: dict[str, tuple[Tensor, Tensor]]) -> str | None:
        """Answers of layers, each with the other term, are about to be added; returns whose sum it shall be."""
        return None

    def after_sum(self, name: str, result: Tensor) -> None:
        """The sum of a layer is there."""

    def at_relu(self, name: str) -> None:
        """The answer of a layer, or its sum, is rectified."""

    @torch.no_grad()
    def follow(self, inputs: Tensor) -> None:
        """Run the model."""
        hooks = []
        for name, layer in self.layers.items():
            hooks.append(layer.register_forward_pre_hook(self._enter(name)))
            hooks.append(layer.register_forward_hook(self._leave(name)))
        for module in self.model.modules():
            if isinstance(module, _BatchNorm) and module.track_running_stats:
                hooks.append(module.register_forward_pre_hook(self._enter_norm))
                hooks.append(module.register_forward_hook(self._leave_norm))
        try:
            with in_eval_mode(self.model), self:
                self.model(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if name not in self._begun:
                self.before_layer(name, arguments[0])

        return hook

    def _leave(self, name: str) -> Any:
        def hook(_: nn.Module, __: Any, out: Tensor) -> None:
            if name not in self._begun:
                self._begun.add(name)
                self._answers[out] = name
                self.after_layer(name, out)

        return hook

    def _enter_norm(self, norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        self.before_norm(norm, arguments[0], self._answers.get(arguments[0]))

    def _leave_norm(self, norm: nn.Module, arguments: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(norm, _BatchNorm)
        name = self._answers.pop(arguments[0], None)
        if name is not None and norm.affine:
            self._answers[out] = name
            self.after_norm(norm, out, name)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _RELUS:
            name = self._answers.pop(args[0], None) or self._sums.pop(args[0], None)
            if name is not None:
                self.at_relu(name)
        if func not in _SUMS or kwargs or not _are_two_alike(*args):
            return func(*args, **kwargs)
        terms = {self._answers.pop(mine, None): (mine, other) for mine, other in (args, args[::-1])}
        terms.pop(None, None)
        name = self.before_sum(terms) if terms else None
        result = func(*args)
        if name is not None:
            self._sums[result] = name
            self.after_sum(name, result)
        return result


def _are_two_alike(one: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and one is not other and one.shape == other.shape
