"""Loops of "lists", "quotients", "subgroups" and "unions", compiled: unions drawn or listed, sums met in the middle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["covers_of", "draw_unions", "fitting_unions", "summands", "unions_of_kinds"]

Integers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]


@njit(cache=True)
def draw_unions(
    sizes: Integers,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    k: int,
    lam: int,
    weights: Integers,
    draws: int,
    seed: int,
) -> tuple[Integers, Integers]:
    """Draw unions of the orbits of a stabilizer that have k points and cover no pair orbit more than lam times.

    `sizes`, `starts`, `orbits`, `amounts` are the `Stabilizer`'s. Returns the orbits of each union, shape (n, k) and
    padded by -1, and the sum of the weights of the pair orbits, each as often as the union covers it, shape (n,).
    """
    np.random.seed(seed)  # noqa: NPY002  (numba's own generator)
    m = len(sizes)
    unions = np.full((draws, k), -1, np.int64)
    sums = np.zeros(draws, np.int64)
    found = 0
    covered = np.zeros(len(weights), np.int64)
    for _ in range(draws):
        covered[:] = 0
        chosen = unions[found]
        chosen[:] = -1
        number = 0
        left = k
        total = 0
        misses = 0
        while left > 0 and misses < 12:
            new = np.random.randint(m)  # noqa: NPY002
            misses += 1
            if sizes[new] > left:
                continue
            chosen[number] = new
            fits = True
            for c in range(number + 1):
                fits &= c == number or chosen[c] != new
            if not fits:
                continue
            added = 0
            for c in range(number + 1):
                cell = new * m + chosen[c]
                for e in range(starts[cell], starts[cell + 1]):
                    covered[orbits[e]] += amounts[e]
                    added += amounts[e] * weights[orbits[e]]
                    fits &= covered[orbits[e]] <= lam
            if fits:
                number += 1
                left -= sizes[new]
                total += added
                continue
            for c in range(number + 1):
                cell = new * m + chosen[c]
                for e in range(starts[cell], starts[cell + 1]):
                    covered[orbits[e]] -= amounts[e]
        if left == 0:
            chosen[number:] = -1
            sums[found] = total
            found += 1
    return unions[:found], sums[:found]


@njit(cache=True)
def fitting_unions(
    order: Integers,
    begins: int,
    sizes: Integers,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    k: int,
    room: Integers,
    most: int,
    steps: int,
) -> Integers:
    """List unions of k points of the orbits of a stabilizer, taken in some order: `most` at most.

    They begin with one of the first `begins` orbits, and cover no pair orbit more often than it has `room`. Stops after
    so many steps. Returns the orbits of each union, shape (n, k) and padded by -1.
    """
    m = len(sizes)
    last = len(order)
    # Whether those from place i on can add up to so many points.
    reach = np.zeros((last + 1, k + 1), np.bool_)
    reach[last, 0] = True
    for i in range(last - 1, -1, -1):
        size = sizes[order[i]]
        for n in range(k + 1):
            reach[i, n] = reach[i + 1, n] or (n >= size and reach[i + 1, n - size])
    unions = np.full((most, k), -1, np.int64)
    covered = np.zeros((k + 1, len(room)), np.int64)
    places = np.zeros(k + 1, np.int64)
    left = np.full(k + 1, k, np.int64)
    found = 0
    depth = 0
    for _ in range(steps):
        at = places[depth]
        if at >= (last if depth else begins) or not reach[at, left[depth]]:
            if depth == 0:
                break
            depth -= 1
            places[depth] += 1
            continue
        size = sizes[order[at]]
        fits = size <= left[depth] and reach[at + 1, left[depth] - size]
        if fits:
            covered[depth + 1] = covered[depth]
            for c in range(depth + 1):
                cell = order[places[c]] * m + order[at]
                for e in range(starts[cell], starts[cell + 1]):
                    covered[depth + 1, orbits[e]] += amounts[e]
                    fits &= covered[depth + 1, orbits[e]] <= room[orbits[e]]
        if not fits:
            places[depth] += 1
            continue
        if size == left[depth]:
            for c in range(depth + 1):
                unions[found, c] = order[places[c]]
            found += 1
            if found == most:
                break
            places[depth] += 1
            continue
        left[depth + 1] = left[depth] - size
        places[depth + 1] = at + 1
        depth += 1
    return unions[:found]


@njit(cache=True)
def covers_of(unions: Integers, starts: Integers, orbits: Integers, amounts: Integers, number: int) -> Integers:
    """How often unions of the orbits of a stabilizer cover each of the `number` pair orbits, shape (n, number)."""
    m = int(np.sqrt(len(starts)))
    covers = np.zeros((len(unions), number), np.int64)
    for i in range(len(unions)):
        for c in range(unions.shape[1]):
            for d in range(c + 1):
                cell = unions[i, d] * m + unions[i, c]
                if unions[i, c] >= 0:
                    for e in range(starts[cell], starts[cell + 1]):
                        covers[i, orbits[e]] += amounts[e]
    return covers


@njit(cache=True)
def summands(firsts: Integers, values: Integers, target: int, least: int) -> Integers:
    """Indices t, i, j with firsts[t] + values[i] + values[j] = target and least * firsts[t] <= target; or none.

    Both arrays ascend.
    """
    for t in range(len(firsts)):
        if least * firsts[t] > target:
            break
        rest = target - firsts[t]
        i = 0
        j = len(values) - 1
        while i <= j:
            both = values[i] + values[j]
            if both == rest:
                return np.array([t, i, j])
            if both < rest:
                i += 1
            else:
                j -= 1
    return np.empty(0, np.int64)


@njit(cache=True)
def unions_of_kinds(
    kinds: Integers,
    members: Integers,
    member_start: Integers,
    starts: Integers,
    orbits: Integers,
    amounts: Integers,
    weights: Sums,
    lam: int,
    most: int,
    steps: int,
) -> tuple[Integers, Sums]:
    """List unions of orbits of given kinds that cover no pair orbit more than lam times: `most` at most.

    Stops after so many steps. Equal `kinds` follow one another; those of kind t are
    `members[member_start[t]:member_start[t + 1]]`. Returns the orbits of each union, shape (n, len(kinds)), and its sum
    as `draw_unions` does, modulo 2^64.
    """
    m = int(np.sqrt(len(starts)))
    width = len(kinds)
    unions = np.empty((most, width), np.int64)
    sums = np.empty(most, np.uint64)
    covered = np.zeros((width + 1, len(weights)), np.int64)
    total = np.zeros(width + 1, np.uint64)
    places = np.empty(width + 1, np.int64)
    places[0] = member_start[kinds[0]]
    found = 0
    depth = 0
    for _ in range(steps):
        if places[depth] == member_start[kinds[depth] + 1]:
            if depth == 0:
                break
            depth -= 1
            places[depth] += 1
            continue
        new = members[places[depth]]
        covered[depth + 1] = covered[depth]
        total[depth + 1] = total[depth]
        fits = True
        for c in range(depth + 1):
            cell = members[places[c]] * m + new
            for e in range(starts[cell], starts[cell + 1]):
                covered[depth + 1, orbits[e]] += amounts[e]
                total[depth + 1] += weights[orbits[e]] * np.uint64(amounts[e])
                fits &= covered[depth + 1, orbits[e]] <= lam
        if fits and depth < width - 1:
            alike = kinds[depth + 1] == kinds[depth]
            places[depth + 1] = places[depth] + 1 if alike else member_start[kinds[depth + 1]]
            depth += 1
            continue
        if fits:
            for c in range(width):
                unions[found, c] = members[places[c]]
            sums[found] = total[width]
            found += 1
            if found == most:
                break
        places[depth] += 1
    return unions[:found], sums[:found]
