"""Where the kept weights go: the density of each layer, so that all layers together keep the share that is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import exp

import numpy as np
import numpy.typing as npt

from iddl_prune.choice import TOLERANCE, Choice, alternatives, check_choice, choose, nearest, refusal
from iddl_prune.errors import InvalidArgument
from iddl_prune.survey import Surveyed

__all__ = ["ALLOCATIONS", "BUDGETS", "Allotment", "Override", "allocate", "check_allocation", "overrides_by_layer"]

ALLOCATIONS = ("uniform", "erk", "sensitivity")
BUDGETS = ("weights", "flops")

# A layer that is to keep more than this keeps all: no design is between.
DENSE = 1 / (1 + TOLERANCE)

Layers = Mapping[str, Surveyed]
Worths = Mapping[str, npt.NDArray[np.float64]]

# A total this near to what is asked is as good as met: a design that can be laid in more ways is worth more.
_NEAR = 0.025

_SPARSE = 1e-6
_LOG_RANGE, _HALVINGS = 60.0, 80


@dataclass(frozen=True)
class Override:
    """What one layer is told instead of what all are; a density of 1 leaves it dense."""

    density: float | None = None
    edge: int | None = None

    @classmethod
    def parse(cls, text: str) -> Override:
        """What DENSITY, DENSITY:EDGE or :EDGE says.

        Raises
        ------
        InvalidArgument
            If it says none of the three.
        """
        density, _, edge = text.partition(":")
        try:
            return cls(float(density) if density else None, int(edge) if edge else None)
        except ValueError as error:
            raise InvalidArgument(f"An override must be DENSITY, DENSITY:EDGE or :EDGE, not {text!r}.") from error


@dataclass(frozen=True)
class Allotment:
    """What the layers were given: a design each, or the reason why one stays dense.

    Attributes
    ----------
    densities
        Share of its weights that each layer was to keep; layers too narrow for it are not there.
    choices
        The designs that came nearest.
    refused
        Layers without a design, with the reason: too narrow, or given (nearly) all their weights.
    """

    densities: dict[str, float]
    choices: dict[str, Choice]
    refused: dict[str, str]


def allocate(
    layers: Layers,
    density: float,
    *,
    edge: int | None = None,
    budget: str = "weights",
    allocation: str = "uniform",
    overrides: Mapping[str, Override] | None = None,
    worth: Worths | None = None,
    cells: bool = True,
) -> Allotment:
    """Share out the weights, or the multiply-adds, of the layers that may be converted.

    "uniform" gives every layer the same density. "erk", the Erdos-Renyi kernel, gives each a density
    proportional to (in + out + taps) / (in x out x taps), so that narrow layers keep more: U. Evci and others,
    Rigging the lottery, ICML 2020, after D. C. Mocanu and others, Nature Communications 9 (2018) 2383.
    "sensitivity" makes the sum over the layers of the shares of worth that they lose least, each cut to its best
    weights: at the optimum the last weight kept is worth as much per cost in every layer (H. Everett, Operations
    Research 11 (1963) 399). Layers too narrow for their share are given the sparsest design there is, except under
    "uniform", which leaves them dense and out of the count.

    Then single layers move to the next design up or down, within 15% of what they were given, until the total
    is within 2.5% of what is asked, or as near as it gets.

    Parameters
    ----------
    layers
        Those that may be converted.
    density
        Share of the budget that they keep together, those with overrides included.
    budget
        "weights", or "flops": multiply-adds, a weight counted as often as it is used.
    overrides
        By layer. Their share is taken first.
    worth
        Worth of each layer's weights, shape (out, in); for "sensitivity".
    cells
        Whether a layer may be filled with copies of its design; else one is spread over it.

    Raises
    ------
    InvalidArgument
        If an override asks for a design that does not exist, or leaves the others no share that can be met.
    """
    overrides = overrides or {}
    edges = {name: overrides.get(name, Override()).edge or edge for name in layers}
    told = {name: override.density for name, override in overrides.items() if override.density is not None}
    free = {name: layer for name, layer in layers.items() if name not in told}
    refused: dict[str, str] = {}
    while True:
        costs = {name: _cost(layers[name], budget) for name in (*told, *free)}
        left = density * sum(costs.values()) - sum(told[name] * costs[name] for name in told)
        if free and left <= 0:
            taken = sum(told[name] * costs[name] for name in told) / sum(costs.values())
            raise InvalidArgument(
                f"Argument 'overrides' must leave other layers a share of the density {density}, not take {taken:.3g}."
            )
        densities = told | _SHARES[allocation](free, edges, cells, budget, left, worth or {})
        choices = {
            name: choose(*_widths(layers[name]), share, edges[name], cells)
            for name, share in densities.items()
            if share < DENSE
        }
        if allocation != "uniform":
            choices |= {
                name: nearest(*_widths(layers[name]), densities[name], edges[name] or 1, cells)
                for name, choice in choices.items()
                if choice is None and name in free
            }
        narrow = [name for name, choice in choices.items() if choice is None]
        if not narrow:
            break
        for name in narrow:
            reason = refusal(*_widths(layers[name]), densities[name], edges[name], cells)
            if name in told:
                raise InvalidArgument(f"Argument 'overrides' must give {name!r} a density it can have: {reason}.")
            refused[name] = reason
            del free[name]
    refused |= dict.fromkeys(densities.keys() - choices.keys(), "given all its weights")
    found = {name: choice for name, choice in choices.items() if choice is not None}
    _move_to_nearest_(found, free, densities, edges, cells, costs, density)
    return Allotment(densities, found, refused)


def check_allocation(budget: str, allocation: str) -> None:
    """Raise InvalidArgument unless both are known."""
    if budget not in BUDGETS:
        raise InvalidArgument(f"Argument 'budget' must be one of {', '.join(BUDGETS)}, not {budget!r}.")
    if allocation not in ALLOCATIONS:
        raise InvalidArgument(f"Argument 'allocation' must be one of {', '.join(ALLOCATIONS)}, not {allocation!r}.")


def overrides_by_layer(overrides: Mapping[str, float | Override], names: Collection[str]) -> dict[str, Override]:
    """What each layer is told, from names or globs to densities or `Override`; of several, the last that matches.

    Raises
    ------
    InvalidArgument
        If one matches no layer that may be converted, or its density or edge is out of range.
    """
    by_layer: dict[str, Override] = {}
    for glob, told in overrides.items():
        override = told if isinstance(told, Override) else Override(told)
        try:
            check_choice(0.5 if override.density in (None, 1) else override.density, override.edge)
        except InvalidArgument as error:
            raise InvalidArgument(f"Argument 'overrides', {glob!r}: {error}") from error
        matched = [name for name in names if fnmatchcase(name, glob)]
        if not matched:
            raise InvalidArgument(
                f"Argument 'overrides' must name layers that may be converted ({', '.join(names)}), not {glob!r}."
            )
        by_layer |= dict.fromkeys(matched, override)
    return by_layer


Shares = dict[str, float]
Edges = Mapping[str, int | None]


def _uniform(free: Layers, edges: Edges, cells: bool, budget: str, left: float, worths: Worths) -> Shares:
    total = sum(_cost(layer, budget) for layer in free.values())
    return dict.fromkeys(free, min(1.0, round(left / total, 12)) if total else 1.0)


def _erk(free: Layers, edges: Edges, cells: bool, budget: str, left: float, worths: Worths) -> Shares:
    raw = {
        name: (layer.in_features + layer.out_features + sum(layer.taps)) / layer.weights for name, layer in free.items()
    }
    return _met(free, edges, cells, budget, left, lambda name, factor: raw[name] * factor)


def _sensitivity(free: Layers, edges: Edges, cells: bool, budget: str, left: float, worths: Worths) -> Shares:
    rates = {}
    for name, layer in free.items():
        ascending = np.sort(worths[name], axis=None)
        rates[name] = ascending * (ascending.size / (ascending.sum() or 1.0) / (_cost(layer, budget) or 1.0))

    def share(name: str, factor: float) -> float:
        return 1 - float(np.searchsorted(rates[name], 1 / factor)) / rates[name].size

    return _met(free, edges, cells, budget, left, share)


_SHARES: dict[str, Callable[[Layers, Edges, bool, str, float, Worths], Shares]] = {
    "uniform": _uniform,
    "erk": _erk,
    "sensitivity": _sensitivity,
}


def _met(
    free: Layers, edges: Edges, cells: bool, budget: str, left: float, share: Callable[[str, float], float]
) -> Shares:
    """The shares at the factor at which they cost what is left, none below its layer's sparsest design."""
    lowest = {}
    for name, layer in free.items():
        sparsest = nearest(*_widths(layer), _SPARSE, edges[name] or 1, cells)
        lowest[name] = 1.0 if sparsest is None else sparsest.density

    def shares(log_factor: float) -> Shares:
        factor = exp(log_factor)
        return {name: min(1.0, max(lowest[name], share(name, factor))) for name in free}

    low, high = -_LOG_RANGE, _LOG_RANGE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        spent = sum(kept * _cost(free[name], budget) for name, kept in shares(middle).items())
        low, high = (middle, high) if spent < left else (low, middle)
    return shares(high)


def _move_to_nearest_(
    choices: dict[str, Choice],
    free: Layers,
    densities: Shares,
    edges: Edges,
    cells: bool,
    costs: Mapping[str, float],
    density: float,
) -> None:
    """Take the next design up or down wherever that brings the total nearest to what is asked, until it is near."""
    asked = density * sum(costs[name] for name in densities)
    over = sum(costs[name] * (choices[name].density if name in choices else 1.0) for name in densities) - asked
    if abs(over) <= _NEAR * asked:
        return
    ladders = {
        name: alternatives(*_widths(free[name]), densities[name], edges[name], cells)
        for name in free.keys() & choices.keys()
    }
    while abs(over) > _NEAR * asked:
        moves = [
            (over + costs[name] * (choice.density - choices[name].density), name, choice)
            for name, ladder in sorted(ladders.items())
            for choice in _next(ladder, choices[name])
        ]
        best = min(moves, key=lambda move: abs(move[0]), default=(over, "", None))
        if best[2] is None or abs(best[0]) >= abs(over):
            return
        over, choices[best[1]] = best[0], best[2]


def _next(ladder: tuple[Choice, ...], choice: Choice) -> Iterator[Choice]:
    """The designs next below and next above."""
    below = [other for other in ladder if other.density < choice.density]
    above = [other for other in ladder if other.density > choice.density]
    yield from below[-1:] + above[:1]


def _cost(layer: Surveyed, budget: str) -> float:
    return float(layer.weights if budget == "weights" else layer.multiply_adds)


def _widths(layer: Surveyed) -> tuple[int, int]:
    return layer.in_features, layer.out_features
