"""Parts of base blocks in two orbits, known up to a normal subgroup, and made known up to a smaller one.

A part is how many points a base block has in each orbit of the subgroup. The parts in one orbit of the group make a
difference family of their own; after that each base block still has as many turns of one part against the other as
the larger subgroup has cosets of the smaller. Both times the first base blocks and the others meet in the middle.
Covers are compared as sums of random weights of the pair orbits, modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import comb, gcd, isqrt, prod

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup

__all__ = ["Refinement"]

Integers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]

_TABLE, _SAMPLES, _EARLY, _LATE, _PORTIONS = 1 << 23, 1 << 20, 1 << 21, 1 << 20, 4


class Refinement:
    """A step from a normal subgroup to a smaller one, of a group that is regular on two orbits.

    Parameters
    ----------
    orbits
        The points of each of the two, in ascending order.
    large, small
        All elements of the subgroups.
    """

    def __init__(
        self,
        parameters: Parameters,
        group: PermutationGroup,
        orbits: list[Integers],
        large: Integers,
        small: Integers,
        rng: np.random.Generator,
    ) -> None:
        self.known = [_cells(large, orbit) for orbit in orbits]
        self.cells = [_cells(small, orbit) for orbit in orbits]
        places = list(zip(orbits, self.cells, strict=True))
        moved = [_moved(group.elements, orbit, cells) for orbit, cells in places]
        self.turns = [np.unique(_moved(large, orbit, cells), axis=0) for orbit, cells in places]
        count = len(moved[0][0])
        times = np.full(count, parameters.lam * len(small), dtype=np.uint64)
        self.marks = rng.integers(1 << 63, size=count, dtype=np.uint64)
        self.weights, self.targets = {}, {}
        for a, b in ((0, 0), (1, 1), (0, 1)):
            # Every pair of cells is the image of just one that begins with the first.
            orbitals = np.empty((count, count), dtype=np.int64)
            orbitals[moved[a][:, :1], moved[b]] = np.arange(count)
            weights = rng.integers(1 << 63, size=count, dtype=np.uint64)
            self.weights[a, b] = weights[orbitals]
            alike = np.uint64((int(parameters.r) - parameters.lam) * (a == b))
            self.targets[a, b] = (weights * times).sum(keepdims=True) + alike * weights[:1]

    def refined(self, parts: list[Integers], rng: np.random.Generator) -> Iterator[list[Integers]]:
        """Parts of shape (base blocks, orbits of the smaller subgroup) in both orbits, as they are met.

        `parts` has those of the larger subgroup.
        """
        most = isqrt(_EARLY // len(self.turns[0]) ** (len(parts[0]) // 2))
        listed = []
        for a, in_orbit in enumerate(parts):
            listed.append(self._listed(a, in_orbit, most, rng))
            if not len(listed[a][1][1]):
                return
        (xs, in_first), (ys, in_second) = listed
        turned = [y[:, self.turns[1]] for y in ys]
        tables = [
            self._covers(0, x)[:, None, None]
            + self._covers(1, y)[:, None]
            + np.tensordot(x @ self.weights[0, 1], t, (1, 2))
            for x, y, t in zip(xs, ys, turned, strict=True)
        ]
        target = np.sum(list(self.targets.values()), axis=0)
        for first, second, turns in _met(tables, [in_first, in_second], target, rng):
            yield [
                np.array([x[i] for x, i in zip(xs, first, strict=True)], dtype=np.int64),
                np.array([y[i, turn] for y, i, turn in zip(turned, second, turns, strict=True)], dtype=np.int64),
            ]

    def _listed(
        self, a: int, in_orbit: Integers, most: int, rng: np.random.Generator
    ) -> tuple[list[Sums], tuple[Integers, Integers]]:
        """Parts in one orbit, a list for each base block, and their places in families: first half and others."""
        drawn = [self._drawn(a, part, rng) for part in in_orbit]
        family = _family([self._covers(a, each) for each in drawn], self.targets[a, a], most, rng)
        used = [np.unique(places, return_inverse=True) for half in family for places in half.T]
        lists = [each[places] for each, (places, _) in zip(drawn, used, strict=True)]
        columns = [renumbered for _, renumbered in used]
        half = len(columns) // 2
        return lists, (np.column_stack(columns[:half]), np.column_stack(columns[half:]))

    def _covers(self, a: int, drawn: Sums) -> Sums:
        """What each part covers in its own orbit."""
        return ((drawn @ self.weights[a, a]) * drawn).sum(axis=1)

    def _drawn(self, a: int, part: Integers, rng: np.random.Generator) -> Sums:
        """Different parts that come to the given one under the larger subgroup, one for all that are turns of it."""
        known, cells, turns = self.known[a], self.cells[a], self.turns[a]
        subsets = prod(comb(int(n), int(i)) for n, i in zip(np.bincount(known), part, strict=True))
        most = min(isqrt(_TABLE // len(turns)), 4 * subsets)
        order = np.argsort(rng.random((most, len(known))) + known, axis=1)
        rank = np.arange(len(known)) - np.searchsorted(np.sort(known), np.sort(known))
        points = order[:, rank < part[np.sort(known)]]
        counts = (cells[points][:, :, None] == np.arange(len(self.marks))).sum(axis=1).astype(np.uint64)
        least = np.argmin(counts[:, turns] @ self.marks, axis=1)
        return np.unique(np.take_along_axis(counts, turns[least], axis=1), axis=0)


def _cells(subgroup: Integers, orbit: Integers) -> Integers:
    """The number of the subgroup's orbit in which each point is."""
    return np.unique(subgroup[:, orbit].min(axis=0), return_inverse=True)[1]


def _moved(elements: Integers, orbit: Integers, cells: Integers) -> Integers:
    """To which cell each element sends each cell; shape (elements, cells)."""
    firsts = orbit[np.unique(cells, return_index=True)[1]]
    return cells[np.searchsorted(orbit, elements[:, firsts])]


def _family(covers: list[Sums], target: Sums, most: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Places in the first half of the lists, about `most` rows, and in the others, that often add up to the target."""
    half = len(covers) // 2
    sums = _added([each[None] for each in covers[:half]])[0]
    kinds, which, counts = np.unique(sums, return_inverse=True, return_counts=True)
    shape = [len(each) for each in covers[half:]]
    late = np.column_stack(np.unravel_index(next(_portions(prod(shape), _SAMPLES, rng)), shape))
    missing = target - np.sum([each[i] for each, i in zip(covers[half:], late.T, strict=True)], axis=0, dtype=np.uint64)
    at = np.minimum(np.searchsorted(kinds, missing), len(kinds) - 1)
    fits = kinds[at] == missing
    met = np.bincount(at[fits], minlength=len(kinds))
    order = np.argsort(-met)
    chosen = met > 0
    chosen[order[1 + np.searchsorted(np.cumsum(counts[order]), most) :]] = False
    return np.argwhere(chosen[which].reshape(sums.shape)), late[fits & chosen[at]]


def _met(
    tables: list[Sums], families: list[tuple[Integers, Integers]], target: Sums, rng: np.random.Generator
) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Of each base block the places of its parts and the turn, such that sums from the tables add up to the target.

    `tables[j][x, y, t]` is for the parts x and y of base block j, the latter turned by t. All may be turned together,
    so that one base block is not.
    """
    half, turns = len(tables) // 2, tables[0].shape[2]

    def pairs(late: int, most: int) -> Iterator[tuple[Integers, Integers]]:
        xs, ys = families[0][late], families[1][late]
        for chosen in _portions(len(xs) * len(ys), most, rng):
            yield xs[chosen // len(ys)], ys[chosen % len(ys)]

    def added(tables: list[Sums], xs: Integers, ys: Integers) -> Sums:
        return _added([table[x, y] for table, x, y in zip(tables, xs.T, ys.T, strict=True)])

    fixed = [tables[half][:, :, :1], *tables[half + 1 :]]
    early_xs, early_ys = next(pairs(0, max(1, _EARLY // turns**half)))
    early = added(tables[:half], early_xs, early_ys)
    flat = np.sort(early, axis=None)
    for late_xs, late_ys in pairs(1, max(1, _LATE // turns ** (len(fixed) - 1))):
        missing = target - added(fixed, late_xs, late_ys)
        wanted = np.sort(missing, axis=None)
        at = np.minimum(np.searchsorted(flat, wanted), len(flat) - 1)
        for found in np.unique(wanted[flat[at] == wanted]):
            for (i, *first), (j, *then) in product(np.argwhere(early == found), np.argwhere(missing == found)):
                xs, ys = np.concatenate([early_xs[i], late_xs[j]]), np.concatenate([early_ys[i], late_ys[j]])
                yield xs, ys, np.array([*first, *then])


def _portions(number: int, most: int, rng: np.random.Generator) -> Iterator[Integers]:
    """The numbers below `number` from a random one on, in steps as random, `most` at a time; some portions at most."""
    first, step = rng.integers(number, size=2)
    while gcd(int(step), number) > 1:
        step += 1
    for start in range(0, min(number, _PORTIONS * most), most):
        yield (first + step * np.arange(start, min(start + most, number))) % number


def _added(terms: list[Sums]) -> Sums:
    """Sums of one entry of each term, rows apart: shape (rows, n, ..., n)."""
    total = terms[0]
    for term in terms[1:]:
        total = total[..., None] + term.reshape(len(term), *[1] * (total.ndim - 1), -1)
    return total
