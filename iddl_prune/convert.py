"""Put a plan into effect: dense layers out, pattern layers in, nothing decided here."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from iddl_prune.dependency import permute_
from iddl_prune.errors import InvalidArgument
from iddl_prune.layers import BIBDConv2d, BIBDLinear, PatternLayer
from iddl_prune.pattern import SparsePattern
from iddl_prune.plan import LayerPlan, Plan

__all__ = ["connect_", "pattern_layers", "prune_", "replaced", "to_dense"]

Model = TypeVar("Model", bound=nn.Module)


def prune_(model: Model, plan: Plan) -> Model:
    """Replace, in place, each layer of the plan by one that keeps the weights of its pattern.

    Channels first take the places that the plan gives them. The plan becomes the model's attribute `plan`. Every new
    layer is made before the first one is put in, so a plan that does not fit changes nothing.

    Raises
    ------
    InvalidArgument
        If the model lacks a layer of the plan, or has it in another shape.
    """
    for name, layer in plan.layers.items():
        _check(model, name, layer)
    permute_(model, plan.moves)
    connect_(model, {name: layer.pattern() for name, layer in plan.layers.items()})
    model.plan = plan  # type: ignore[assignment]
    return model


def connect_(model: Model, patterns: Mapping[str, SparsePattern]) -> Model:
    """Replace, in place, each named Linear or Conv2d by the layer that keeps the weights of its pattern.

    Every new layer is made before the first one is put in, so patterns that do not fit change nothing.

    Raises
    ------
    InvalidArgument
        If a layer is neither, or has other widths than its pattern.
    """
    sparse = {name: _sparse(model.get_submodule(name), pattern) for name, pattern in patterns.items()}
    for name, module in sparse.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, module)
    return model


def pattern_layers(model: nn.Module) -> dict[str, PatternLayer]:
    """The sparse layers of a model by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, PatternLayer)}


def to_dense(model: Model) -> Model:
    """A copy of a model whose sparse layers are ordinary torch layers of equal outputs."""
    return replaced(model, lambda layer: layer.to_dense())


def replaced(model: Model, replacement: Callable[[BIBDLinear | BIBDConv2d], nn.Module]) -> Model:
    """A copy of a model with something else in the place of each sparse layer."""
    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in pattern_layers(holder).items():
        parent, _, attribute = name.rpartition(".")
        setattr(holder.get_submodule(parent), attribute, replacement(layer))  # type: ignore[arg-type]
    return holder["model"]  # type: ignore[return-value]


def _check(model: nn.Module, name: str, layer: LayerPlan) -> None:
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise InvalidArgument(f"Argument 'plan' names a layer {name!r} that the model does not have.") from error
    shape = (layer.out_features, layer.in_features, *layer.taps)
    found = type(module).__name__, tuple(getattr(module, "weight", nn.Parameter()).shape)
    if found != (layer.kind, shape):
        raise InvalidArgument(
            f"Argument 'plan' expects {name!r} to be a {layer.kind} {shape}, not {found[0]} {found[1]}."
        )


def _sparse(module: nn.Module, pattern: SparsePattern) -> PatternLayer:
    if isinstance(module, nn.Conv2d):
        return BIBDConv2d.from_dense(module, pattern)
    if isinstance(module, nn.Linear):
        return BIBDLinear.from_dense(module, pattern)
    raise InvalidArgument(f"Argument 'patterns' must name Linear and Conv2d layers, not a {type(module).__name__}.")
