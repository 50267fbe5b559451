"""What will be done to each layer, decided before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import bibdlib
from iddl_prune.assign import fit as fit_pattern
from iddl_prune.choice import check_choice, choose
from iddl_prune.errors import InvalidArgument
from iddl_prune.importance import calibration_inputs, input_power, worth
from iddl_prune.mode import in_eval_mode
from iddl_prune.pattern import SparsePattern

__all__ = ["DESIGNS", "FORMAT", "LayerPlan", "Plan", "plan"]

FORMAT = 1
DESIGNS = ("bibd", "random")

# Keeps the seeds of the random patterns of two plans apart.
_LAYERS_AT_MOST = 1 << 16

Filter = Callable[[str, nn.Module], bool | None]


@dataclass(frozen=True)
class LayerPlan:
    """One layer: its shape, its design, the edge of its tiles, the places of its channels.

    Attributes
    ----------
    seed
        None for the design itself; the seed of the draw for a random pattern of the same degrees.
    in_order, out_order
        Channel i plays the part of channel in_order[i] of the pattern as it falls; empty if it stays as it falls.
    worth
        Shares of the layer's worth kept: by this pattern, by the pattern as it falls, by as many weights chosen
        freely; None if nothing was fitted.
    """

    kind: str
    in_features: int
    out_features: int
    taps: tuple[int, ...]
    v: int
    k: int
    lam: int
    edge: int
    reason: str
    seed: int | None = None
    in_order: tuple[int, ...] = ()
    out_order: tuple[int, ...] = ()
    worth: tuple[float, float, float] | None = None

    @property
    def parameters(self) -> bibdlib.Parameters:
        """Parameters of the design."""
        return bibdlib.Parameters(self.v, self.k, self.lam)

    def pattern(self) -> SparsePattern:
        """The pattern, built anew: the design spread over the layer, or its random control, its channels in order."""
        design = bibdlib.construct(self.v, self.k, self.lam)
        pattern = SparsePattern.from_design(self.in_features, self.out_features, design, edge=self.edge)
        if self.seed is not None:
            pattern = pattern.random(self.seed)
        return pattern.permuted(self.in_order, self.out_order) if self.in_order else pattern

    def fitted(self, worth: npt.NDArray[np.float64], starts: int, seed: int) -> LayerPlan:
        """The same with the channels in the places that keep most worth, shape (out_features, in_features)."""
        found = fit_pattern(worth, self.pattern(), starts=starts, seed=seed)
        return replace(
            self,
            in_order=tuple(found.in_order.tolist()),
            out_order=tuple(found.out_order.tolist()),
            worth=(found.kept, found.unfitted, found.ceiling),
        )

    @property
    def weights_before(self) -> int:
        """Weights of the dense layer, bias not counted."""
        return self.in_features * self.out_features * prod(self.taps)


@dataclass(frozen=True)
class Plan:
    """A decision for every Linear and Conv2d of a model: converted (`layers`), or left dense (`skipped`: why)."""

    design: str
    density: float
    layers: dict[str, LayerPlan]
    skipped: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the version of its form."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """The plan that `to_dict` wrote.

        Raises
        ------
        InvalidArgument
            If it is of a newer form, or incomplete.
        """
        if not isinstance(data.get("format"), int) or data["format"] > FORMAT:
            raise InvalidArgument(f"A plan must have format {FORMAT} or older, not {data.get('format')!r}.")
        try:
            layers = {name: LayerPlan(**_with_tuples(layer)) for name, layer in data["layers"].items()}
            return cls(data["design"], data["density"], layers, dict(data["skipped"]))
        except (KeyError, TypeError) as error:
            raise InvalidArgument(f"A plan must hold every field of its layers: {error}.") from error

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The table: a header, a row a layer, the layers left dense with their reasons."""
        yield "layer", "kind", "channels", "design", "edge", "kept", "worth kept", "why"
        for name, layer in self.layers.items():
            design = str(layer.parameters) if layer.seed is None else f"random like {layer.parameters}"
            channels = f"{layer.in_features} -> {layer.out_features}"
            worth = "" if layer.worth is None else "{:.0%} (as it falls {:.0%}, free {:.0%})".format(*layer.worth)
            yield name, layer.kind, channels, design, str(layer.edge), f"{layer.k / layer.v:.1%}", worth, layer.reason
        for name, reason in self.skipped.items():
            yield name, "", "", "dense", "", "100%", "", reason

    def __str__(self) -> str:
        rows = list(self.rows())
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def plan(
    model: nn.Module,
    example_inputs: torch.Tensor | tuple[Any, ...],
    *,
    density: float,
    design: str = "bibd",
    edge: int | None = None,
    filter_fn: Filter | None = None,
    calibration: torch.Tensor | Iterable[Any] | None = None,
    fit: bool = True,
    starts: int = 2,
    seed: int = 0,
) -> Plan:
    """Decide what becomes of each Linear and Conv2d; the model is read and run once, not changed.

    Parameters
    ----------
    model
        Any module; its layers are met in the order in which `example_inputs` reach them.
    example_inputs
        A batch, or a tuple of the model's positional arguments.
    density
        Share of the weights that each converted layer keeps, between 0 and 1; the design comes near it.
    design
        "bibd", or "random" for patterns of the same degrees drawn at random.
    edge
        Edge of the tiles in channels; None takes the largest that leaves a design of this density.
    filter_fn
        Called with name and module: True converts a layer that the rules would leave dense, False leaves it
        dense, None leaves it to the rules.
    calibration
        A batch, or an iterable of inputs or (inputs, labels): a weight is then worth its square times the mean
        square of its input; without, its square.
    fit, starts
        Whether channels are given the places that keep most worth, and from how many starts these are searched;
        without, the pattern is laid over the layer as it falls.
    seed
        Seed of the random patterns and of the search.

    Raises
    ------
    InvalidArgument
        If an argument breaks its rule.
    """
    if design not in DESIGNS:
        raise InvalidArgument(f"Argument 'design' must be one of {', '.join(DESIGNS)}, not {design!r}.")
    check_choice(density, edge)
    reached = _order_of_calls(model, example_inputs)
    rules = _Rules(model, reached)
    layers: dict[str, LayerPlan] = {}
    power = {} if calibration is None or not fit else _power(model, calibration)
    skipped: dict[str, str] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        wish = filter_fn(name, module) if filter_fn else None
        reason = rules.impossible(name, module)
        if reason is None and wish is not True:
            reason = "left dense by the filter" if wish is False else rules.unwise(module)
        if reason is not None:
            skipped[name] = reason
        elif (layer := _layer_plan(module, density, edge)) is not None:
            if design == "random":
                layer = replace(layer, seed=seed * _LAYERS_AT_MOST + len(layers))
            layers[name] = layer.fitted(worth(module, power.get(name)), starts, seed) if fit else layer
        else:
            skipped[name] = "too narrow for a design of this density"
    return Plan(design, density, layers, skipped)


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


def _layer_plan(module: nn.Linear | nn.Conv2d, density: float, edge: int | None) -> LayerPlan | None:
    out_features, in_features, *taps = module.weight.shape
    choice = choose(in_features, out_features, density, edge)
    if choice is None:
        return None
    p = choice.parameters
    return LayerPlan(
        type(module).__name__, in_features, out_features, tuple(taps), p.v, p.k, p.lam, choice.edge, choice.reason
    )


def _power(model: nn.Module, calibration: torch.Tensor | Iterable[Any]) -> dict[str, torch.Tensor]:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return input_power(model, names, calibration_inputs(calibration))


def _with_tuples(data: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def _order_of_calls(model: nn.Module, example_inputs: torch.Tensor | tuple[Any, ...]) -> list[nn.Module]:
    """The modules that the inputs reach, in the order of their first call; the model's state stays as it was."""
    called: dict[nn.Module, None] = {}
    hooks = [
        module.register_forward_pre_hook(lambda module, _: called.setdefault(module))
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    try:
        with in_eval_mode(model), torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return list(called)
