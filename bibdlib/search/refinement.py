"""Parts of base blocks in one or two orbits, known up to a normal subgroup, and made known up to a smaller one.

A part is how many points a base block has in each orbit of the subgroup. Parts in one of two orbits of the group make
a difference family of their own; after that each base block still has as many turns of one part against the other as
the larger subgroup has cosets of the smaller, fewer if some of these fix it. Always some base blocks and the others
meet in the middle. Covers are compared as sums of random weights of the pair orbits, modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement
from math import comb, inf, isqrt, prod

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.meeting import meetings, promising_rows
from bibdlib.search.stabilizers import Stabilizer

__all__ = ["Refinement"]

Integers = npt.NDArray[np.int64]
Members = npt.NDArray[np.int16]
Sums = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.float64]

# Most parts that are all listed, most that are drawn or held as rows, how many are held at once, how many are kept; in
# two orbits most pairs of parts of a base block, in all turns.
_LISTED, _DRAWN, _LONG, _KEPT, _TABLE = 1 << 24, 1 << 20, 1 << 12, 1 << 12, 1 << 23


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
    across
        In one orbit, a normal subgroup that has only the smaller one's elements in common with the larger: what base
        blocks cover up to it takes few values, and these meet first.
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
        across: Stabilizer | None = None,
    ) -> None:
        steps = [_Step(group, orbit, large, small) for orbit in orbits]
        count = steps[0].count
        times = np.full(count, parameters.lam * len(small), dtype=np.uint64)
        marks = rng.integers(1 << 63, size=count, dtype=np.uint64)
        self.weights, self.targets = {}, {}
        for a, b in combinations_with_replacement(range(len(orbits)), 2):
            # Every pair of cells is the image of just one that begins with the first.
            orbitals = np.empty((count, count), dtype=np.int64)
            orbitals[steps[a].moved[:, :1], steps[b].moved] = np.arange(count)
            weights = rng.integers(1 << 63, size=(1, count), dtype=np.uint64)
            if len(orbits) == 1:
                # Coarse weights, equal where the subgroup does not tell pair orbits apart, come first.
                classes = steps[0].merged(across) if across else np.zeros(count, dtype=np.int64)
                weights = np.concatenate([weights[:, classes], weights])
            self.weights[a, b] = [_halved(each[orbitals]) for each in weights]
            alike = np.uint64((int(parameters.r) - parameters.lam) * (a == b))
            self.targets[a, b] = (weights * times).sum(axis=1) + alike * weights[:, 0]
        self.unions = []
        for a, step in enumerate(steps):
            unions = {each: _Unions(step, each, marks, self.weights[a, a]) for each in set(stabilizers)}
            self.unions.append([unions[each] for each in stabilizers])
        self.longest = [inf if len(orbits) == 1 else isqrt(_TABLE // len(unions.turns)) for unions in self.unions[-1]]

    def refined(self, parts: list[Integers], rng: np.random.Generator) -> Iterator[list[Integers]]:
        """Parts of shape (base blocks, orbits of the smaller subgroup) in each orbit, as they are met.

        `parts` has those of the larger subgroup.
        """
        turns = [unions.turns for unions in self.unions[-1]]
        drawn = [
            [unions.drawn(part, most, rng) for unions, part, most in zip(in_orbit, known, self.longest, strict=True)]
            for in_orbit, known in zip(self.unions, parts, strict=True)
        ]
        order, half = _halves(
            [len(turn) * prod(parts.number for parts in lists) for turn, *lists in zip(turns, *drawn, strict=True)]
        )
        unions = [[in_orbit[j] for j in order] for in_orbit in self.unions]
        lists = [[in_orbit[j] for j in order] for in_orbit in drawn]
        met = self._in_one_orbit if len(parts) == 1 else self._in_two_orbits
        for found in met(unions, lists, half, rng):
            yield [np.array(part, dtype=np.int64)[np.argsort(order)] for part in found]

    def _in_one_orbit(
        self, unions: list[list[_Unions]], lists: list[list[_Parts]], half: int, rng: np.random.Generator
    ) -> Iterator[list[list[Counts]]]:
        from bibdlib.search.classes import class_meetings

        for places in class_meetings([each.covers for each in lists[0]], half, self.targets[0, 0], rng):
            found = [each.counts(x[np.array([i])]) for each, x, i in zip(unions[0], lists[0], places, strict=True)]
            yield [[counts[0] for counts in found]]

    def _in_two_orbits(
        self, unions: list[list[_Unions]], lists: list[list[_Parts]], half: int, rng: np.random.Generator
    ) -> Iterator[list[list[Counts]]]:
        turns = [each.turns for each in unions[1]]
        rows, used, covered = [], [], []
        for a in range(2):
            covers = [each.covers[0] for each in lists[a]]
            early, late = promising_rows(covers, half, self.targets[a, a], prod(map(len, turns[:half])), rng)
            if not len(early):
                return
            places = [np.unique(column, return_inverse=True) for column in (*early.T, *late.T)]
            renumbered = [column for _, column in places]
            rows.append((np.column_stack(renumbered[:half]), np.column_stack(renumbered[half:])))
            used.append([each.counts(x[i]) for each, x, (i, _) in zip(unions[a], lists[a], places, strict=True)])
            covered.append([each[i] for each, (i, _) in zip(covers, places, strict=True)])
        xs, ys = used
        turned = [y[:, each] for y, each in zip(ys, turns, strict=True)]
        tables = [
            x_covers[:, None, None]
            + y_covers[:, None]
            + _joined(np.tensordot(each.once(x) @ w, y, (1, 2)) for w in self.weights[0, 1][0])
            for x_covers, y_covers, each, x, y in zip(*covered, unions[0], xs, turned, strict=True)
        ]
        target = np.sum(list(self.targets.values()), axis=0)
        for in_first, in_second, chosen in meetings(tables, half, rows, target, rng):
            yield [
                [x[i] for x, i in zip(xs, in_first, strict=True)],
                [y[i, turn] for y, i, turn in zip(turned, in_second, chosen, strict=True)],
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

    def points(self, stabilizer: Stabilizer) -> Integers:
        """Of each of a subgroup's orbits the places of its points in the orbit."""
        return np.searchsorted(self.orbit, [u for u in stabilizer.unions if u[0] in self.orbit])

    def merged(self, stabilizer: Stabilizer) -> Integers:
        """The number of the set in which each cell is, when a subgroup's orbits put cells together."""
        return _merged(self.cells[self.points(stabilizer)])


class _Unions:
    """Parts of a base block in one orbit: unions of its stabilizer's orbits, drawn by where these are."""

    def __init__(self, step: _Step, stabilizer: Stabilizer, marks: Sums, weights: list[list[Counts]]) -> None:
        points = step.points(stabilizer)
        known, cells = step.known[points], step.cells[points]
        merged = _merged(cells)
        which = _merged(known)[known[:, 0]]
        self.classes = [np.flatnonzero(which == i).astype(np.int16) for i in range(which.max() + 1)]
        self.known = known[[each[0] for each in self.classes], 0]
        self.within = (known == known[:, :1]).sum(axis=1)[0]
        self.held = (cells[:, :, None] == np.arange(step.count)).sum(axis=1).astype(float)
        self.turns = step.turns[np.unique(merged[step.turns], axis=0, return_index=True)[1]]
        self.single = np.zeros(step.count)
        self.single[np.unique(merged, return_index=True)[1]] = 1
        self.multiple = float((cells == cells[:, :1]).sum(axis=1)[0])
        # Of each of the stabilizer's orbits in all turns, and of two of them.
        self.marks = np.array([self.held[:, turn].astype(np.uint64) @ marks for turn in self.turns])
        self.kinds = [_kinds(self.marks[0, each]) for each in self.classes]
        once = self.once(self.held)
        self.pairs = [_joined(once @ w @ self.held.T for w in halves) for halves in weights]
        self.lists: dict[bytes, _Parts] = {}

    def once(self, parts: Counts) -> Counts:
        """One point only of each of the stabilizer's orbits."""
        return parts / self.multiple * self.single

    def counts(self, parts: Members) -> Counts:
        """How many points each part has in each cell."""
        counts = np.zeros((len(parts), len(self.single)))
        for orbit in parts.T:
            counts += self.held[orbit]
        return counts

    def drawn(self, part: Integers, most: float, rng: np.random.Generator) -> _Parts:
        """Different parts that come to the given one under the larger subgroup, one for all that are turns of it.

        All if there are not more than `most`, and they need little memory; else random ones. Short lists of all are
        kept: many solutions have parts in common.
        """
        if (known := part.tobytes()) in self.lists:
            return self.lists[known]
        wanted = (part[self.known] // self.within).tolist()
        if parts := self._all(wanted, most):
            if parts.number <= _KEPT:
                self.lists[known] = parts
            return parts
        times = int(min(most, _DRAWN))
        drawn = [_drawn(each, i, times, rng) for each, i in zip(self.classes, wanted, strict=True)]
        return _Parts([_unlike(np.column_stack(drawn), self.marks)], self.pairs)

    def _all(self, wanted: list[int], most: float) -> _Parts | None:
        """All with so many of the stabilizer's orbits in each class, if they are not too many."""
        if prod(comb(len(each), i) for each, i in zip(self.classes, wanted, strict=True)) > most:
            return None
        numbers = [_number_of_choices(each, i) for each, i in zip(self.kinds, wanted, strict=True)]
        if prod(numbers) > _LISTED or max(numbers) > _DRAWN:
            return None
        choices = [each[_choices(same, i)] for each, same, i in zip(self.classes, self.kinds, wanted, strict=True)]
        moved = next((j for j, each in enumerate(choices) if len(each) > 1), 0)
        firsts = np.sort(_firsts(choices[moved], self.marks))
        # Where the turns move all choices of a class, those of the others need not be told apart.
        if all_moved := len(firsts) * len(self.marks) == len(choices[moved]):
            choices[moved] = choices[moved][firsts]
        parts = _Parts(choices, self.pairs)
        if all_moved and parts.number > _LONG:
            return parts
        if parts.number > _DRAWN:
            return None
        return _Parts([_unlike(parts[np.arange(parts.number)], self.marks)], self.pairs)


class _Parts:
    """Parts of a base block in one orbit: one row of its stabilizer's orbits from every table."""

    def __init__(self, tables: list[Members], pairs: list[Sums]) -> None:
        self.tables, self.pairs, self.shape = tables, pairs, [len(table) for table in tables]
        self.number = prod(self.shape)

    def __getitem__(self, places: Integers) -> Members:
        rows = np.unravel_index(places, self.shape)
        return np.column_stack([table[i] for table, i in zip(self.tables, rows, strict=True)])

    @cached_property
    def covers(self) -> Sums:
        """The sums of the weights over all pairs of each, a row for all of the same weights."""
        from bibdlib.search.covers import pair_sums

        members = np.concatenate([table.ravel() for table in self.tables])
        widths = np.array([table.shape[1] for table in self.tables])
        return np.array([pair_sums(members, widths, np.array(self.shape), weights) for weights in self.pairs])


def _kinds(marks: Sums) -> tuple[int, ...]:
    """The number of each member's kind, the same for equal marks, in the order in which kinds appear."""
    _, firsts, kinds = np.unique(marks, return_index=True, return_inverse=True)
    return tuple(np.argsort(np.argsort(firsts))[kinds].tolist())


def _number_of_choices(kinds: tuple[int, ...], number: int) -> int:
    """In how many ways so many members can be chosen, if those of the same kind are not told apart."""
    ways = np.ones(1)
    for size in np.bincount(kinds):
        ways = np.convolve(ways, np.ones(size + 1))[: number + 1]
    return int(ways[number])


@lru_cache(maxsize=100)
def _choices(kinds: tuple[int, ...], number: int) -> Members:
    """These ways, of each kind the first members, as rows of their places in lexicographic order."""
    alike, sizes = np.array(kinds), np.bincount(kinds)
    chosen = np.zeros((1, 0), dtype=np.int64)
    for i, size in enumerate(sizes):
        longer = [np.column_stack([chosen, np.full(len(chosen), n)]) for n in range(size + 1)]
        chosen = np.concatenate(longer)
        left = number - chosen.sum(axis=1)
        chosen = chosen[(left >= 0) & (left <= sizes[i + 1 :].sum())]
    before = np.tril(alike[:, None] == alike, -1).sum(axis=1)
    rows = np.nonzero(before < chosen[:, alike])[1].reshape(len(chosen), number).astype(np.int16)
    return rows[np.lexsort(rows.T[::-1])] if number else rows


def _drawn(members: Members, number: int, times: int, rng: np.random.Generator) -> Members:
    """As many random subsets, some at a time so that the keys need little memory."""
    subsets = []
    for first in range(0, times, _LONG):
        keys = rng.random((min(times - first, _LONG), len(members)))
        subsets.append(members[np.argpartition(keys, min(number, len(members) - 1), axis=1)[:, :number]])
    return np.concatenate(subsets)


def _unlike(parts: Members, turned: Sums) -> Members:
    """One of those that are turns of each other, in the order of their least sums of marks."""
    return parts[_firsts(parts, turned)]


def _firsts(parts: Members, turned: Sums) -> Integers:
    """Where the first is of those that are turns of each other, in the same order."""
    from bibdlib.search.covers import least_sums

    return np.unique(least_sums(parts, turned), return_index=True)[1]


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
