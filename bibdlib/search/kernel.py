"""The inner loop of the annealing, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["Tables", "anneal"]

Integers = npt.NDArray[np.int64]


class Tables(NamedTuple):
    """What the stabilizers of a layout add to the pairs, one after the other, and which orbits may be exchanged.

    Stabilizer t has `number[t]` orbits; what two of them add (see `Stabilizer`) lies from `first[t]` on in `starts`.
    Its orbit s is in the pool `pool_of[t, s]`, with those of the same length; pool p is
    `pools[pool_start[p]:pool_start[p + 1]]`.
    """

    starts: Integers
    orbits: Integers
    amounts: Integers
    first: Integers
    number: Integers
    pools: Integers
    pool_start: Integers
    pool_of: Integers


@njit(cache=True)
def anneal(
    tables: Tables,
    kind: Integers,
    blocks: Integers,
    width: Integers,
    excess: Integers,
    moves: int,
    hot: float,
    cold: float,
    seed: int,
) -> tuple[int, Integers]:
    """Exchange members of base blocks until each pair orbit is covered as often as it has to; the best cost and blocks.

    Base block i is a union of `width[i]` orbits of stabilizer `kind[i]`, numbered in `blocks[i]`; together they cover
    each pair orbit `excess` times too often, or too seldom where that is negative. The cost is the sum of its squares;
    the temperature falls from `hot` to `cold`.
    """
    starts, orbits, amounts, first, number, pools, pool_start, pool_of = tables
    np.random.seed(seed)  # noqa: NPY002  (numba's own generator)
    total = width.sum()
    owner = np.empty(total, np.int64)
    place = np.empty(total, np.int64)
    at = 0
    for i in range(len(width)):
        for a in range(width[i]):
            owner[at] = i
            place[at] = a
            at += 1
    inside = np.zeros((len(width), number.max()), np.bool_)
    for i in range(len(width)):
        for a in range(width[i]):
            inside[i, blocks[i, a]] = True
    excess = excess.copy()
    changed = np.empty_like(excess)
    cost = _sum_of_squares(excess)
    best = cost
    best_blocks = blocks.copy()
    temperature = hot
    cooling = (cold / hot) ** (1.0 / (moves / 1000 + 1))
    for move in range(moves):
        if move % 1000 == 0:
            temperature *= cooling
        at = np.random.randint(total)  # noqa: NPY002
        i = owner[at]
        a = place[at]
        t = kind[i]
        old = blocks[i, a]
        pool = pool_of[t, old]
        new = pools[pool_start[pool] + np.random.randint(pool_start[pool + 1] - pool_start[pool])]  # noqa: NPY002
        if inside[i, new]:
            continue
        leaving = first[t] + old * number[t]
        joining = first[t] + new * number[t]
        for j in range(len(excess)):
            changed[j] = excess[j]
        for c in range(width[i]):
            other = leaving + blocks[i, c]
            for e in range(starts[other], starts[other + 1]):
                changed[orbits[e]] -= amounts[e]
            other = joining + (blocks[i, c] if c != a else new)
            for e in range(starts[other], starts[other + 1]):
                changed[orbits[e]] += amounts[e]
        change = _sum_of_squares(changed) - cost
        if change <= 0 or np.random.random() < np.exp(-change / temperature):  # noqa: NPY002
            inside[i, old] = False
            inside[i, new] = True
            blocks[i, a] = new
            excess, changed = changed, excess
            cost += change
            if cost < best:
                best = cost
                best_blocks[:] = blocks
                if best == 0:
                    break
    return best, best_blocks


@njit(cache=True)
def _sum_of_squares(values: Integers) -> int:
    total = 0
    for value in values:
        total += value * value
    return total
