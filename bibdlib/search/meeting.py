"""Meeting in the middle: entries of several lists that add up to a target, modulo 2^64."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from math import gcd, isqrt, prod

import numpy as np
import numpy.typing as npt

__all__ = ["meeting_places", "meetings", "promising_rows"]

Integers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]

_SAMPLES, _EARLY, _LATE, _PORTIONS = 1 << 20, 1 << 21, 1 << 20, 4


def meeting_places(lists: list[Sums], target: np.uint64, rng: np.random.Generator) -> list[int]:
    """A place in each list, such that the entries add up to the target; or [].

    The longest list meets all, or so many as are looked at, of the sums from the others.
    """
    if not all(len(each) for each in lists):
        return []
    longest = max(range(len(lists)), key=lambda i: len(lists[i]))
    early = lists[longest]
    places, late = _sampled([np.zeros(1, np.uint64), *lists[:longest], *lists[longest + 1 :]], _EARLY, rng)
    missing = target - late
    in_early, in_late = _shared(early, missing)
    if not len(in_late):
        return []
    first = in_late[0]
    at = in_early[early[in_early] == missing[first]][0]
    return [int(place) for place in np.insert(places[first, 1:], longest, at)]


def promising_rows(
    lists: list[Sums], half: int, target: Sums, turns: int, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Places in the first `half` lists and in the others that often add up to the target.

    Of the former not more than, with so many from a second orbit and all turns, `meetings` looks at.
    """
    most = isqrt(_EARLY // turns)
    early, sums = _sampled(lists[:half], _EARLY, rng)
    late, others = _sampled(lists[half:], _SAMPLES, rng)
    missing = target - others
    in_early, in_late = _shared(sums, missing)
    _, kinds, counts = np.unique(sums[in_early], return_inverse=True, return_counts=True)
    _, met, met_counts = np.unique(missing[in_late], return_inverse=True, return_counts=True)
    order = np.argsort(-met_counts)
    chosen = np.ones(len(order), dtype=bool)
    chosen[order[1 + np.searchsorted(np.cumsum(counts[order]), most) :]] = False
    return early[in_early[chosen[kinds]]], late[in_late[chosen[met]]]


def meetings(
    tables: list[Sums], half: int, rows: list[tuple[Integers, Integers]], target: Sums, rng: np.random.Generator
) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Of each base block the places of its parts and the turn, such that sums from the tables add up to the target.

    `tables[j][x, y, t]` is for the parts x and y of base block j, the latter turned by t. All may be turned together,
    so that one base block is not. `rows` has the places looked at, of the first `half` base blocks and of the others,
    in the one orbit and in the other.
    """
    (xs, late_xs), (ys, late_ys) = rows
    fixed = [tables[half][:, :, :1], *tables[half + 1 :]]
    early_x, early_y, early = next(_turned(tables[:half], xs, ys, _EARLY, rng))
    for late_x, late_y, late in islice(_turned(fixed, late_xs, late_ys, _LATE, rng), _PORTIONS):
        missing = target - late
        in_early, in_late = _shared(early.ravel(), missing.ravel())
        for m in rng.permutation(in_late):
            for n in in_early[early.flat[in_early] == missing.flat[m]]:
                (h, i, *first), (j, k, *then) = (np.unravel_index(x, y.shape) for x, y in ((n, early), (m, late)))
                x, y = np.concatenate([early_x[h], late_x[j]]), np.concatenate([early_y[i], late_y[k]])
                yield x, y, np.array([*first, *then])


def _turned(
    tables: list[Sums], xs: Integers, ys: Integers, most: int, rng: np.random.Generator
) -> Iterator[tuple[Integers, Integers, Sums]]:
    """Some rows of places in the one orbit and in the other, and the sums for each of both and all turns.

    At most about `most` sums at a time, at first as many, until all rows have met.
    """
    pairs = max(1, most // prod(table.shape[2] for table in tables))
    width = min(len(ys), max(isqrt(pairs), pairs // len(xs)))
    height = pairs // width
    xs, ys = rng.permutation(xs), rng.permutation(ys)
    x_parts = [xs[i : i + height] for i in range(0, len(xs), height)]
    y_parts = [ys[j : j + width] for j in range(0, len(ys), width)]
    for x, y in sorted(product(x_parts, y_parts), key=lambda parts: -len(parts[0]) * len(parts[1])):
        yield x, y, _added([table[np.ix_(p, q)] for table, p, q in zip(tables, x.T, y.T, strict=True)])


def _added(terms: list[Sums]) -> Sums:
    """Sums of one entry of each term, rows and columns apart: shape (rows, columns, n, ..., n)."""
    total = terms[0]
    for term in terms[1:]:
        total = total[..., None] + term.reshape(*term.shape[:2], *[1] * (total.ndim - 2), -1)
    return total


def _sampled(lists: list[Sums], most: int, rng: np.random.Generator) -> tuple[Integers, Sums]:
    """Some rows of places, one in each list, and what the entries there add up to."""
    places = _places([len(each) for each in lists], most, rng)
    return places, np.sum([each[i] for each, i in zip(lists, places.T, strict=True)], axis=0, dtype=np.uint64)


def _places(shape: list[int], most: int, rng: np.random.Generator) -> Integers:
    """All rows of places, or `most` of them: from a random one on, in steps as random."""
    number = prod(shape)
    first, step = rng.integers(number, size=2)
    while gcd(int(step), number) > 1:
        step += 1
    return np.column_stack(np.unravel_index((first + step * np.arange(min(number, most))) % number, shape))


def _shared(early: Sums, late: Sums) -> tuple[Integers, Integers]:
    """Where in either the values are that both have; first those whose leading bits both have.

    So many bits that of all there are the early values have one in eight at most.
    """
    trailing = np.uint64(61 - min(len(early), _EARLY).bit_length())
    in_late = np.flatnonzero(_marked(early >> trailing, trailing)[late >> trailing])
    in_early = np.flatnonzero(_marked(late[in_late] >> trailing, trailing)[early >> trailing])
    both = np.intersect1d(early[in_early], late[in_late])
    return in_early[np.isin(early[in_early], both)], in_late[np.isin(late[in_late], both)]


def _marked(leading: Sums, trailing: np.uint64) -> npt.NDArray[np.bool_]:
    marked = np.zeros(1 << 64 - int(trailing), dtype=bool)
    marked[leading] = True
    return marked
