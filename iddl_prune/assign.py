"""Which channel plays which point, and which output which block: the places that keep most worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from operator import attrgetter
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
        Other names for the points of each copy and the blocks of each column, as `SparsePattern.relabelled` takes
        them, of shapes (S, T, v) and (T, B); empty where one design covers the layer, whose channels go anywhere.
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
    """Permute the channels, the points of each copy and the blocks of each column, for as much worth as can be found.

    Outputs fixed, the best places of the inputs are an assignment problem, solved exactly; then the outputs, the inputs
    fixed; in each copy the points; in each column its blocks among those that join it, and in pairs of columns among
    those that join one of the two; and so on until nothing gains. The alternation ends in a local optimum, so it starts
    several times, from random places, since neighbours are often alike, and a column of one kind of inputs keeps less.
    Where there is but one cell it starts from the pattern as it falls too, and from the best places so far with a share
    of the channels exchanged at random (iterated local search: H. Lourenço, O. Martin, T. Stützle, in Handbook of
    Metaheuristics, Kluwer 2003).

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

    def searched(orders: Sequence[Order]) -> _Places:
        return _Places(worth, pattern, generator, *orders).improved()

    one = pattern.cells == (1, 1)
    begun = [
        [np.arange(n) if one and not start else generator.permutation(n) for n in shape[::-1]]
        for start in range(starts)
    ]
    best = max(map(searched, begun), key=attrgetter("kept"))
    for _ in range(_EXCHANGES if one else 0):
        exchanged = searched([_exchanged(order, generator) for order in (best.in_order, best.out_order)])
        best = max(best, exchanged, key=attrgetter("kept"))
    total = float(worth.sum()) or 1.0
    found = best.pattern.permuted(best.in_order, best.out_order)
    chosen_freely = np.partition(worth.ravel(), worth.size - found.kept)[worth.size - found.kept :]
    return Fit(
        found,
        best.in_order,
        best.out_order,
        best.points,
        best.blocks,
        kept=best.kept / total,
        unfitted=float(worth[pattern.mask()].sum()) / total,
        ceiling=float(chosen_freely.sum()) / total,
    )


class _Places:
    """A point of the search: where each channel stands, and what the points and blocks of each column are called."""

    def __init__(
        self, worth: Floats, pattern: SparsePattern, generator: np.random.Generator, in_order: Order, out_order: Order
    ) -> None:
        self.worth, self.as_it_falls, self.pattern, self.generator = worth, pattern, pattern, generator
        self.in_order, self.out_order = in_order, out_order
        (copies, columns), (count, v) = pattern.cells, pattern.reads.shape
        many = pattern.cells != (1, 1)
        self.points = np.tile(np.arange(v // columns), (copies, columns, 1)) if many else np.empty(0, dtype=np.int64)
        self.blocks = np.tile(np.arange(count), (columns, 1)) if many else np.empty(0, dtype=np.int64)
        self.kept = -1.0

    def improved(self) -> Self:
        """Each part in turn, until none gains."""
        for _ in range(_ROUNDS):
            if self.blocks.size:
                self._rename()
            before, self.kept = self.kept, self._move()
            if self.kept <= before * (1 + (_LEAST_GAIN if self.blocks.size else 1e-6)):
                break
        return self

    def _move(self) -> float:
        """The inputs to their best places, then the outputs; returns the worth kept."""
        pattern, reads = self.pattern, self.pattern.reads.astype(self.worth.dtype)
        by_block = _summed(self.worth, pattern.out_groups[self.out_order], axis=0)
        self.in_order = _assigned((by_block.T @ reads)[:, pattern.in_groups])
        by_point = _summed(self.worth, pattern.in_groups[self.in_order], axis=1)
        scores = (by_point @ reads.T)[:, pattern.out_groups]
        self.out_order = _assigned(scores)
        return float(scores[np.arange(len(scores)), self.out_order].sum())

    def _rename(self) -> None:
        """Column after column the points of each copy to their best names; then its blocks, or those of two columns."""
        falls = self.as_it_falls
        by_block = _summed(self.worth, falls.out_groups[self.out_order], axis=0)
        by_tile = _summed(by_block, falls.in_groups[self.in_order], axis=1)
        tiles = np.ascontiguousarray(by_tile.reshape(falls.by_column.shape).swapaxes(0, 1))
        reads = np.ascontiguousarray(falls.by_column.swapaxes(0, 1), dtype=self.worth.dtype)
        for column, (played, copy) in enumerate(zip(self.blocks, falls.copies, strict=True)):
            for s in range(falls.cells[0]):
                mine = np.flatnonzero(copy[played] == s)
                self.points[s, column] = _assigned(tiles[column, mine].T @ reads[column, played[mine]])
            reads[column] = np.take_along_axis(reads[column], self.points[copy, column], axis=1)
        order = self.generator.permutation(len(tiles))
        for pair in np.split(order, range(2, len(order), 2)):
            values = {column: tiles[column] @ reads[column].T for column in pair}
            joins = {column: falls.copies[column, self.blocks[column]] >= 0 for column in pair}
            for column in pair:
                self._deal(np.flatnonzero(joins[column]), {column: values[column]})
            self._deal(np.flatnonzero(sum(joins.values()) == 1) if len(pair) > 1 else pair[:0], values)
        self.pattern = falls.relabelled(self.points, self.blocks)

    def _deal(self, blocks: Order, values: Mapping[int, Floats]) -> None:
        """Deal out anew among these blocks what they join in some columns, by what is worth most in all of them."""
        if blocks.size:
            parts = {column: self.blocks[column, blocks] for column in values}
            dealt = _assigned(sum(value[np.ix_(blocks, parts[column])] for column, value in values.items()))
            for column, part in parts.items():
                self.blocks[column, blocks] = part[dealt]


def _exchanged(order: Order, generator: np.random.Generator) -> Order:
    """The order with a share of its channels in each other's places."""
    chosen = generator.choice(len(order), ceil(_EXCHANGED * len(order)), replace=False)
    order = order.copy()
    order[chosen] = order[generator.permutation(chosen)]
    return order


def _summed(worth: Floats, groups: Order, axis: int) -> Floats:
    """Sums of the rows (axis 0) or columns (axis 1) of each group; none is empty."""
    by_group = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[by_group], np.arange(int(groups.max()) + 1))
    return np.add.reduceat(worth.take(by_group, axis), starts, axis)


def _assigned(scores: Floats) -> Order:
    """The place of each channel, shape (n,), for the largest sum of scores (n, n)."""
    return linear_sum_assignment(scores, maximize=True)[1].astype(np.int64)
