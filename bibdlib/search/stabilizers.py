"""What a base block can look like: a union of orbits of the subgroup that fixes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import comb, log

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bibdlib.numbers import factorization
from bibdlib.permutation_groups import PermutationGroup, Permutations, permutation_group

__all__ = [
    "Stabilizer",
    "chained_stabilizers",
    "cyclic_stabilizers",
    "generated_stabilizers",
    "orbits_of",
    "stabilizer",
    "unlike",
]


@dataclass(frozen=True, eq=False)
class Stabilizer:
    """A subgroup H of a group G, the points of each of its orbits, and what they add to the pairs.

    A block that is a union of H-orbits is developed |G : H| times. Two of its H-orbits s and t, or one of them
    (s = t), then lie together `amounts[e]` times on each pair of the G-orbit `orbits[e]`, for e from
    `starts[s * m + t]` to `starts[s * m + t + 1]`, where m is the number of H-orbits.
    """

    group: PermutationGroup
    order: int
    unions: tuple[tuple[int, ...], ...]
    starts: Permutations = field(repr=False)
    orbits: Permutations = field(repr=False)
    amounts: Permutations = field(repr=False)

    @property
    def index(self) -> int:
        """How many blocks a base block is developed into."""
        return self.group.order // self.order

    @cached_property
    def sizes(self) -> Permutations:
        """The length of each H-orbit."""
        return np.array([len(union) for union in self.unions], dtype=np.int64)

    @cached_property
    def openings(self) -> tuple[Permutations, Permutations]:
        """Cells with which a union that covers a pair orbit may begin, and where those of each pair orbit start.

        All cells that cover it, but a single one where only the identity fixes the block: the others are its images.
        """
        m = len(self.unions)
        cells = np.repeat(np.arange(m * m), np.diff(self.starts))
        upper = cells // m <= cells % m
        cells, covered = cells[upper], self.orbits[upper]
        order = np.argsort(covered, kind="stable")
        cells, covered = cells[order], covered[order]
        if self.order == 1:
            covered, first = np.unique(covered, return_index=True)
            cells = cells[first]
        return cells, np.searchsorted(covered, np.arange(len(self.group.pair_orbit_lengths) + 1))

    @cached_property
    def classes(self) -> Permutations:
        """The number of the class of each H-orbit, see `classes_under`, where all of G acts."""
        return self.classes_under(self.group.elements)

    def classes_under(self, acting: Permutations) -> Permutations:
        """The number of the class of each H-orbit: those elements of G, shape (n, v), that permute them make classes.

        A union of H-orbits and its image under such an element are developed into the same blocks.
        """
        within = np.empty(self.group.v, dtype=np.int64)
        for i, union in enumerate(self.unions):
            within[list(union)] = i
        firsts = np.array([union[0] for union in self.unions])
        moved = within[acting]
        permuting = (moved == moved[:, firsts[within]]).all(axis=1)
        return orbits_of(moved[permuting][:, firsts])

    def listed(self, block: list[int], times: int = 1) -> list[list[int]]:
        """A block that H fixes, developed |G : H| times: more than once if it has a larger stabilizer than H."""
        return [block] * (times * self.index // len(self.group.orbit(block)))

    def shapes(self, k: int) -> list[tuple[tuple[int, ...], int]]:
        """The multisets of lengths of H-orbits that add up to k, each with the number of its unions."""
        lengths, counts = np.unique(self.sizes, return_counts=True)
        found = []
        for chosen in _compositions(k, [(int(n), int(c)) for n, c in zip(lengths, counts, strict=True)]):
            number = 1
            for n, c in zip(lengths, counts, strict=True):
                number *= comb(int(c), chosen.count(int(n)))
            found.append((chosen, number))
        return found

    def log_number(self, k: int) -> float:
        """Logarithm of the number of k-subsets that are unions of H-orbits; -inf if there is none."""
        number = sum(n for _, n in self.shapes(k))
        return log(number) if number else float("-inf")


def _compositions(k: int, available: list[tuple[int, int]]) -> Iterator[tuple[int, ...]]:
    if not available:
        if k == 0:
            yield ()
        return
    (length, count), rest = available[-1], available[:-1]
    for used in range(min(count, k // length), -1, -1):
        for smaller in _compositions(k - used * length, rest):
            yield (*smaller, *([length] * used))


def cyclic_stabilizers(group: PermutationGroup) -> list[Stabilizer]:
    """One for each conjugacy class of cyclic subgroups, the trivial subgroup first, then by order."""
    elements = group.elements
    keys = group.keys(elements)
    by_key = np.argsort(keys)
    done = np.zeros(group.order, dtype=bool)
    subgroups = []
    for i in range(group.order):
        if done[i]:
            continue
        powers = [np.arange(group.v)]
        while (power := elements[i][powers[-1]]).tolist() != powers[0].tolist():
            powers.append(power)
        n = len(powers)
        for exponent in range(1, n + 1):
            if np.gcd(exponent, n) == 1:
                conjugates = group.conjugates(powers[exponent % n])
                done[by_key[np.searchsorted(keys, group.keys(conjugates), sorter=by_key)]] = True
        subgroups.append(np.array(powers))
    return [stabilizer(group, powers) for powers in sorted(subgroups, key=len)]


def generated_stabilizers(group: PermutationGroup, tries: int = 100) -> list[Stabilizer]:
    """Some that two random elements generate, the same ones each time, none of them the whole group, see `unlike`."""
    rng = np.random.default_rng(0)
    pairs = (permutation_group(group.elements[rng.integers(group.order, size=2)]).elements for _ in range(tries))
    return unlike(stabilizer(group, elements) for elements in pairs if len(elements) < group.order)


def chained_stabilizers(
    group: PermutationGroup, rng: np.random.Generator, chains: int, most_index: int
) -> list[Stabilizer]:
    """Subgroups of at most some index in random chains, each of prime index in the next one, which normalizes it.

    Every soluble subgroup is in such a chain. None is the whole group, see `unlike`.
    """
    elements = group.elements
    weights = rng.integers(1 << 40, size=group.v)
    keys = elements @ weights
    found = []
    for _ in range(chains):
        subgroup = elements[:1]
        generators: list[Permutations] = []
        while len(subgroup) < group.order:
            if group.order <= most_index * len(subgroup):
                found.append(stabilizer(group, subgroup))
            within = np.sort(subgroup @ weights)
            normalizes = np.ones(group.order, dtype=bool)
            for generator in generators:
                normalizes &= np.isin(group.conjugates(generator) @ weights, within)
            outside = np.nonzero(normalizes & ~np.isin(keys, within))[0]
            if not len(outside):
                break
            powers = [elements[rng.choice(outside)]]
            while powers[-1] @ weights not in within:
                powers.append(powers[0][powers[-1]])
            prime = int(rng.choice([p for p, _ in factorization(len(powers))]))
            generator = powers[len(powers) // prime - 1]
            cosets = [subgroup]
            for _ in range(prime - 1):
                cosets.append(generator[cosets[-1]])
            subgroup = np.concatenate(cosets)
            generators.append(generator)
    return unlike(found)


def orbits_of(permutations: Permutations) -> Permutations:
    """The number of the orbit of each of 0..m-1 under what permutations generate, shape (n, m)."""
    number = permutations.shape[1]
    starts = np.tile(np.arange(number), len(permutations))
    graph = coo_array((np.ones(len(starts)), (starts, permutations.ravel())), shape=(number, number))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def unlike(stabilizers: Iterable[Stabilizer]) -> list[Stabilizer]:
    """One of those of the same order whose orbits have the same lengths and pairs, as conjugate ones do."""
    kept: dict[object, Stabilizer] = {}
    for s in stabilizers:
        m = len(s.unions)
        within = [slice(*s.starts[i * (m + 1) :][:2]) for i in range(m)]
        alike = sorted(
            (len(u), s.orbits[w].tolist(), s.amounts[w].tolist()) for u, w in zip(s.unions, within, strict=True)
        )
        kept.setdefault(repr((s.order, alike)), s)
    return list(kept.values())


def stabilizer(group: PermutationGroup, elements: Permutations) -> Stabilizer:
    """The subgroup that has these elements of the group."""
    least = elements.min(axis=0)
    firsts, member = np.unique(least, return_inverse=True)
    unions = tuple(tuple(np.nonzero(least == first)[0].tolist()) for first in firsts)
    m = len(unions)
    x, y = np.triu_indices(group.v, 1)
    x, y = np.concatenate([x, y]), np.concatenate([y, x])
    apart = (member[x] != member[y]) | (x < y)
    x, y = x[apart], y[apart]
    pair_orbit = group.pair_orbits[x, y]
    number = len(group.pair_orbit_lengths)
    cells, counts = np.unique((member[x] * m + member[y]) * number + pair_orbit, return_counts=True)
    orbits = cells % number
    amounts = counts * (group.order // len(elements)) // group.pair_orbit_lengths[orbits]
    starts = np.searchsorted(cells // number, np.arange(m * m + 1))
    return Stabilizer(group, len(elements), unions, starts, orbits, amounts)
