"""Loops of the method "completion", compiled: base blocks drawn so that they fit, and all that fit beside them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["draw_fitting", "list_fitting", "take"]

Integers = npt.NDArray[np.int64]


@njit(cache=True)
def _cover(starts: Integers, orbits: Integers, amounts: Integers, cell: int, sign: int, left: Integers) -> bool:
    """Take what a cell covers off what is left (sign 1), or give it back (sign -1); whether all of it was there."""
    fits = True
    for e in range(starts[cell], starts[cell + 1]):
        left[orbits[e]] -= sign * amounts[e]
        fits &= left[orbits[e]] >= 0
    return fits


@njit(cache=True)
def _add(
    m: int, starts: Integers, orbits: Integers, amounts: Integers, chosen: Integers, n: int, left: Integers
) -> bool:
    """Let the last of n chosen orbits join the others; undone at once, and False, if it does not fit."""
    new = chosen[n - 1]
    for c in range(n):
        if not _cover(starts, orbits, amounts, new * m + chosen[c], 1, left):
            for d in range(c + 1):
                _cover(starts, orbits, amounts, new * m + chosen[d], -1, left)
            return False
    return True


@njit(cache=True)
def _remove(
    m: int, starts: Integers, orbits: Integers, amounts: Integers, chosen: Integers, n: int, left: Integers
) -> None:
    for c in range(n):
        _cover(starts, orbits, amounts, chosen[n - 1] * m + chosen[c], -1, left)


@njit(cache=True)
def _weigh(
    m: int, starts: Integers, orbits: Integers, amounts: Integers, chosen: Integers, n: int, weights: Integers
) -> int:
    """The weights of the pair orbits that the last of n chosen orbits covers with the others; sums wrap around."""
    total = 0
    for c in range(n):
        cell = chosen[n - 1] * m + chosen[c]
        for e in range(starts[cell], starts[cell + 1]):
            total += amounts[e] * weights[orbits[e]]
    return total


@njit(cache=True)
def take(m: int, starts: Integers, orbits: Integers, amounts: Integers, union: Integers, left: Integers) -> bool:
    """Take what a union of orbits covers off what is left, unless it does not fit; whether it does."""
    for n in range(len(union)):
        if union[n] >= 0 and not _add(m, starts, orbits, amounts, union, n + 1, left):
            return False
    return True


@njit(cache=True)
def draw_fitting(
    sizes: Integers,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    k: int,
    left: Integers,
    tries: int,
    seed: int,
) -> Integers:
    """Orbits of a stabilizer that have k points and cover no pair orbit more than `left`, which becomes the rest.

    `sizes`, `starts`, `orbits`, `amounts` are the `Stabilizer`'s. Empty if none is met within the tries.
    """
    np.random.seed(seed)  # noqa: NPY002  (numba's own generator)
    m = len(sizes)
    chosen = np.empty(k, np.int64)
    n = 0
    points = 0
    for _ in range(tries):
        new = np.random.randint(m)  # noqa: NPY002
        fresh = sizes[new] <= k - points
        for c in range(n):
            fresh &= chosen[c] != new
        if fresh:
            chosen[n] = new
            if _add(m, starts, orbits, amounts, chosen, n + 1, left):
                n += 1
                points += sizes[new]
                if points == k:
                    return chosen[:n].copy()
                continue
        if n and np.random.randint(4 * m) == 0:  # noqa: NPY002
            while n:
                _remove(m, starts, orbits, amounts, chosen, n, left)
                n -= 1
                points -= sizes[chosen[n]]
    while n:
        _remove(m, starts, orbits, amounts, chosen, n, left)
        n -= 1
    return chosen[:0].copy()


@njit(cache=True)
def _narrow(
    m: int,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    candidates: Integers,
    chosen: Integers,
    fresh: int,
    n: int,
    left: Integers,
    kept: Integers,
) -> int:
    """Keep those candidates that each go with the chosen orbits from `fresh` to n; how many."""
    found = 0
    for new in candidates:
        fits = True
        for c in range(fresh, n):
            cell = new * m + chosen[c]
            for e in range(starts[cell], starts[cell + 1]):
                fits = fits and left[orbits[e]] >= amounts[e]
            fits = fits and chosen[c] != new
        if fits:
            kept[found] = new
            found += 1
    return found


@njit(cache=True)
def list_fitting(
    sizes: Integers,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    openings: Integers,
    opening_starts: Integers,
    order: Integers,
    k: int,
    left: Integers,
    weights: Integers,
    wanted: int,
    most: int,
    budget: int,
) -> tuple[Integers, int, Integers, int]:
    """All unions of orbits of a stabilizer that have k points and cover no pair orbit more than `left`, weighed.

    `openings[opening_starts[j]:opening_starts[j + 1]]` are the cells that may begin a union which covers pair orbit
    j. First come those that cover the first orbit in `order` of which something is left, then, of the others, those
    that cover the second, and so on; one that covers an orbit in several ways may come several times.

    Returns
    -------
    Of each union the weights of the pair orbits that it covers, added up, shape (n,), n at most `most`; how many of
    them cover the first orbit; the orbits of the first union that weighs `wanted`, with which the list ends, padded
    by -1, shape (k,); and the steps taken, at most one more than the budget.
    """
    m = len(sizes)
    left = left.copy()
    sums = np.empty(most, np.int64)
    chosen = np.full(k, -1, np.int64)
    total = np.zeros(k + 1, np.int64)
    points = np.zeros(k + 1, np.int64)
    candidates = np.zeros((k + 1, m), np.int64)
    cursor = np.zeros(k + 1, np.int64)
    count = np.zeros(k + 1, np.int64)
    everything = np.arange(m)
    none = chosen[:0].copy()
    found = 0
    covering_first = -1
    steps = 0
    for j in order:
        if left[j] == 0 or opening_starts[j] == opening_starts[j + 1]:
            continue
        for opening in openings[opening_starts[j] : opening_starts[j + 1]]:
            first, second = divmod(opening, m)
            opened = 1 if first == second else 2
            n = 0
            for new in (first, second):
                if n == opened:
                    break
                chosen[n] = new
                if sizes[new] > k - points[n] or not _add(m, starts, orbits, amounts, chosen, n + 1, left):
                    break
                points[n + 1] = points[n] + sizes[new]
                total[n + 1] = total[n] + _weigh(m, starts, orbits, amounts, chosen, n + 1, weights)
                n += 1
            if n == opened and points[n] < k:
                count[n] = _narrow(m, starts, orbits, amounts, everything, chosen, 0, n, left, candidates[n])
                cursor[n] = 0
            while n >= opened:
                if points[n] == k:
                    sums[found] = total[n]
                    found += 1
                    if total[n] == wanted:
                        chosen[n:] = -1
                        return sums[:found], found if covering_first < 0 else covering_first, chosen, steps
                elif cursor[n] < count[n]:
                    steps += 1
                    new = candidates[n, cursor[n]]
                    chosen[n] = new
                    cursor[n] += 1
                    if sizes[new] <= k - points[n] and _add(m, starts, orbits, amounts, chosen, n + 1, left):
                        points[n + 1] = points[n] + sizes[new]
                        total[n + 1] = total[n] + _weigh(m, starts, orbits, amounts, chosen, n + 1, weights)
                        if points[n + 1] < k:
                            rest = candidates[n, cursor[n] : count[n]]
                            kept = candidates[n + 1]
                            count[n + 1] = _narrow(m, starts, orbits, amounts, rest, chosen, n, n + 1, left, kept)
                            cursor[n + 1] = 0
                        n += 1
                    continue
                if found == most or steps > budget:
                    break
                _remove(m, starts, orbits, amounts, chosen, n, left)
                n -= 1
            while n:
                _remove(m, starts, orbits, amounts, chosen, n, left)
                n -= 1
            if found == most or steps > budget:
                return sums[:found], found if covering_first < 0 else covering_first, none, steps
        left[j] = 0
        if covering_first < 0:
            covering_first = found
    return sums[:found], max(covering_first, 0), none, steps
