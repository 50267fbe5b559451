"""What a model is made of: its Linear and Conv2d layers, what each costs, and which may be converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from iddl_prune.mode import in_eval_mode

__all__ = ["Filter", "Surveyed", "survey"]

Filter = Callable[[str, nn.Module], bool | None]


@dataclass(frozen=True)
class Surveyed:
    """A layer of a model.

    Attributes
    ----------
    taps
        Kernel of a convolution, () of a linear layer.
    places
        How often each weight is used for one input: output pixels of a convolution, tokens of a linear layer.
    reason
        Why it stays dense; None if it may be converted.
    """

    kind: str
    in_features: int
    out_features: int
    taps: tuple[int, ...]
    places: int
    reason: str | None

    @property
    def weights(self) -> int:
        """Weights, bias not counted."""
        return self.in_features * self.out_features * prod(self.taps)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one input's forward pass."""
        return self.weights * self.places


def survey(
    model: nn.Module, example_inputs: Tensor | tuple[Any, ...], filter_fn: Filter | None = None
) -> dict[str, Surveyed]:
    """Every Linear and Conv2d by name; the model is run once in eval mode, and stays as it was.

    The first convolution, the last linear layer and layers that the inputs do not reach stay dense, unless
    `filter_fn(name, module)` returns True; where it returns False, a layer stays dense.
    """
    places = _places(model, example_inputs if isinstance(example_inputs, tuple) else (example_inputs,))
    rules = _Rules(model, list(places))
    found: dict[str, Surveyed] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        wish = filter_fn(name, module) if filter_fn else None
        reason = rules.impossible(name, module)
        if reason is None and wish is not True:
            reason = "left dense by the filter" if wish is False else rules.unwise(module)
        out_features, in_features, *taps = module.weight.shape
        found[name] = Surveyed(
            type(module).__name__, in_features, out_features, tuple(taps), places.get(module, 0), reason
        )
    return found


class _Rules:
    """Which layers cannot be converted, and which had better not be."""

    def __init__(self, model: nn.Module, reached: list[nn.Module]) -> None:
        convolutions = [module for module in reached if isinstance(module, nn.Conv2d)]
        linears = [module for module in reached if isinstance(module, nn.Linear)]
        self.reached = reached
        self.first = convolutions[0] if convolutions else None
        self.last = linears[-1] if linears else None
        owners: dict[int, int] = {}
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                owners[id(parameter)] = owners.get(id(parameter), 0) + 1
        self.owners = owners

    def impossible(self, name: str, module: nn.Linear | nn.Conv2d) -> str | None:
        if not name:
            return "the model itself, which cannot be replaced in place; wrap it in nn.Sequential"
        if type(module) not in (nn.Linear, nn.Conv2d):
            return f"{type(module).__name__} is more than a plain layer"
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            return f"depthwise or grouped convolution ({module.groups} groups)"
        if self.owners[id(module.weight)] > 1:
            return "shares its weight with another layer"
        return None

    def unwise(self, module: nn.Linear | nn.Conv2d) -> str | None:
        if module is self.first:
            return "first convolution"
        if module is self.last:
            return "classifier"
        if not any(module is other for other in self.reached):
            return "not reached by the example inputs"
        return None


def _places(model: nn.Module, inputs: tuple[Any, ...]) -> dict[nn.Module, int]:
    """How often each layer uses its weights for one input; the layers in the order of their first call."""
    places: dict[nn.Module, int] = {}
    batch = next((len(x) for x in inputs if isinstance(x, Tensor) and x.ndim > 1), 1)

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        channels = module.out_channels if isinstance(module, nn.Conv2d) else out.shape[-1]
        places[module] = places.get(module, 0) + out.numel() // (batch * channels)

    hooks = [
        module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    try:
        with in_eval_mode(model), torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return places
