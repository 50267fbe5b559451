"""What will be done to each layer, decided before anything is changed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from iddl_prune.allocation import BUDGETS, Override, allocate, check_allocation, overrides_by_layer
from iddl_prune.choice import check_choice
from iddl_prune.dependency import Moves, channel_groups, moves_of
from iddl_prune.errors import InvalidArgument
from iddl_prune.group_fit import fit_groups
from iddl_prune.importance import Importance, check_importance, worths
from iddl_prune.layer_plan import LayerPlan
from iddl_prune.survey import Filter, survey

__all__ = ["DESIGNS", "FORMAT", "PERMUTATIONS", "LayerPlan", "Plan", "check_permutation", "plan"]

# In 1, each copy of a design had an order of its own for its blocks.
FORMAT = 2
DESIGNS = ("bibd", "random")
PERMUTATIONS = ("free", "groups")

_ALL = "all layers"

# Keeps the seeds of the random patterns of two plans apart.
_LAYERS_AT_MOST = 1 << 16


@dataclass(frozen=True)
class Plan:
    """A decision for every Linear and Conv2d of a model: converted (`layers`), or left dense (`skipped`: why).

    Attributes
    ----------
    budget, allocation
        What `density` counts, and how it was shared out, as in `iddl_prune.allocation.allocate`.
    allotted
        The density that each layer was to have, 1 for one that was given all its weights; layers that cannot be
        converted, or are too narrow, are not there.
    costs
        Weights and multiply-adds of every layer when dense.
    moves
        By module and side ("in" or "out"), the new place of each channel, where groups of channels have one order.
    seconds
        Time that the fit took (wall clock), by layer; where groups of channels have one order, that of "all layers".
        Plans that differ in nothing else are equal.
    """

    design: str
    density: float
    layers: dict[str, LayerPlan]
    skipped: dict[str, str]
    budget: str = "weights"
    allocation: str = "uniform"
    allotted: dict[str, float] = field(default_factory=dict)
    costs: dict[str, tuple[int, int]] = field(default_factory=dict)
    moves: Moves = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    def kept(self, name: str) -> tuple[int, int]:
        """Weights and multiply-adds of a layer as planned, dense or not."""
        layer = self.layers.get(name)
        return self.costs[name] if layer is None else (layer.weights, layer.multiply_adds)

    def reached(self, budget: str | None = None) -> float:
        """Share of weights or multiply-adds that the layers among which they were shared out keep together.

        Raises
        ------
        InvalidArgument
            If the budget is neither "weights" nor "flops".
        """
        check_allocation(budget or self.budget, self.allocation)
        unit = BUDGETS.index(budget or self.budget)
        before = sum(self.costs[name][unit] for name in self.allotted)
        return sum(self.kept(name)[unit] for name in self.allotted) / before if before else 1.0

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
            told = {name: value for name, value in data.items() if name != "format"}
            told["layers"] = {
                name: LayerPlan.from_dict(layer, data["format"]) for name, layer in data["layers"].items()
            }
            told["moves"] = {name: _with_tuples(sides) for name, sides in data.get("moves", {}).items()}
            told["costs"] = _with_tuples(data.get("costs", {}))
            return cls(**told)
        except (KeyError, TypeError) as error:
            raise InvalidArgument(f"A plan must hold every field of its layers: {error}.") from error

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The table: a header, a row a layer, the layers left dense with their reasons, the totals."""
        yield (
            "layer",
            "kind",
            "channels",
            "design",
            "edge",
            "kept",
            "weights",
            "multiply-adds",
            "worth kept",
            "fit",
            "why",
        )
        for name, layer in self.layers.items():
            channels = f"{layer.in_features} -> {layer.out_features}"
            worth = "" if layer.worth is None else _worth(*layer.worth, at_random=layer.density)
            cost = f"{layer.weights:,}", f"{layer.multiply_adds:,}"
            told = str(layer.edge), f"{layer.density:.1%}", *cost, worth, self._time(name), layer.reason
            yield name, layer.kind, channels, layer.design, *told
        for name, reason in self.skipped.items():
            cost = (f"{self.costs[name][0]:,}", f"{self.costs[name][1]:,}") if name in self.costs else ("", "")
            yield name, "", "", "dense", "", "100%", *cost, "", "", reason
        for title, names in (("shared out", self.allotted), (_ALL, self.costs)):
            if names:
                yield self._total(title, names)

    def _total(self, title: str, names: Collection[str]) -> tuple[str, ...]:
        before, kept = (np.sum([cost(name) for name in names], axis=0) for cost in (self.costs.__getitem__, self.kept))
        shares = f"{kept[0] / before[0]:.1%} of weights, {kept[1] / max(before[1], 1):.1%} of multiply-adds"
        if names is self.allotted:
            shares += f"; asked {self.density:.1%} of {self.budget}, {self.allocation}"
        cost = f"{kept[0] / before[0]:.1%}", f"{kept[0]:,}", f"{kept[1]:,}"
        worth, seconds = ("", "") if names is self.allotted else (self._mean_worth(), self._time(*self.seconds))
        return title, "", "", "", "", *cost, worth, seconds, shares

    def _mean_worth(self) -> str:
        """Of the layers that were fitted, each counted alike."""
        fitted = [(*layer.worth, layer.density) for layer in self.layers.values() if layer.worth is not None]
        if not fitted:
            return ""
        kept, as_it_falls, free, at_random = np.mean(fitted, axis=0)
        return "mean " + _worth(kept, as_it_falls, free, at_random=at_random)

    def _time(self, *names: str) -> str:
        taken = [self.seconds[name] for name in names if name in self.seconds]
        return f"{sum(taken):.1f} s" if taken else ""

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
    budget: str = "weights",
    allocation: str = "uniform",
    overrides: Mapping[str, float | Override] | None = None,
    filter_fn: Filter | None = None,
    calibration: torch.Tensor | Iterable[Any] | None = None,
    importance: Importance | None = None,
    fit: bool = True,
    permutation: str = "free",
    cells: bool = True,
    starts: int = 2,
    seed: int = 0,
) -> Plan:
    """Decide what becomes of each Linear and Conv2d; the model is read and run, not changed.

    Parameters
    ----------
    model
        Any module; its layers are met in the order in which `example_inputs` reach them.
    example_inputs
        A batch, or a tuple of the model's positional arguments.
    density
        Share of the budget that the converted layers keep together, between 0 and 1; the designs come near it.
    design
        "bibd", or "random" for patterns of the same degrees drawn at random.
    edge
        Edge of the tiles in channels; None takes the largest that leaves a design of this density.
    budget, allocation
        What is counted, "weights" or "flops", and how it is shared out: "uniform", "erk" or "sensitivity", as in
        `iddl_prune.allocation.allocate`.
    overrides
        By name or glob, the density of single layers (1 leaves them dense), or an `Override` of density and edge.
    filter_fn
        Called with name and module: True converts a layer that the rules would leave dense, False leaves it
        dense, None leaves it to the rules.
    calibration
        A batch, or an iterable of inputs or (inputs, labels), by which weights are valued.
    importance
        What a weight is worth: "magnitude", "activation", "taylor", "hessian" or a function, as in
        `iddl_prune.importance.worths`; None takes "activation" where there is calibration, else "magnitude".
    fit, starts
        Whether channels are given the places that keep most worth, and from how many starts these are searched;
        without, the pattern is laid over the layer as it falls.
    permutation
        "free": each layer gathers its channels in an order of its own. "groups": the channels of each dependency
        group are moved once, in the dense network, and tiles are contiguous.
    cells
        Whether a layer is filled with columns of points, on each a copy of its design or more with an order of points
        and blocks of its own, or spread over by one; groups of channels have one.
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
    check_allocation(budget, allocation)
    check_importance(importance)
    check_permutation(permutation)
    found = survey(model, example_inputs, filter_fn)
    able = {name: layer for name, layer in found.items() if layer.reason is None}
    valued = worths(model, able, importance, calibration) if fit or allocation == "sensitivity" else {}
    allotted = allocate(
        able,
        density,
        edge=edge,
        budget=budget,
        allocation=allocation,
        overrides=overrides_by_layer(overrides or {}, able),
        worth=valued,
        cells=cells and permutation == "free",
    )
    layers: dict[str, LayerPlan] = {}
    for name in [name for name in found if name in allotted.choices]:
        drawn = seed * _LAYERS_AT_MOST + len(layers) if design == "random" else None
        layers[name] = LayerPlan.of(found[name], allotted.choices[name], drawn)
    moves: Moves = {}
    seconds: dict[str, float] = {}
    if fit and permutation == "groups":
        with _timed(seconds, _ALL):
            layers, moves = _fitted_in_groups(model, example_inputs, layers, valued, starts, seed)
    elif fit:
        for name, layer in layers.items():
            with _timed(seconds, name):
                layers[name] = layer.fitted(valued[name], starts, seed)
    skipped = {name: layer.reason or allotted.refused[name] for name, layer in found.items() if name not in layers}
    costs = {name: (layer.weights, layer.multiply_adds) for name, layer in found.items()}
    return Plan(design, density, layers, skipped, budget, allocation, allotted.densities, costs, moves, seconds)


def check_permutation(permutation: str) -> None:
    """Raise InvalidArgument unless it is known."""
    if permutation not in PERMUTATIONS:
        raise InvalidArgument(f"Argument 'permutation' must be one of {', '.join(PERMUTATIONS)}, not {permutation!r}.")


def _fitted_in_groups(
    model: nn.Module,
    example_inputs: torch.Tensor | tuple[Any, ...],
    layers: dict[str, LayerPlan],
    valued: dict[str, npt.NDArray[np.float64]],
    starts: int,
    seed: int,
) -> tuple[dict[str, LayerPlan], Moves]:
    groups = channel_groups(model, example_inputs)
    patterns = {name: layer.pattern() for name, layer in layers.items()}
    orders, fits = fit_groups(valued, patterns, groups, starts=starts, seed=seed)
    return {name: layer.fitted_in_group(fits[name]) for name, layer in layers.items()}, moves_of(groups, orders, model)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _worth(kept: float, as_it_falls: float, free: float, *, at_random: float) -> str:
    """A random order of the channels keeps the density on average, whatever the weights."""
    return f"{kept:.0%} (as it falls {as_it_falls:.0%}, at random {at_random:.0%}, free {free:.0%})"


def _with_tuples(data: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
