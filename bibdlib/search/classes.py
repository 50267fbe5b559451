"""Meeting in the middle class by class: entries of several lists whose coarse and fine sums reach a target.

Coarse sums have few values. So few pairs of classes of entries with the same one can be in a solution, and only their
members have to be added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt, prod

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["class_meetings"]

Integers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]

# Most entries of the early lists together, most pairs of one of the late list and one of the others, most meetings.
_EARLY, _PAIRS, _MOST = 1 << 21, 1 << 29, 1 << 12


def class_meetings(lists: list[Sums], half: int, target: Sums, rng: np.random.Generator) -> Iterator[Integers]:
    """Places in the lists, one in each, whose entries add up to the target, modulo 2^64; at most 4096 such.

    Each list, of shape (2, entries), has the coarse sums of its entries in the first row and their fine sums in the
    second, as `target`, of shape (2,), has both; if the fine sums reach it, so do the coarse ones. The entries of the
    first `half` lists together, and those of the others, are looked at all, or very many of them.
    """
    groups = [lists[:half], lists[half : half + 1], lists[half + 1 :]]
    early, early_sums = _added(groups[0], _EARLY, rng)
    ys, y_sums = _added(groups[2], isqrt(_PAIRS), rng)
    xs, x_sums = _added(groups[1], _PAIRS // len(ys), rng)
    xs, x_sums, x_classes = _classed(xs, x_sums)
    ys, y_sums, y_classes = _classed(ys, y_sums)
    wanted = np.flatnonzero(_wanted(early_sums[0], x_sums[0, x_classes[:-1]], y_sums[0, y_classes[:-1]], target[0]))
    wanted = wanted[np.argsort(early_sums[1, wanted])]
    shapes = [[each.shape[1] for each in group] for group in groups]
    for i, x, y in _met(early_sums[:, wanted], x_sums, x_classes, y_sums, y_classes, target, _MOST):
        chosen = [early[wanted[i]], xs[x], ys[y]]
        yield np.concatenate([np.unravel_index(n, shape) for n, shape in zip(chosen, shapes, strict=True) if shape])


def _added(lists: list[Sums], most: int, rng: np.random.Generator) -> tuple[Integers, Sums]:
    """The numbers of all ways to take an entry of each list, or of so many, and their sums, of shape (2, ways)."""
    shape = [each.shape[1] for each in lists]
    if (number := prod(shape)) > most:
        chosen = rng.integers(number, size=most)
        places = np.unravel_index(chosen, shape)
        return chosen, np.sum([each[:, i] for each, i in zip(lists, places, strict=True)], axis=0, dtype=np.uint64)
    total = np.zeros((2, 1), dtype=np.uint64)
    for each in lists:
        total = (total[:, :, None] + each[:, None]).reshape(2, -1)
    return np.arange(number), total


def _classed(numbers: Integers, sums: Sums) -> tuple[Integers, Sums, Integers]:
    """The same with equal coarse sums together, and where each class begins, and where the last ends.

    Sorted by 16 bits only, which is fast; a class whose bits another has too may come in pieces.
    """
    order = np.argsort((sums[0] >> np.uint64(48)).astype(np.uint16), kind="stable")
    numbers, sums = numbers[order], sums[:, order]
    return numbers, sums, np.flatnonzero(np.concatenate([[True], np.diff(sums[0]) != 0, [True]]))


@njit(cache=True)
def _mark(marks: Sums, trailing: np.uint64, s: np.uint64) -> None:
    """Set the bit of the sum's leading bits."""
    leading = s >> trailing
    marks[leading >> np.uint64(6)] |= np.uint64(1) << (leading & np.uint64(63))


@njit(cache=True)
def _is_marked(marks: Sums, trailing: np.uint64, s: np.uint64) -> bool:
    leading = s >> trailing
    return (marks[leading >> np.uint64(6)] >> (leading & np.uint64(63))) & np.uint64(1) != np.uint64(0)


@njit(cache=True)
def _wanted(early: Sums, xs: Sums, ys: Sums, target: np.uint64) -> npt.NDArray[np.bool_]:
    """Which of the early sums have the leading bits of one that is missing to the sum of an x and a y."""
    trailing = np.uint64(64 - 22)
    marks = np.zeros(1 << 16, np.uint64)
    for x in xs:
        for y in ys:
            _mark(marks, trailing, target - x - y)
    wanted = np.empty(len(early), np.bool_)
    for i in range(len(early)):
        wanted[i] = _is_marked(marks, trailing, early[i])
    return wanted


@njit(cache=True)
def _met(
    early: Sums, xs: Sums, x_classes: Integers, ys: Sums, y_classes: Integers, target: Sums, most: int
) -> Integers:
    """Places in `early`, whose fine sums ascend, `xs` and `ys`, where the sums are right; so many at most."""
    width = 10
    while 1 << width < 32 * early.shape[1]:
        width += 1
    trailing = np.uint64(64 - width)
    coarse, fine = np.zeros((2, 1 << (width - 6)), np.uint64)
    for z in range(early.shape[1]):
        _mark(coarse, trailing, early[0, z])
        _mark(fine, trailing, early[1, z])
    met = np.empty((most, 3), np.int64)
    found = 0
    for i in range(len(x_classes) - 1):
        for j in range(len(y_classes) - 1):
            if not _is_marked(coarse, trailing, target[0] - xs[0, x_classes[i]] - ys[0, y_classes[j]]):
                continue
            for x in range(x_classes[i], x_classes[i + 1]):
                rest = target[1] - xs[1, x]
                for y in range(y_classes[j], y_classes[j + 1]):
                    missing = rest - ys[1, y]
                    if not _is_marked(fine, trailing, missing):
                        continue
                    z = np.searchsorted(early[1], missing)
                    while z < early.shape[1] and early[1, z] == missing:
                        met[found] = z, x, y
                        found += 1
                        z += 1
                        if found == most:
                            return met
    return met[:found]
