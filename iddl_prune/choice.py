"""Which design a layer gets: the one of bibdlib's that fits width and density best, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import lgamma, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

import bibdlib
from iddl_prune.errors import InvalidArgument

__all__ = ["EDGES", "TOLERANCE", "Choice", "alternatives", "check_choice", "choose", "nearest", "refusal", "room"]

EDGES = (64, 32, 16, 8, 4, 2, 1)

# Densities closer than this (relative) count as equal, and the larger tile decides.
TOLERANCE = 0.15


@dataclass(frozen=True)
class Choice:
    """A design chosen for a layer, with the edge of its tiles and the reason."""

    recipe: bibdlib.Recipe
    edge: int
    reason: str

    @property
    def parameters(self) -> bibdlib.Parameters:
        """Parameters of the design."""
        return self.recipe.parameters

    @property
    def density(self) -> float:
        """Share of the weights that the design keeps, k / v."""
        return self.parameters.k / self.parameters.v


@cache
def choose(in_features: int, out_features: int, density: float, edge: int | None = None) -> Choice | None:
    """Choose a design with at most as many points as inputs, at most as many blocks as outputs, k / v near density.

    Without `edge`, the largest of `EDGES` at which some design comes within 15% of the density. Of designs as near as
    each other, the one that can be laid in most ways, in as many cells as there is room for.

    Returns None where the layer is too narrow for any such design; `refusal` tells why.
    """
    check_choice(density, edge)
    for candidate_edge in EDGES if edge is None else (edge,):
        units = _units(in_features, out_features, candidate_edge)
        if (recipe := _first(_near(_fitting(*units), density), _rank(density, *units))) is not None:
            return _choice(recipe, in_features, out_features, density, candidate_edge)
    return None


@cache
def alternatives(in_features: int, out_features: int, density: float, edge: int | None = None) -> tuple[Choice, ...]:
    """Designs within 15% of a density, ascending: one, with the largest tile, for each density that is to be had.

    Without `edge`, tiles are those that `choose` takes, or half as wide.
    """
    chosen = choose(in_features, out_features, density, edge)
    if chosen is None:
        return ()
    found: dict[float, Choice] = {}
    for candidate_edge in (chosen.edge,) if edge or chosen.edge == 1 else (chosen.edge, chosen.edge // 2):
        units = _units(in_features, out_features, candidate_edge)
        near = _near(_fitting(*units), density)
        for share in np.setdiff1d(near[:, 1] / near[:, 0], list(found)).tolist():
            recipe = _first(near[near[:, 1] / near[:, 0] == share], _rank(density, *units))
            if recipe is not None:
                found[share] = _choice(recipe, in_features, out_features, density, candidate_edge)
    return tuple(found[share] for share in sorted(found))


@cache
def nearest(in_features: int, out_features: int, density: float, edge: int = 1) -> Choice | None:
    """The design nearest to a density, however far it is; None where none fits at all."""
    fitting = _fitting(*_units(in_features, out_features, edge))
    recipe = _first(fitting, lambda p: (abs(log(p[1] / p[0] / density)), p[2]))
    return None if recipe is None else _choice(recipe, in_features, out_features, density, edge)


def refusal(in_features: int, out_features: int, density: float, edge: int | None = None) -> str:
    """Why no design near this density fits, and which comes nearest.

    A design has b = lam v (v - 1) / (k (k - 1)) blocks, more than (v / k)^2, and each must have an output to play
    it: so with u units of outputs, k / v is more than 1 / sqrt(u).
    """
    units = _units(in_features, out_features, edge or 1)[1]
    told = f"too narrow for a design of density {density:.3g}"
    if density <= 1 / sqrt(units):
        told += f" (with at most {units} blocks every design keeps more than 1 / sqrt({units}) = {units**-0.5:.3g})"
    best = nearest(in_features, out_features, density, edge or 1)
    return told + ("" if best is None else f"; nearest: {best.parameters}, density {best.density:.3g}")


def room(in_features: int, out_features: int, edge: int, parameters: bibdlib.Parameters) -> tuple[int, int]:
    """How many copies of a design a layer has room for: rows and columns of cells, each at least 1."""
    points, blocks = _units(in_features, out_features, edge)
    return blocks // parameters.b, points // parameters.v


def check_choice(density: float, edge: int | None) -> None:
    """Raise InvalidArgument unless 0 < density < 1 and edge, if it is given, is at least 1."""
    if not 0 < density < 1:
        raise InvalidArgument(f"Argument 'density' must lie between 0 and 1, not {density}.")
    if edge is not None and edge < 1:
        raise InvalidArgument(f"Argument 'edge' must be at least 1, not {edge}.")


def _units(in_features: int, out_features: int, edge: int) -> tuple[int, int]:
    """How many points and how many blocks there is room for."""
    return -(-in_features // edge), -(-out_features // edge)


@cache
def _fitting(points: int, blocks: int) -> npt.NDArray[np.int64]:
    """All admissible (v, k, lam) with v <= points and v <= b <= blocks, shape (n, 3)."""
    widest = min(points, blocks)
    v, k = np.tril_indices(max(widest + 1, 0), -1)
    v, k = v[k >= 2], k[k >= 2]
    # r = lam (v - 1) / (k - 1) and b = lam v (v - 1) / (k (k - 1)) are whole for the multiples of:
    step = np.lcm((k - 1) // np.gcd(v - 1, k - 1), k * (k - 1) // np.gcd(v * (v - 1), k * (k - 1)))
    b = step * v * (v - 1) // (k * (k - 1))
    found = [np.empty((0, 3), dtype=np.int64)]
    for multiple in range(1, blocks // int(b.min(initial=blocks)) + 1):
        fits = (multiple * b <= blocks) & (multiple * b >= v)
        found.append(np.stack([v, k, multiple * step], axis=1)[fits])
    return np.concatenate(found)


def _near(fitting: npt.NDArray[np.int64], density: float) -> npt.NDArray[np.int64]:
    share = fitting[:, 1] / fitting[:, 0] / density
    return fitting[(share >= 1 - TOLERANCE) & (share <= 1 + TOLERANCE)]


def _first(fitting: npt.NDArray[np.int64], rank: Callable[[tuple[int, int, int]], Any]) -> bibdlib.Recipe | None:
    """How to build the first design, by rank, that bibdlib can build."""
    for v, k, lam in sorted(map(tuple, fitting.tolist()), key=rank):
        recipe = bibdlib.find(bibdlib.Parameters(v, k, lam))
        if recipe is not None:
            return recipe
    return None


def _rank(density: float, points: int, blocks: int) -> Callable[[tuple[int, int, int]], tuple[int, float]]:
    """Nearness to the density in steps of 5%, then the logarithm of the number of ways to name points and blocks."""

    def rank(p: tuple[int, int, int]) -> tuple[int, float]:
        v, k, lam = p
        b = lam * v * (v - 1) // (k * (k - 1))
        ways = (points // v) * (blocks // b) * (lgamma(v + 1) + lgamma(b + 1))
        return round(abs(log(k / v / density)) / 0.05), -ways

    return rank


def _choice(recipe: bibdlib.Recipe, in_features: int, out_features: int, density: float, edge: int) -> Choice:
    p, (points, blocks) = recipe.parameters, _units(in_features, out_features, edge)
    reason = f"k/v = {p.k / p.v:.3f} for {density:.3g}; v = {p.v} of {points}, b = {p.b} of {blocks} units of {edge}"
    return Choice(recipe, edge, reason)
