"""Designs row by row: how often orbits meet, then the rows of each point orbit, then rows that go together.

A row says which blocks hold a point. It falls into parts, one for each block orbit, and what a row and its images have
in common is the sum of what its parts have in common with theirs: rows are joined from parts whose sums come out right.
One row is drawn, so that the others, which must suit it, can all be listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup, permutation_group
from bibdlib.search.orbitals import base_blocks_of, paired_generators
from bibdlib.search.outcome import Outcome
from bibdlib.search.tactical import decomposition

__all__ = ["Rows"]

Integers = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

_FEW = 100_000
_MOST_PARTS, _MOST_SUMS, _MOST_ROWS = 100_000, 16_000_000, 3_000_000
_PICKS = 300


@dataclass(frozen=True, eq=False)
class _Orbit:
    """Point orbit `number`, its first point x, and for each block orbit the orbits on it of the group that fixes x."""

    number: int
    points: Integers
    fixed_unions: list[list[Integers]]

    @property
    def point(self) -> int:
        return int(self.points[0])


class Rows:
    """Rounds that each draw an orbit matrix, all rows that suit it as far as memory allows, and some to begin with.

    Where nothing is said of the blocks, the design is symmetric and the group acts on them as on the points.
    """

    def __init__(
        self, parameters: Parameters, group: PermutationGroup, seed: int, on_blocks: PermutationGroup | None = None
    ) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        self.blocks = group if on_blocks is None else on_blocks
        self.dual = on_blocks is None
        v = parameters.v
        elements = permutation_group(paired_generators(group, self.blocks)).elements
        self.on_points, self.on_blocks = elements[:, :v], elements[:, v:] - v
        self.block_orbits = _orbits(self.on_blocks)
        self.orbits = [self._orbit(i, points) for i, points in enumerate(_orbits(self.on_points))]
        self.sizes = [[_sums([len(u) for u in unions]) for unions in orbit.fixed_unions] for orbit in self.orbits]

    def _orbit(self, number: int, points: Integers) -> _Orbit:
        fixing = self.on_blocks[self.on_points[:, points[0]] == points[0]]
        return _Orbit(number, points, [[b for b in _orbits(fixing) if b[0] in set(bs)] for bs in self.block_orbits])

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none; no orbit matrix at all proves that there is none."""
        rng = np.random.default_rng((self.seed, number))
        matrix = decomposition(
            self.parameters,
            [len(orbit.points) for orbit in self.orbits],
            [len(blocks) for blocks in self.block_orbits],
            self.sizes,
            self.dual,
            int(rng.integers(1 << 30)),
        )
        if matrix is None or not len(matrix):
            return Outcome(None, [], exhausted=matrix is not None)
        chosen = self._choose(matrix, rng)
        if chosen is None:
            return Outcome(None, [])
        incidence = np.zeros((self.parameters.v, self.blocks.v), dtype=bool)
        for i, row in chosen.items():
            through = np.nonzero(_unpacked(row, self.blocks.v))[0]
            incidence[self.on_points[:, self.orbits[i].point, None], self.on_blocks[:, through]] = True
        # Sums of many parts may agree by chance.
        p, counted = self.parameters, incidence.astype(np.int64)
        if (counted @ counted.T != p.lam + (int(p.r) - p.lam) * np.eye(p.v, dtype=np.int64)).any():
            return Outcome(None, [])
        return Outcome(0, base_blocks_of(incidence, self.group, self.blocks))

    def _choose(self, matrix: Integers, rng: np.random.Generator) -> dict[int, Bits] | None:
        """A row for each point orbit, such that all images meet lam times."""
        chosen: dict[int, Bits] = {}
        lists: dict[int, Bits] = {}
        numbers = [self._number(orbit, matrix[orbit.number]) for orbit in self.orbits]
        drawn = False
        for i in np.argsort(numbers, kind="stable").tolist():
            lists[i] = self._rows(self.orbits[i], matrix[i], chosen, rng)
            if not len(lists[i]):
                return None
            if len(lists[i]) == 1 or (numbers[i] <= _FEW and not drawn):
                rows = lists.pop(i)
                chosen[i] = rows[rng.integers(len(rows))]
                drawn = drawn or len(rows) > 1
        if not lists:
            return chosen
        first = min(lists, key=lambda i: len(lists[i]))
        for at in rng.permutation(len(lists[first]))[:_PICKS]:
            rest = self._compatible(first, lists[first][at], lists)
            found = None if rest is None else self._extend(rest)
            if found is not None:
                return {**chosen, first: lists[first][at], **found}
        return None

    def _extend(self, lists: dict[int, Bits]) -> dict[int, Bits] | None:
        """One row from each list that go together, or None."""
        if not lists:
            return {}
        first = min(lists, key=lambda i: len(lists[i]))
        for row in lists[first]:
            rest = self._compatible(first, row, lists)
            found = None if rest is None else self._extend(rest)
            if found is not None:
                return {first: row, **found}
        return None

    def _compatible(self, number: int, row: Bits, lists: dict[int, Bits]) -> dict[int, Bits] | None:
        """Of all other lists the rows whose images meet this row's lam times; None if a list has none."""
        kept = {}
        for i in sorted(lists, key=lambda i: len(lists[i])):
            if i == number:
                continue
            rows = lists[i]
            for image in _packed(self._images(self.orbits[number], row, self.orbits[i])):
                rows = rows[np.bitwise_count(rows & image).sum(axis=1) == self.parameters.lam]
            if not len(rows):
                return None
            kept[i] = rows
        return kept

    def _images(self, held: _Orbit, row: Bits, other: _Orbit) -> npt.NDArray[np.bool_]:
        """Images of a row that the row of the other orbit's first point must meet lam times each, shape (number, b)."""
        bits = _unpacked(row, self.blocks.v)
        return np.array([bits[self.on_blocks[g]] for g in self._leading(held.point, other)])

    def _leading(self, x: int, orbit: _Orbit) -> list[int]:
        """Elements that lead the orbit's first point to y, one for each orbit of pairs {x, y} with y in this orbit."""
        labels = self.group.pair_orbits[x, orbit.points]
        different, first = np.unique(labels, return_index=True)
        targets = orbit.points[first[different >= 0]]
        return [int(np.argmax(self.on_points[:, orbit.point] == y)) for y in targets]

    def _number(self, orbit: _Orbit, sizes: Integers) -> int:
        """How many rows there are to try: at least so many unions of each block orbit have the right size."""
        return prod(
            sum(comb(len(unions), n) for n in {int(size) // len(u) for u in unions if size % len(u) == 0})
            for unions, size in zip(orbit.fixed_unions, sizes, strict=True)
        )

    def _rows(self, orbit: _Orbit, sizes: Integers, chosen: dict[int, Bits], rng: np.random.Generator) -> Bits:
        """Rows of the orbit's first point whose images meet one another, and those of the chosen rows, lam times."""
        b = self.blocks.v
        own = [np.argsort(self.on_blocks[g]) for g in self._leading(orbit.point, orbit)]
        others = [self._images(self.orbits[i], row, orbit) for i, row in chosen.items()]
        fixed = np.concatenate([np.zeros((0, b), dtype=bool), *others])
        weights = rng.integers((1 << 60) // (b * (len(own) + len(fixed) + 1)), size=len(own) + len(fixed))
        parts = []
        for unions, size in zip(orbit.fixed_unions, sizes.tolist(), strict=True):
            held = np.zeros((0, b), dtype=bool) if not unions else _unions(unions, size, b, rng)
            sums = held @ (fixed.T.astype(np.int64) @ weights[len(own) :])
            for weight, back in zip(weights, own, strict=False):
                sums += weight * (held & held[:, back]).sum(axis=1)
            parts.append((sums, _packed(held)))
        return _joined(parts, self.parameters.lam * int(weights.sum()), rng)


@dataclass(frozen=True, eq=False)
class _Class:
    """For each sum which class of parts, alike in what they meet, is in it; where its members begin, and how many."""

    which: Integers
    first: Integers
    counts: Integers
    members: Bits

    def at(self, sums: Integers) -> _Class:
        """The same for some of the sums."""
        return _Class(self.which[sums], self.first, self.counts, self.members)


def _orbits(elements: Integers) -> list[Integers]:
    least = elements.min(axis=0)
    return [np.nonzero(least == first)[0] for first in np.unique(least)]


def _sums(sizes: list[int]) -> list[int]:
    """All sums of some of the sizes."""
    reached = {0}
    for size in sizes:
        reached |= {total + size for total in reached}
    return sorted(reached)


def _unions(unions: list[Integers], size: int, b: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Unions that hold `size` blocks as rows of shape (number, b): all of them, or as many as may be, at random."""
    lengths = np.array([len(union) for union in unions])
    alike = [np.nonzero(lengths == length)[0] for length in np.unique(lengths)]
    held = np.zeros((len(unions), b), dtype=bool)
    for i, union in enumerate(unions):
        held[i, union] = True
    found = [np.zeros((0, b), dtype=bool)]
    for numbers in product(*(range(len(members) + 1) for members in alike)):
        if sum(n * int(lengths[members[0]]) for n, members in zip(numbers, alike, strict=True)) == size:
            picked = [members[_subsets(len(members), n, rng)] for n, members in zip(numbers, alike, strict=True)]
            shape = [len(subsets) for subsets in picked]
            each = np.unravel_index(_some(prod(shape), _MOST_PARTS, rng), shape)
            rows = np.zeros((len(each[0]), b), dtype=bool)
            for subsets, at in zip(picked, each, strict=True):
                for column in subsets[at].T:
                    rows |= held[column]
            found.append(rows)
    rows = np.concatenate(found)
    return rows[_some(len(rows), _MOST_PARTS, rng)]


def _some(number: int, most: int, rng: np.random.Generator) -> Integers:
    """0..number - 1, or some of them at random if there are too many."""
    if number <= most:
        return np.arange(number)
    drawn = np.sort(rng.integers(number, size=most))
    return drawn[np.diff(drawn, prepend=-1) > 0]


def _subsets(m: int, n: int, rng: np.random.Generator) -> Integers:
    """The n-subsets of 0..m-1, shape (number, n), or some at random if there are too many."""
    if comb(m, n) <= _MOST_PARTS:
        flat = [x for subset in combinations(range(m), n) for x in subset]
        return np.array(flat, dtype=np.int64).reshape(comb(m, n), n)
    return np.unique(np.sort(rng.random((_MOST_PARTS, m)).argsort(axis=1)[:, :n], axis=1), axis=0)


def _packed(held: npt.NDArray[np.bool_]) -> Bits:
    """Rows of bits as rows of words."""
    words = -(-held.shape[1] // 64)
    padded = np.zeros((len(held), 64 * words), dtype=bool)
    padded[:, : held.shape[1]] = held
    return np.packbits(padded, axis=1).view(np.uint64)


def _unpacked(row: Bits, b: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(row.view(np.uint8))[:b].astype(bool)


def _joined(parts: list[tuple[Integers, Bits]], target: int, rng: np.random.Generator) -> Bits:
    """Rows of one part from each list whose sums add up to the target, at random if there are too many."""
    none = np.zeros(1, dtype=np.int64)
    sides: list[tuple[Integers, list[_Class]]] = [(none, []), (none, [])]
    for sums, words in sorted(parts, key=lambda part: -len(part[0])):
        values, member, counts = np.unique(sums, return_inverse=True, return_counts=True)
        smaller = min(range(2), key=lambda side: len(sides[side][0]))
        total, classes = sides[smaller]
        shape = len(total), len(values)
        i, j = np.unravel_index(_some(prod(shape), _MOST_SUMS, rng), shape)
        held = _Class(j.astype(np.int32), np.cumsum(counts) - counts, counts, words[np.argsort(member, kind="stable")])
        sides[smaller] = total[i] + values[j], [*(other.at(i) for other in classes), held]
    (left, left_classes), (right, right_classes) = sides
    # Sums that are looked up in ascending order are found in the caches.
    order, by_size = np.argsort(right, kind="stable"), np.argsort(left, kind="stable")[::-1]
    left, left_classes = left[by_size], [held.at(by_size) for held in left_classes]
    begin = np.searchsorted(right[order], target - left, side="left")
    number = np.searchsorted(right[order], target - left, side="right") - begin
    shuffled = rng.permutation(len(left))
    number[shuffled[np.cumsum(number[shuffled]) > _MOST_ROWS]] = 0
    i, within = _expanded(number)
    j = order[begin[i] + within]
    return _members(
        [*(held.at(i) for held in left_classes), *(held.at(j) for held in right_classes)], words.shape[1], rng
    )


def _expanded(number: Integers) -> tuple[Integers, Integers]:
    """For counts n_0, n_1, ...: each index i, n_i times, and 0..n_i - 1 beside it."""
    i = np.repeat(np.arange(len(number)), number)
    return i, np.arange(len(i)) - np.repeat(np.cumsum(number) - number, number)


def _members(chosen: list[_Class], words: int, rng: np.random.Generator) -> Bits:
    """The rows of each match of classes: a member of each class, in all ways."""
    number = np.prod([held.counts[held.which] for held in chosen], axis=0)
    order = rng.permutation(len(number))
    i, within = _expanded(number[order[np.cumsum(number[order]) <= _MOST_ROWS]])
    i = order[i]
    rows = np.zeros((len(i), words), dtype=np.uint64)
    for held in chosen:
        which = held.which[i]
        within, place = np.divmod(within, held.counts[which])
        rows |= held.members[held.first[which] + place]
    return rows
