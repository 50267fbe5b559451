"""Which design a layer gets, in how many copies and joined how: what fits width and density best, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import e, pi, sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import binom, gammaln

import bibdlib
from iddl_prune.errors import InvalidArgument

__all__ = ["EDGES", "TOLERANCE", "Choice", "alternatives", "check_choice", "choose", "nearest", "refusal"]

EDGES = (64, 32, 16, 8, 4, 2, 1)

# Densities closer than this (relative) count as equal, and the larger tile decides.
TOLERANCE = 0.15

# Densities nearer to the one that is asked than half this (relative) count as met.
_STEP = 0.05

# Steps (relative) between the densities among which a layer may be moved.
_RUNG = 0.01

# How many columns fewer than there is room for, and copies fewer, are looked at to make the numbers come out whole.
_FEWER_COLUMNS, _FEWER_COPIES = 8, 3


@dataclass(frozen=True)
class Choice:
    """A design chosen for a layer, in how many copies and joined how, with the edge of its tiles and the reason.

    Attributes
    ----------
    cells
        Copies on each column of points, and columns (S, T).
    lists
        Number of blocks of the pattern, as in `SparsePattern.from_design`.
    """

    recipe: bibdlib.Recipe
    edge: int
    reason: str
    cells: tuple[int, int]
    lists: int

    @property
    def parameters(self) -> bibdlib.Parameters:
        """Parameters of the design."""
        return self.recipe.parameters

    @property
    def density(self) -> float:
        """Share of the weights that is kept: S b k of `lists` v, in every column."""
        p = self.parameters
        return self.cells[0] * int(p.b) * p.k / (self.lists * p.v)


@cache
def choose(
    in_features: int, out_features: int, density: float, edge: int | None = None, cells: bool = True
) -> Choice | None:
    """Choose a design, and with `cells` copies of it, that keep a share of the weights near the density.

    Of those as near as each other, the one that can be laid in most ways. Without `edge`, tiles have the largest of
    `EDGES` at which one design, spread over the layer, comes within 15% of the density, or 1 if there is none.

    Returns None where the layer is too narrow for any such design; `refusal` tells why.
    """
    check_choice(density, edge)
    for candidate_edge in EDGES if edge is None else (edge,):
        units = _units(in_features, out_features, candidate_edge)
        if edge or candidate_edge == 1 or next(_found(_near(_laid(*units, density, False), density), density), None):
            near = _near(_laid(*units, density, cells), density)
            for recipe, laid in _found(near, density):
                return _choice(recipe, laid, in_features, out_features, density, candidate_edge)
    return None


@cache
def alternatives(
    in_features: int, out_features: int, density: float, edge: int | None = None, cells: bool = True
) -> tuple[Choice, ...]:
    """Choices within 15% of a density, ascending, at steps of 1%: of each that which can be laid in most ways.

    Without `edge`, tiles are those that `choose` takes, or half as wide.
    """
    chosen = choose(in_features, out_features, density, edge, cells)
    if chosen is None:
        return ()
    found: dict[int, Choice] = {}
    for candidate_edge in (chosen.edge,) if edge or chosen.edge == 1 else (chosen.edge, chosen.edge // 2):
        units = _units(in_features, out_features, candidate_edge)
        near = np.concatenate(
            [_near(_laid(*units, density * (1 + step), cells), density) for step in (-TOLERANCE, 0, TOLERANCE)]
        )
        rungs = np.rint(np.log(near["density"] / density) / _RUNG).astype(int)
        for rung in np.setdiff1d(rungs, list(found)).tolist():
            for recipe, laid in _found(near[rungs == rung], density):
                found[rung] = _choice(recipe, laid, in_features, out_features, density, candidate_edge)
                break
    return tuple(sorted(found.values(), key=lambda choice: choice.density))


@cache
def nearest(in_features: int, out_features: int, density: float, edge: int = 1, cells: bool = True) -> Choice | None:
    """The choice nearest to a density, however far it is; None where none fits at all."""
    laid = _laid(*_units(in_features, out_features, edge), density, cells)
    for recipe, nearest_laid in _found(laid, density, step=1e-9):
        return _choice(recipe, nearest_laid, in_features, out_features, density, edge)
    return None


def refusal(in_features: int, out_features: int, density: float, edge: int | None = None, cells: bool = True) -> str:
    """Why no design near this density fits, and which comes nearest.

    With u units of outputs to play the blocks: a design that is spread over the layer has more than (v / k)^2 blocks,
    so k / v is more than 1 / sqrt(u); in columns, each point is on at least three blocks of u.
    """
    units = _units(in_features, out_features, edge or 1)[1]
    told = f"too narrow for a design of density {density:.3g}"
    if cells and density < 3 / units:
        told += f" (every input is read by 3 blocks, and so keeps at least 3 / {units} = {3 / units:.3g})"
    elif not cells and density <= 1 / sqrt(units):
        told += f" (with at most {units} blocks every design keeps more than 1 / sqrt({units}) = {units**-0.5:.3g})"
    best = nearest(in_features, out_features, density, edge or 1, cells)
    return told + ("" if best is None else f"; nearest: {best.parameters}, density {best.density:.3g}")


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
    """All admissible (v, k, lam, b) with v <= points and v <= b <= blocks, and the least such lam, shape (5, n)."""
    widest = min(points, blocks)
    v, k = np.tril_indices(max(widest + 1, 0), -1)
    v, k = v[k >= 2], k[k >= 2]
    # r = lam (v - 1) / (k - 1) and b = lam v (v - 1) / (k (k - 1)) are whole for the multiples of:
    step = np.lcm((k - 1) // np.gcd(v - 1, k - 1), k * (k - 1) // np.gcd(v * (v - 1), k * (k - 1)))
    b = step * v * (v - 1) // (k * (k - 1))
    found = [np.empty((5, 0), dtype=np.int64)]
    for multiple in range(1, blocks // int(b.min(initial=blocks)) + 1):
        fits = (multiple * b <= blocks) & (multiple * b >= v)
        found.append(np.stack([v, k, multiple * step, multiple * b, step])[:, fits])
    return np.concatenate(found, axis=1)


Laid = npt.NDArray[np.void]

_LAID = [(name, np.int64) for name in ("v", "k", "lam", "copies", "columns", "lists")] + [
    (name, np.float64) for name in ("density", "ways")
]


@cache
def _laid(points: int, blocks: int, density: float, cells: bool) -> Laid:
    """How each design can be laid near a density: with `cells` in copies, else once, which has a density of its own."""
    v, k, lam, b, least = _fitting(points, blocks)
    if cells:
        # Of T columns, each block of the pattern joins K; it has as many as S copies on each column make, S T b / K.
        # All patterns that leave one point out of each block, every point as often, are designs: they say nothing.
        v, k, lam, b, least = (array[k < v - 1] for array in (v, k, lam, b, least))
        fewer_columns, fewer_copies = np.ogrid[:_FEWER_COLUMNS, :_FEWER_COPIES]
        v, k, lam, b, least = (array[:, None, None] for array in (v, k, lam, b, least))
        columns = np.maximum(points // v - fewer_columns, 1)
        least_joined = -(-columns * b // blocks)
        joined = np.clip(np.rint(density * columns * v / k).astype(np.int64), least_joined, columns)
        copies = joined * blocks // (columns * b) - fewer_copies
        whole = (copies >= 1) & (copies * columns * b % joined == 0)
        v, k, lam, b, least, columns, joined, copies = (
            array[whole] for array in np.broadcast_arrays(v, k, lam, b, least, columns, joined, copies)
        )
    else:
        columns = joined = copies = np.ones_like(v)
    lists = copies * columns * b // joined
    # The ways to deal out the blocks of each column, alike ones not told apart, of which there are some where so many
    # sets of k points do not exist; and of these the share in which each block of the pattern joins as many.
    alike = np.maximum(lam // least, copies * b / binom(v, k))
    ways = columns * (gammaln(lists + 1) - gammaln(lists - copies * b + 1) - copies * b / alike * gammaln(alike + 1))
    ways -= lists * np.log(np.maximum(2 * pi * e * joined * (1 - joined / columns), 1)) / 2
    laid = np.empty(len(v), dtype=_LAID)
    for (name, _), array in zip(
        _LAID, (v, k, lam, copies, columns, lists, copies * b * k / (lists * v), ways), strict=True
    ):
        laid[name] = array
    return laid


def _near(laid: Laid, density: float) -> Laid:
    return laid[np.abs(laid["density"] / density - 1) <= TOLERANCE]


def _found(laid: Laid, density: float, step: float = _STEP) -> Iterator[tuple[bibdlib.Recipe, Laid]]:
    """What bibdlib can build: the nearest first, in steps; of those as near, what can be laid in most ways."""
    distance = np.rint(np.abs(np.log(laid["density"] / density)) / step)
    for i in np.lexsort([laid["copies"], -laid["ways"].round(6), distance]):
        recipe = bibdlib.find(bibdlib.Parameters(*(int(laid[i][name]) for name in ("v", "k", "lam"))))
        if recipe is not None:
            yield recipe, laid[i]


def _choice(
    recipe: bibdlib.Recipe, laid: Laid, in_features: int, out_features: int, density: float, edge: int
) -> Choice:
    p, (points, blocks) = recipe.parameters, _units(in_features, out_features, edge)
    copies, columns, lists = (int(laid[name]) for name in ("copies", "columns", "lists"))
    taken = f"v = {columns} * {p.v} of {points}, b = {lists} of {blocks} units of {edge}"
    if lists > copies * int(p.b):
        taken += f", each in {copies * columns * int(p.b) // lists} of {columns} columns"
    return Choice(recipe, edge, f"{laid['density']:.3f} for {density:.3g}; {taken}", (copies, columns), lists)
