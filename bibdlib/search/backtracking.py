"""Loops of the method "completion", compiled: base blocks drawn so that they fit, and the last ones by backtracking."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["complete", "draw_fitting"]

Integers = npt.NDArray[np.int64]

# What the state of a block holds: how many orbits it has, how many points, and how many orbits began it.
_NUMBER, _POINTS, _OPENED_WITH = range(3)


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
    fits = True
    for c in range(n):
        fits &= _cover(starts, orbits, amounts, new * m + chosen[c], 1, left)
    if not fits:
        _remove(m, starts, orbits, amounts, chosen, n, left)
    return fits


@njit(cache=True)
def _remove(
    m: int, starts: Integers, orbits: Integers, amounts: Integers, chosen: Integers, n: int, left: Integers
) -> None:
    for c in range(n):
        _cover(starts, orbits, amounts, chosen[n - 1] * m + chosen[c], -1, left)


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
def _retreat(
    m: int,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    sizes: Integers,
    chosen: Integers,
    state: Integers,
    left: Integers,
) -> None:
    """Take back the last orbit of a block; all of it, if only its opening would remain in part."""
    while state[_NUMBER] > 0:
        _remove(m, starts, orbits, amounts, chosen, state[_NUMBER], left)
        state[_NUMBER] -= 1
        state[_POINTS] -= sizes[chosen[state[_NUMBER]]]
        if state[_NUMBER] >= state[_OPENED_WITH]:
            break


@njit(cache=True)
def _next_target(opening_starts: Integers, left: Integers, order: Integers) -> int:
    """The first pair orbit in the order that something is left of and some opening covers, or -1."""
    for j in order:
        if left[j] > 0 and opening_starts[j] < opening_starts[j + 1]:
            return j
    return -1


@njit(cache=True)
def complete(
    sizes: Integers,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    openings: Integers,
    opening_starts: Integers,
    order: Integers,
    k: int,
    left: Integers,
    levels: int,
    budget: int,
) -> tuple[Integers, int]:
    """Search for `levels` more base blocks, unions of orbits of one stabilizer, that cover exactly what is left.

    `openings[opening_starts[j]:opening_starts[j + 1]]` are the cells that may begin a block which covers pair orbit
    j; the first orbit in `order` of which something is left says how the next block begins.

    Returns
    -------
    The orbits of each block, shape (levels, k), padded by -1, no rows if there are none; and the steps taken, at most
    one more than the budget.
    """
    m = len(sizes)
    chosen = np.full((levels, k), -1, np.int64)
    state = np.zeros((levels, 3), np.int64)
    target = np.zeros(levels, np.int64)
    opening = np.zeros(levels, np.int64)
    cursor = np.zeros((levels, k + 1), np.int64)
    count = np.zeros((levels, k + 1), np.int64)
    candidates = np.zeros((levels, k + 1, m), np.int64)
    everything = np.arange(m)
    steps = 0
    level = 0
    target[0] = _next_target(opening_starts, left, order)
    if target[0] < 0:
        return chosen[:0], steps
    opening[0] = opening_starts[target[0]]
    while level >= 0 and steps <= budget:
        steps += 1
        block = chosen[level]
        n = state[level, _NUMBER]
        if n == 0:
            if opening[level] == opening_starts[target[level] + 1]:
                level -= 1
                if level >= 0:
                    _retreat(m, starts, orbits, amounts, sizes, chosen[level], state[level], left)
                continue
            first, second = divmod(openings[opening[level]], m)
            opening[level] += 1
            fits = True
            for new in (first, second):
                if fits and (state[level, _NUMBER] == 0 or second != first):
                    n = state[level, _NUMBER]
                    block[n] = new
                    fits = sizes[new] <= k - state[level, _POINTS]
                    fits = fits and _add(m, starts, orbits, amounts, block, n + 1, left)
                    if fits:
                        state[level, _NUMBER] += 1
                        state[level, _POINTS] += sizes[new]
            state[level, _OPENED_WITH] = 1 if second == first else 2
            if not fits:
                _retreat(m, starts, orbits, amounts, sizes, block, state[level], left)
                continue
            before, fresh = everything, 0
        elif cursor[level, n] < count[level, n]:
            new = candidates[level, n, cursor[level, n]]
            cursor[level, n] += 1
            block[n] = new
            if sizes[new] > k - state[level, _POINTS] or not _add(m, starts, orbits, amounts, block, n + 1, left):
                continue
            state[level, _NUMBER] += 1
            state[level, _POINTS] += sizes[new]
            before, fresh = candidates[level, n, cursor[level, n] : count[level, n]], n
        else:
            _retreat(m, starts, orbits, amounts, sizes, block, state[level], left)
            continue
        n = state[level, _NUMBER]
        if state[level, _POINTS] < k:
            found = 0
            for new in before:
                fits = True
                for c in range(fresh, n):
                    cell = new * m + block[c]
                    for e in range(starts[cell], starts[cell + 1]):
                        fits = fits and left[orbits[e]] >= amounts[e]
                    fits = fits and block[c] != new
                if fits:
                    candidates[level, n, found] = new
                    found += 1
            cursor[level, n] = 0
            count[level, n] = found
            continue
        block[n:] = -1
        if level == levels - 1:
            if left.max() == 0:
                return chosen, steps
        else:
            target[level + 1] = _next_target(opening_starts, left, order)
            if target[level + 1] >= 0:
                level += 1
                opening[level] = opening_starts[target[level]]
                continue
        _retreat(m, starts, orbits, amounts, sizes, block, state[level], left)
    return chosen[:0], steps
