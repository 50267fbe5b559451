"""Which design a layer gets: the one of bibdlib's that fits width and density best, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import log

import bibdlib
from iddl_prune.errors import InvalidArgument

__all__ = ["EDGES", "Choice", "check_choice", "choose"]

EDGES = (64, 32, 16, 8, 4, 2, 1)

# Densities closer than this (relative) count as equal, and the larger tile, then the smaller lam, decides.
_TOLERANCE = 0.15


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


@cache
def choose(in_features: int, out_features: int, density: float, edge: int | None = None) -> Choice | None:
    """Choose a design with at most as many points as inputs, at most as many blocks as outputs, k / v near density.

    Without `edge`, the largest of `EDGES` at which some design comes within 15% of the density.

    Returns None where the layer is too narrow for any such design.
    """
    check_choice(density, edge)
    for candidate_edge in EDGES if edge is None else (edge,):
        points, blocks = -(-in_features // candidate_edge), -(-out_features // candidate_edge)
        for p in sorted(_fitting(points, blocks, density), key=lambda p: _rank(p, density)):
            recipe = bibdlib.find(p)
            if recipe is not None:
                return Choice(recipe, candidate_edge, _reason(p, density, candidate_edge, points, blocks))
    return None


def check_choice(density: float, edge: int | None) -> None:
    """Raise InvalidArgument unless 0 < density < 1 and edge, if it is given, is at least 1."""
    if not 0 < density < 1:
        raise InvalidArgument(f"Argument 'density' must lie between 0 and 1, not {density}.")
    if edge is not None and edge < 1:
        raise InvalidArgument(f"Argument 'edge' must be at least 1, not {edge}.")


def _fitting(points: int, blocks: int, density: float) -> Iterator[bibdlib.Parameters]:
    for v in range(3, min(points, blocks) + 1):
        low, high = density * v * (1 - _TOLERANCE), density * v * (1 + _TOLERANCE)
        for k in range(max(2, int(low)), min(v - 1, int(high) + 1) + 1):
            if low <= k <= high:
                for lam in range(1, blocks * k * (k - 1) // (v * (v - 1)) + 1):
                    p = bibdlib.Parameters(v, k, lam)
                    if p.is_admissible and p.b >= v:
                        yield p


def _rank(p: bibdlib.Parameters, density: float) -> tuple[int, int, float]:
    error = abs(log(p.k / p.v / density))
    return p.lam, round(error / 0.05), -p.v


def _reason(p: bibdlib.Parameters, density: float, edge: int, points: int, blocks: int) -> str:
    return f"k/v = {p.k / p.v:.3f} for {density:g}; v = {p.v} of {points}, b = {p.b} of {blocks} units of {edge}"
