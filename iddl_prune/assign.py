"""Which channel plays which point, and which output which block: the places that keep most worth."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from iddl_prune.errors import InvalidArgument
from iddl_prune.pattern import SparsePattern

__all__ = ["Fit", "fit"]

Floats = npt.NDArray[np.floating[Any]]
Order = npt.NDArray[np.integer[Any]]

_ROUNDS = 50
_EXCHANGES = 8
_EXCHANGED = 0.3

# The cells of a pattern are many: a round that gains less than this share is the last.
_LEAST_GAIN = 1e-3


@dataclass(frozen=True, eq=False)
class Fit:
    """A pattern fitted to the worth of a layer's weights.

    Attributes
    ----------
    pattern
        The pattern with its channels, and the points and blocks of its cells, in their new places.
    in_order, out_order
        Channel i plays the part of channel in_order[i] of the pattern as it fell; likewise the outputs.
    points, blocks
        In a cell, point x plays point points[..., x] of the design as it fell; likewise the blocks. Of shapes
        (S, T, v) and (S, T, b); empty where one design covers the layer, whose channels are free to go anywhere.
    kept, unfitted, ceiling
        Share of all worth kept by the fitted pattern, by the pattern as it fell, and by as many pairs chosen freely.
    """

    pattern: SparsePattern
    in_order: Order
    out_order: Order
    points: Order
    blocks: Order
    kept: float
    unfitted: float
    ceiling: float


def fit(worth: Floats, pattern: SparsePattern, *, starts: int = 4, seed: int = 0) -> Fit:
    """Permute the channels, and in each cell the points and blocks, for as much worth as can be found.

    Outputs fixed, the best places of the inputs are an assignment problem, solved exactly; then the outputs,
    the inputs fixed; in each cell the points, then the blocks; and so on until nothing gains. The alternation ends
    in a local optimum, so it starts several times: from the pattern as it falls, then from random places; and where
    there is but one cell, from the best places so far with a share of the channels exchanged at random (iterated
    local search: H. Lourenço, O. Martin, T. Stützle, in Handbook of Metaheuristics, Kluwer 2003).

    Parameters
    ----------
    worth
        What each (output, input) pair is worth, shape (out_features, in_features), not negative.
    starts
        Number of starts before the exchanges, at least 1.

    Raises
    ------
    InvalidArgument
        If the shape is not the pattern's, a value is negative or no number, or there is no start.
    """
    shape = (pattern.out_features, pattern.in_features)
    if worth.shape != shape:
        raise InvalidArgument(f"Argument 'worth' must have shape {shape}, not {worth.shape}.")
    if not np.isfinite(worth).all() or worth.min() < 0:
        raise InvalidArgument("Argument 'worth' must hold finite numbers that are not negative.")
    if starts < 1:
        raise InvalidArgument(f"Argument 'starts' must be at least 1, not {starts}.")
    generator = np.random.default_rng(seed)
    best = _Places(worth, pattern, np.arange(shape[1]), np.arange(shape[0])).improved()
    for _ in range(1, starts):
        drawn = _Places(worth, pattern, generator.permutation(shape[1]), generator.permutation(shape[0]))
        best = max(best, drawn.improved(), key=lambda places: places.kept)
    for _ in range(_EXCHANGES if pattern.cells == (1, 1) else 0):
        orders = (_exchanged(order, generator) for order in (best.in_order, best.out_order))
        best = max(best, _Places(worth, pattern, *orders).improved(), key=lambda places: places.kept)
    total = float(worth.sum()) or 1.0
    chosen_freely = np.partition(worth.ravel(), worth.size - pattern.kept)[worth.size - pattern.kept :]
    return Fit(
        best.pattern.permuted(best.in_order, best.out_order),
        best.in_order,
        best.out_order,
        best.points,
        best.blocks,
        kept=best.kept / total,
        unfitted=float(worth[pattern.mask()].sum()) / total,
        ceiling=float(chosen_freely.sum()) / total,
    )


class _Places:
    """A point of the search: where each channel stands, and what the points and blocks of each cell are called."""

    def __init__(self, worth: Floats, pattern: SparsePattern, in_order: Order, out_order: Order) -> None:
        self.worth, self.as_it_falls, self.pattern = worth, pattern, pattern
        self.in_order, self.out_order = in_order, out_order
        (rows, columns), (b, v) = pattern.cells, pattern.reads.shape
        many = pattern.cells != (1, 1)
        self.points = np.tile(np.arange(v // columns), (rows, columns, 1)) if many else np.empty(0, dtype=np.int64)
        self.blocks = np.tile(np.arange(b // rows), (rows, columns, 1)) if many else np.empty(0, dtype=np.int64)
        self.kept = -1.0

    def improved(self) -> Self:
        """Each part in turn, until none gains."""
        for _ in range(_ROUNDS):
            if self.pattern.cells != (1, 1):
                self._rename()
            before, self.kept = self.kept, self._move()
            if self.kept <= before * (1 + (_LEAST_GAIN if self.blocks.size else 1e-6)):
                break
        return self

    def _move(self) -> float:
        """The inputs to their best places, then the outputs; returns the worth kept."""
        pattern, reads = self.pattern, self.pattern.reads.astype(self.worth.dtype)
        by_block = _summed(self.worth, pattern.out_groups[self.out_order], len(reads), axis=0)
        self.in_order = _assigned((by_block.T @ reads)[:, pattern.in_groups])
        by_point = _summed(self.worth, pattern.in_groups[self.in_order], reads.shape[1], axis=1)
        scores = (by_point @ reads.T)[:, pattern.out_groups]
        self.out_order = _assigned(scores)
        return float(scores[np.arange(len(scores)), self.out_order].sum())

    def _rename(self) -> None:
        """The points of each cell to their best names, then its blocks, until neither gains."""
        falls = self.as_it_falls
        by_block = _summed(self.worth, falls.out_groups[self.out_order], len(falls.reads), axis=0)
        by_tile = _summed(by_block, falls.in_groups[self.in_order], falls.reads.shape[1], axis=1)
        rows, columns = falls.cells
        (_, _, v), (_, _, b) = self.points.shape, self.blocks.shape
        tiles = by_tile.reshape(rows, b, columns, v).swapaxes(1, 2)
        reads = falls.reads.reshape(rows, b, columns, v).swapaxes(1, 2).astype(self.worth.dtype)
        for cell in np.ndindex(falls.cells):
            kept = -1.0
            for _ in range(_ROUNDS):
                self.points[cell] = _assigned(tiles[cell].T @ reads[cell][self.blocks[cell]])
                scores = tiles[cell] @ reads[cell][:, self.points[cell]].T
                self.blocks[cell] = _assigned(scores)
                before, kept = kept, float(scores[np.arange(b), self.blocks[cell]].sum())
                if kept <= before * (1 + 1e-6):
                    break
        self.pattern = falls.relabelled(self.points, self.blocks)


def _exchanged(order: Order, generator: np.random.Generator) -> Order:
    """The order with a share of its channels in each other's places."""
    chosen = generator.choice(len(order), ceil(_EXCHANGED * len(order)), replace=False)
    order = order.copy()
    order[chosen] = order[generator.permutation(chosen)]
    return order


def _summed(worth: Floats, groups: Order, count: int, axis: int) -> Floats:
    """Sums of the rows (axis 0) or columns (axis 1) of each group."""
    member = np.zeros((count, len(groups)), dtype=worth.dtype)
    member[groups, np.arange(len(groups))] = 1
    return member @ worth if axis == 0 else worth @ member.T


def _assigned(scores: Floats) -> Order:
    """The place of each channel, shape (n,), for the largest sum of scores (n, n)."""
    return linear_sum_assignment(scores, maximize=True)[1].astype(np.int64)
