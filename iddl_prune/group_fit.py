"""All layers fitted at once, where channels that a residual stream or a concatenation ties together keep one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from iddl_prune.dependency import ChannelGroup
from iddl_prune.errors import InvalidArgument
from iddl_prune.pattern import SparsePattern

__all__ = ["LayerFit", "fit_groups"]

Floats = npt.NDArray[np.floating[Any]]
Order = npt.NDArray[np.integer[Any]]

_ROUNDS = 30
_LEAST_GAIN = 1e-4
_SIDES = ("out", "in")


@dataclass(frozen=True, eq=False)
class LayerFit:
    """What the fit of all layers does to one.

    Attributes
    ----------
    labels
        By side: the point ("in") or block ("out") that each tile plays, shape (v,) or (b,).
    orders
        By side: the place of each channel. Only for sides in no group, whose channels the layer gathers itself.
    kept, unfitted, ceiling
        Shares of worth as in `iddl_prune.assign.Fit`.
    """

    labels: dict[str, Order]
    orders: dict[str, Order]
    kept: float
    unfitted: float
    ceiling: float


def fit_groups(
    worths: Mapping[str, Floats],
    patterns: Mapping[str, SparsePattern],
    groups: Sequence[ChannelGroup],
    *,
    starts: int = 2,
    seed: int = 0,
) -> tuple[list[Order], dict[str, LayerFit]]:
    """Order the channels of each group, and the points and blocks of each layer, for the most worth kept in all.

    All else held fixed, the best order of the channels of one group, by the summed worth of all layers that they
    touch, is an assignment problem, solved exactly; so is the best labelling of a layer's tiles by points, or by
    blocks. One after the other is solved until none gains; the sum over the layers of the shares of worth kept never
    falls. Several starts: from the channels as they stand, then from random orders.

    Parameters
    ----------
    worths
        By layer, what each (output, input) pair is worth, shape (out_features, in_features), not negative.
    patterns
        By layer, the pattern as it falls.
    groups
        As `iddl_prune.dependency.channel_groups` finds them; sides of other modules than these layers count nothing.

    Returns
    -------
    The new place of each channel, for every group, and what becomes of each layer.

    Raises
    ------
    InvalidArgument
        If there is no start.
    """
    if starts < 1:
        raise InvalidArgument(f"Argument 'starts' must be at least 1, not {starts}.")
    generator = np.random.default_rng(seed)
    grouped = {(side.module, side.side) for group in groups for side in group.sides}
    best_kept, orders = -1.0, list[Order]()
    for start in range(starts):
        layers = {name: _Layer(worths[name], pattern) for name, pattern in patterns.items()}
        free = [(layer, side) for name, layer in layers.items() for side in _SIDES if (name, side) not in grouped]
        tied = [_Tied(group, layers) for group in groups]
        if start:
            for part in tied:
                part.move_(generator.permutation(len(part.order)))
            for layer, side in free:
                layer.places[side] = generator.permutation(layer.places[side])
        kept = _alternate(layers, tied, free)
        if kept > best_kept:
            best_kept, orders = kept, [part.order for part in tied]
            fits = {
                name: layer.result([s for s in _SIDES if (name, s) not in grouped]) for name, layer in layers.items()
            }
    return orders, fits


class _Layer:
    """Where the channels of one layer stand, and what its tiles are called."""

    def __init__(self, worth: Floats, pattern: SparsePattern) -> None:
        self.total = float(worth.sum()) or 1.0
        self.worth = worth / self.total
        self.reads = pattern.reads.astype(worth.dtype)
        self.pattern = pattern
        self.tiles = {"in": pattern.in_groups, "out": pattern.out_groups}
        self.labels: dict[str, Order] = {"in": np.arange(self.reads.shape[1]), "out": np.arange(len(self.reads))}
        self.places: dict[str, Order] = {side: np.arange(len(tiles)) for side, tiles in self.tiles.items()}

    def played(self, side: str) -> Order:
        """The point or block that each channel plays."""
        return self.labels[side][self.tiles[side][self.places[side]]]

    def values(self, side: str) -> Floats:
        """Worth kept by each channel in the part of each point or block, shape (channels, points or blocks)."""
        if side == "in":
            return (_member(self.played("out"), len(self.reads)) @ self.worth).T @ self.reads
        return self.worth @ _member(self.played("in"), self.reads.shape[1]).T @ self.reads.T

    def values_of_places(self, side: str) -> Floats:
        """Worth kept by each channel at each place, shape (channels, channels)."""
        return self.values(side)[:, self.labels[side][self.tiles[side]]]

    def relabel_(self, side: str) -> None:
        """Call the tiles by the points or blocks under which they keep most."""
        tiles = self.tiles[side][self.places[side]]
        self.labels[side] = _assigned(_member(tiles, len(self.labels[side])) @ self.values(side))

    @property
    def kept(self) -> float:
        played = self.played("in")
        return float(self.values("in")[np.arange(len(played)), played].sum())

    def result(self, free: Sequence[str]) -> LayerFit:
        count = self.worth.size - self.pattern.kept
        return LayerFit(
            self.labels,
            {side: self.places[side] for side in free},
            self.kept,
            unfitted=float(self.worth[self.pattern.mask()].sum()),
            ceiling=float(np.partition(self.worth.ravel(), count)[count:].sum()),
        )


class _Tied:
    """The layers' sides that one group of channels touches."""

    def __init__(self, group: ChannelGroup, layers: Mapping[str, _Layer]) -> None:
        self.sides = [(layers[side.module], side.side, side.places) for side in group.sides if side.module in layers]
        self.order: Order = np.arange(group.channels)

    def move_(self, order: Order) -> None:
        """Put the channels in these places."""
        self.order = order
        for layer, side, places in self.sides:
            layer.places[side][places] = places[order]

    def improve_(self) -> None:
        """The best places by all that they touch; where a layer both reads and writes them, only if it gains."""
        scores = np.zeros((len(self.order), len(self.order)))
        for layer, side, places in self.sides:
            values = layer.values_of_places(side)
            for column in places.T:
                scores += values[np.ix_(column, column)]
        before, kept = self.order, self.kept
        self.move_(_assigned(scores))
        if self.kept < kept:
            self.move_(before)

    @property
    def kept(self) -> float:
        return sum(layer.kept for layer, _, _ in self.sides)


def _alternate(layers: Mapping[str, _Layer], tied: Sequence[_Tied], free: Sequence[tuple[_Layer, str]]) -> float:
    """Improve one part after the other until all together gain no more; returns the sum of the shares kept."""
    kept = -1.0
    for _ in range(_ROUNDS):
        for layer in layers.values():
            for side in _SIDES:
                layer.relabel_(side)
        for part in tied:
            if part.sides:
                part.improve_()
        for layer, side in free:
            layer.places[side] = _assigned(layer.values_of_places(side))
        before, kept = kept, sum(layer.kept for layer in layers.values())
        if kept <= before * (1 + _LEAST_GAIN):
            break
    return kept


def _member(groups: Order, count: int) -> Floats:
    """Which channel belongs to which group, shape (count, channels)."""
    member = np.zeros((count, len(groups)))
    member[groups, np.arange(len(groups))] = 1
    return member


def _assigned(scores: Floats) -> Order:
    """The place of each row, shape (n,), for the largest sum of scores (n, n)."""
    return linear_sum_assignment(scores, maximize=True)[1].astype(np.int64)
