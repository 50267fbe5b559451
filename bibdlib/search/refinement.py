"""Parts of base blocks in one or two orbits, known up to a normal subgroup, and made known up to a smaller one.

A part is how many points a base block has in each orbit of the subgroup. Parts in one of two orbits of the group make
a difference family of their own; after that each base block still has as many turns of one part against the other as
the larger subgroup has cosets of the smaller, fewer if some of these fix it. Always some base blocks and the others
meet in the middle. Covers are compared as sums of random weights of the pair orbits, modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, combinations_with_replacement
from math import comb, isqrt, prod

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.meeting import meetings, promising_rows, some_rows
from bibdlib.search.stabilizers import Stabilizer

__all__ = ["Refinement"]

Integers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.float64]

_LIST, _TABLE = 1 << 15, 1 << 23


class Refinement:
    """A step from a normal subgroup to a smaller one, of a group that is regular on one or two orbits.

    Parameters
    ----------
    orbits
        The points of each of them, in ascending order.
    large, small
        All elements of the subgroups.
    stabilizers
        The normal subgroup that fixes each base block.
    """

    def __init__(
        self,
        parameters: Parameters,
        group: PermutationGroup,
        orbits: list[Integers],
        large: Integers,
        small: Integers,
        stabilizers: list[Stabilizer],
        rng: np.random.Generator,
    ) -> None:
        steps = [_Step(group, orbit, large, small) for orbit in orbits]
        self.unions = [[_Unions(step, stabilizer) for stabilizer in stabilizers] for step in steps]
        self.longest = [
            min(_LIST, _TABLE // group.order) if len(orbits) == 1 else isqrt(_TABLE // len(unions.turns))
            for unions in self.unions[-1]
        ]
        count = steps[0].count
        times = np.full(count, parameters.lam * len(small), dtype=np.uint64)
        self.marks = _halved(rng.integers(1 << 63, size=count, dtype=np.uint64))
        self.weights, self.targets = {}, {}
        for a, b in combinations_with_replacement(range(len(orbits)), 2):
            # Every pair of cells is the image of just one that begins with the first.
            orbitals = np.empty((count, count), dtype=np.int64)
            orbitals[steps[a].moved[:, :1], steps[b].moved] = np.arange(count)
            weights = rng.integers(1 << 63, size=count, dtype=np.uint64)
            self.weights[a, b] = _halved(weights[orbitals])
            alike = np.uint64((int(parameters.r) - parameters.lam) * (a == b))
            self.targets[a, b] = (weights * times).sum(keepdims=True) + alike * weights[:1]

    def refined(self, parts: list[Integers], rng: np.random.Generator) -> Iterator[list[Integers]]:
        """Parts of shape (base blocks, orbits of the smaller subgroup) in each orbit, as they are met.

        `parts` has those of the larger subgroup.
        """
        turns = [unions.turns for unions in self.unions[-1]]
        drawn = [
            [
                unions.drawn(part, self.marks, most, rng)
                for unions, part, most in zip(in_orbit, known, self.longest, strict=True)
            ]
            for in_orbit, known in zip(self.unions, parts, strict=True)
        ]
        order, half = _halves([prod(map(len, lists)) for lists in zip(turns, *drawn, strict=True)])
        unions = [[in_orbit[j] for j in order] for in_orbit in self.unions]
        lists = [[in_orbit[j] for j in order] for in_orbit in drawn]
        met = self._in_one_orbit if len(parts) == 1 else self._in_two_orbits
        for found in met(unions, lists, half, rng):
            yield [np.array(part, dtype=np.int64)[np.argsort(order)] for part in found]

    def _in_one_orbit(
        self, unions: list[list[_Unions]], lists: list[list[Counts]], half: int, rng: np.random.Generator
    ) -> Iterator[list[list[Counts]]]:
        covers = self._covers(0, unions[0], lists[0])
        rows = some_rows(covers, half, rng)
        alone = np.zeros_like(rows[0][:1]), np.zeros_like(rows[1][:1])
        tables = [each[:, None, None] for each in covers]
        for places, _, _ in meetings(tables, half, [rows, alone], self.targets[0, 0], rng):
            yield [[each[i] for each, i in zip(lists[0], places, strict=True)]]

    def _in_two_orbits(
        self, unions: list[list[_Unions]], lists: list[list[Counts]], half: int, rng: np.random.Generator
    ) -> Iterator[list[list[Counts]]]:
        turns = [each.turns for each in unions[1]]
        rows, used = [], []
        for a in range(2):
            covers = self._covers(a, unions[a], lists[a])
            early, late = promising_rows(covers, half, self.targets[a, a], prod(map(len, turns[:half])), rng)
            if not len(early):
                return
            places = [np.unique(column, return_inverse=True) for column in (*early.T, *late.T)]
            renumbered = [column for _, column in places]
            rows.append((np.column_stack(renumbered[:half]), np.column_stack(renumbered[half:])))
            used.append([each[i] for each, (i, _) in zip(lists[a], places, strict=True)])
        xs, ys = used
        turned = [y[:, each] for y, each in zip(ys, turns, strict=True)]
        tables = [
            x_covers[:, None, None]
            + y_covers[:, None]
            + _joined(np.tensordot(each.once(x) @ w, y, (1, 2)) for w in self.weights[0, 1])
            for x_covers, y_covers, each, x, y in zip(
                self._covers(0, unions[0], xs), self._covers(1, unions[1], ys), unions[0], xs, turned, strict=True
            )
        ]
        target = np.sum(list(self.targets.values()), axis=0)
        for in_first, in_second, chosen in meetings(tables, half, rows, target, rng):
            yield [
                [x[i] for x, i in zip(xs, in_first, strict=True)],
                [y[i, turn] for y, i, turn in zip(turned, in_second, chosen, strict=True)],
            ]

    def _covers(self, a: int, unions: list[_Unions], lists: list[Counts]) -> list[Sums]:
        """What each part of each base block covers in its own orbit."""
        return [
            _joined(((each.once(x) @ w) * x).sum(axis=1) for w in self.weights[a, a])
            for each, x in zip(unions, lists, strict=True)
        ]


def _halves(numbers: list[int]) -> tuple[list[int], int]:
    """The base blocks in an order in which the first so many have about as many choices as the others, not more."""
    sides: list[list[int]] = [[], []]
    choices = [1, 1]
    for j in sorted(range(len(numbers)), key=lambda j: -numbers[j]):
        lighter = int(choices[1] < choices[0])
        sides[lighter].append(j)
        choices[lighter] *= numbers[j]
    first = int(choices[1] < choices[0])
    return sides[first] + sides[1 - first], len(sides[first])


class _Step:
    """The orbits of two subgroups, the smaller one's called cells, in one orbit of the group."""

    def __init__(self, group: PermutationGroup, orbit: Integers, large: Integers, small: Integers) -> None:
        self.orbit, self.known, self.cells = orbit, _cells(large, orbit), _cells(small, orbit)
        self.moved = self.images(group.elements)
        self.turns = np.unique(self.images(large), axis=0)
        self.count = len(self.moved[0])

    def images(self, elements: Integers) -> Integers:
        """To which cell each element sends each cell; shape (elements, cells)."""
        firsts = self.orbit[np.unique(self.cells, return_index=True)[1]]
        return self.cells[np.searchsorted(self.orbit, elements[:, firsts])]


class _Unions:
    """Parts of a base block in one orbit: unions of its stabilizer's orbits, drawn by where these are."""

    def __init__(self, step: _Step, stabilizer: Stabilizer) -> None:
        points = np.searchsorted(step.orbit, [u for u in stabilizer.unions if u[0] in step.orbit])
        known, cells = step.known[points], step.cells[points]
        merged = _merged(cells)
        which = _merged(known)[known[:, 0]]
        self.classes = [np.flatnonzero(which == i) for i in range(which.max() + 1)]
        self.known = known[[each[0] for each in self.classes], 0]
        self.within = (known == known[:, :1]).sum(axis=1)[0]
        self.held = (cells[:, :, None] == np.arange(step.count)).sum(axis=1).astype(float)
        self.turns = step.turns[np.unique(merged[step.turns], axis=0, return_index=True)[1]]
        self.single = np.zeros(step.count)
        self.single[np.unique(merged, return_index=True)[1]] = 1
        self.multiple = float((cells == cells[:, :1]).sum(axis=1)[0])

    def once(self, parts: Counts) -> Counts:
        """One point only of each of the stabilizer's orbits."""
        return parts / self.multiple * self.single

    def drawn(self, part: Integers, marks: list[Counts], most: int, rng: np.random.Generator) -> Counts:
        """Different parts that come to the given one under the larger subgroup, one for all that are turns of it.

        All if there are not more than `most`.
        """
        wanted = part[self.known] // self.within
        numbers = [comb(len(each), int(i)) for each, i in zip(self.classes, wanted, strict=True)]
        if prod(numbers) <= most:
            places = np.unravel_index(np.arange(prod(numbers)), numbers)
            choices = [list(combinations(each, i)) for each, i in zip(self.classes, wanted, strict=True)]
            chosen = [np.array(each, dtype=np.int64)[i] for each, i in zip(choices, places, strict=True)]
        else:
            keys = [rng.random((most, len(each))) for each in self.classes]
            chosen = [
                each[np.argsort(key, axis=1)[:, :i]] for each, key, i in zip(self.classes, keys, wanted, strict=True)
            ]
        counts = np.zeros((len(chosen[0]), len(self.single)))
        for orbit in np.column_stack(chosen).T:
            counts += self.held[orbit]
        sums = np.array([_joined(counts[:, turn] @ mark for mark in marks) for turn in self.turns]).min(axis=0)
        return counts[np.unique(sums, return_index=True)[1]]


def _cells(subgroup: Integers, orbit: Integers) -> Integers:
    """The number of the subgroup's orbit in which each point is."""
    return np.unique(subgroup[:, orbit].min(axis=0), return_inverse=True)[1]


def _merged(cells: Integers) -> Integers:
    """The number of the set in which each cell is after those in a row have been put together; rows overlap in full."""
    least = np.empty(cells.max() + 1, dtype=np.int64)
    least[cells] = cells.min(axis=1, keepdims=True)
    return np.unique(least, return_inverse=True)[1]


def _halved(words: Sums) -> list[Counts]:
    """The low and the high 32 bits, as floats: sums of their products with counts are exact, and fast."""
    low, shift = np.uint64((1 << 32) - 1), np.uint64(32)
    return [(words & low).astype(float), (words >> shift).astype(float)]


def _joined(halves: Iterable[Counts]) -> Sums:
    low, high = (half.astype(np.uint64) for half in halves)
    return low + (high << np.uint64(32))
