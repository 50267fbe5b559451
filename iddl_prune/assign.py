"""Which channel plays which point, and which output which block: the places that keep most worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from iddl_prune.errors import InvalidArgument
from iddl_prune.pattern import SparsePattern

__all__ = ["Fit", "fit"]

Floats = npt.NDArray[np.floating[Any]]
Order = npt.NDArray[np.integer[Any]]

_ROUNDS = 50


@dataclass(frozen=True, eq=False)
class Fit:
    """A pattern fitted to the worth of a layer's weights.

    Attributes
    ----------
    pattern
        The pattern with its channels in their new places.
    in_order, out_order
        Channel i plays the part of channel in_order[i] of the pattern as it fell; likewise the outputs.
    kept, unfitted, ceiling
        Share of all worth kept by the fitted pattern, by the pattern as it fell, and by as many pairs chosen freely.
    """

    pattern: SparsePattern
    in_order: Order
    out_order: Order
    kept: float
    unfitted: float
    ceiling: float


def fit(worth: Floats, pattern: SparsePattern, *, starts: int = 4, seed: int = 0) -> Fit:
    """Permute the channels so that the pattern keeps as much worth as can be found.

    Outputs fixed, the best places of the inputs are an assignment problem, solved exactly; then the outputs,
    the inputs fixed; and so on until neither gains. The alternation ends in a local optimum, so it starts
    several times: from the pattern as it falls, then from random places.

    Parameters
    ----------
    worth
        What each (output, input) pair is worth, shape (out_features, in_features), not negative.
    starts
        Number of starts, at least 1.

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
    best_kept = -1.0
    best: tuple[Order, Order]
    for start in range(starts):
        draw = generator.permutation if start else np.arange
        in_order, out_order = draw(shape[1]), draw(shape[0])
        kept, orders = _alternate(worth, pattern, in_order, out_order)
        if kept > best_kept:
            best_kept, best = kept, orders
    total = float(worth.sum()) or 1.0
    fitted = pattern.permuted(*best)
    chosen_freely = np.partition(worth.ravel(), worth.size - pattern.kept)[worth.size - pattern.kept :]
    return Fit(
        fitted,
        *best,
        kept=float(worth[fitted.mask()].sum()) / total,
        unfitted=float(worth[pattern.mask()].sum()) / total,
        ceiling=float(chosen_freely.sum()) / total,
    )


def _alternate(
    worth: Floats, pattern: SparsePattern, in_order: Order, out_order: Order
) -> tuple[float, tuple[Order, Order]]:
    reads = pattern.reads.astype(worth.dtype)
    kept = -1.0
    for _ in range(_ROUNDS):
        by_block = _summed(worth, pattern.out_groups[out_order], len(reads), axis=0)
        in_order = _assigned((by_block.T @ reads)[:, pattern.in_groups])
        by_point = _summed(worth, pattern.in_groups[in_order], reads.shape[1], axis=1)
        scores = (by_point @ reads.T)[:, pattern.out_groups]
        out_order = _assigned(scores)
        before, kept = kept, float(scores[np.arange(len(scores)), out_order].sum())
        if kept <= before * (1 + 1e-6):
            break
    return kept, (in_order, out_order)


def _summed(worth: Floats, groups: Order, count: int, axis: int) -> Floats:
    """Sums of the rows (axis 0) or columns (axis 1) of each group."""
    member = np.zeros((count, len(groups)), dtype=worth.dtype)
    member[groups, np.arange(len(groups))] = 1
    return member @ worth if axis == 0 else worth @ member.T


def _assigned(scores: Floats) -> Order:
    """The place of each channel, shape (n,), for the largest sum of scores (n, n)."""
    return linear_sum_assignment(scores, maximize=True)[1].astype(np.int64)
