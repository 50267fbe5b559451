"""Sums of weights over the members of many sets, modulo 2^64; compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["least_sums", "pair_sums"]

Integers = npt.NDArray[np.int64]
Members = npt.NDArray[np.int16]
Sums = npt.NDArray[np.uint64]


@njit(cache=True)
def pair_sums(members: Members, widths: Integers, numbers: Integers, weights: Sums) -> Sums:
    """The sum of `weights[x, y]` over all x and y of a set, for each union of one row from every table, in order.

    Table j has `numbers[j]` rows of `widths[j]` members; all are in `members`, one after the other.
    """
    tables = len(widths)
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(widths * numbers)))
    both = weights + weights.T
    row = np.zeros(tables, np.int64)
    so_far = np.zeros(tables + 1, np.uint64)
    # What each member adds to the rows chosen from the first j tables.
    added = np.zeros((tables + 1, len(weights)), np.uint64)
    sums = np.empty(np.prod(numbers), np.uint64)
    changed = 0
    for i in range(len(sums)):
        for j in range(changed, tables):
            first = starts[j] + row[j] * widths[j]
            chosen = members[first : first + widths[j]]
            total = so_far[j]
            for a in range(len(chosen)):
                total += added[j, chosen[a]] + weights[chosen[a], chosen[a]]
                for c in range(a):
                    total += both[chosen[a], chosen[c]]
            so_far[j + 1] = total
            for x in members[starts[j + 1] :]:
                more = added[j, x]
                for y in chosen:
                    more += both[x, y]
                added[j + 1, x] = more
        sums[i] = so_far[tables]
        changed = tables - 1
        while changed > 0 and row[changed] == numbers[changed] - 1:
            row[changed] = 0
            changed -= 1
        row[changed] += 1
    return sums


@njit(cache=True)
def least_sums(sets: Members, marks: Sums) -> Sums:
    """Of each row of members the least sum of `marks[i, x]` over all its x, for any i."""
    number, width = sets.shape
    sums = np.empty(number, np.uint64)
    for i in range(number):
        for turn in range(len(marks)):
            total = np.uint64(0)
            for a in range(width):
                total += marks[turn, sets[i, a]]
            if turn == 0 or total < sums[i]:
                sums[i] = total
    return sums
