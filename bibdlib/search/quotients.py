"""Base blocks modulo a normal subgroup, by annealing, then those that lie above them, which meet in the middle.

What base blocks look like modulo the subgroup is a tactical decomposition, see `bibdlib.search.tactical`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bibdlib.errors import InvalidParameters
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.annealing import annealed
from bibdlib.search.layouts import Layout, layouts
from bibdlib.search.outcome import Outcome
from bibdlib.search.stabilizers import Stabilizer, chained_stabilizers, cyclic_stabilizers, orbits_of, unlike

__all__ = ["Quotients"]

Integers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]

_CHAINS, _BASE_BLOCKS, _LAYOUTS = 30, 4, 8
# With few kinds of pairs local search tells whether a layout seems possible; with many it hardly ever ends.
_FEW_KINDS, _TRIALS, _MANY_KINDS, _QUOTIENTS = 5, 40, 16, 2
_MOVES, _HOT, _COLD = 500_000, 1.5, 0.8
_UNIONS_AND_STEPS = 1 << 20, 20_000_000


class Quotients:
    """Rounds that anneal the orbits of a normal subgroup on base blocks, then list and join what lies above them.

    For groups with an intransitive normal subgroup, and at most four base blocks. Rounds take in turns the two
    subgroups that leave most kinds of pairs, of 16 at most, and the layouts that seem possible.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        chained = chained_stabilizers(group, np.random.default_rng(0), _CHAINS, int(parameters.b))
        stabilizers = unlike(cyclic_stabilizers(group) + chained)
        found = layouts(parameters, group, stabilizers)
        self.layouts = [layout for layout in found if len(layout.of_each) <= _BASE_BLOCKS][:_LAYOUTS]
        self.quotients = [
            quotient for acting in _normal(group) if (quotient := _Quotient(group, acting)).kinds <= _MANY_KINDS
        ]
        self.quotients.sort(key=lambda quotient: -quotient.kinds)
        if not (self.layouts and self.quotients):
            raise InvalidParameters(
                "Argument 'group' must, for 'quotients', have an intransitive normal subgroup with at most "
                f"{_MANY_KINDS} kinds of pairs of its orbits, and leave at most {_BASE_BLOCKS} base blocks; "
                f"{group.name} does not for {parameters}."
            )

    @cached_property
    def cases(self) -> list[tuple[_Quotient, Layout]]:
        """What rounds take in turns: all layouts if none seems possible. Long to tell, so left to the first round."""
        few = [quotient for quotient in self.quotients if quotient.kinds <= _FEW_KINDS]
        likely = [layout for layout in self.layouts if all(self._is_possible(quotient, layout) for quotient in few)]
        return list(product(self.quotients[:_QUOTIENTS], likely or self.layouts))

    def _is_possible(self, quotient: _Quotient, layout: Layout) -> bool:
        """Whether local search finds base blocks modulo the subgroup, in a few trials that are always the same."""
        rng = np.random.default_rng(0)
        return any(self._drawn(quotient, layout, rng) for _ in range(_TRIALS))

    def _drawn(
        self, quotient: _Quotient, layout: Layout, rng: np.random.Generator
    ) -> list[tuple[Stabilizer, list[int]]]:
        """Base blocks of a layout that are right modulo the subgroup, or []."""
        coarse, target = quotient.layout(layout, self.parameters.lam)
        cost, unions = annealed(coarse, self.parameters.k, target, _MOVES, _HOT, _COLD, rng)
        return [] if cost else unions

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        from bibdlib.search.meeting import meeting_places

        rng = np.random.default_rng((self.seed, number))
        quotient, layout = self.cases[number % len(self.cases)]
        lam = self.parameters.lam
        unions = self._drawn(quotient, layout, rng)
        if not unions:
            return Outcome(None, [])
        weights = rng.integers(1 << 64, size=len(self.group.pair_orbit_lengths), dtype=np.uint64)
        above = [
            quotient.above(s, union, weights, lam, rng) for s, (_, union) in zip(layout.of_each, unions, strict=True)
        ]
        places = meeting_places([sums for _, sums in above], (weights * np.uint64(lam)).sum(), rng)
        if not places:
            return Outcome(None, [])
        base_blocks = []
        for s, (finer, _), place in zip(layout.of_each, above, places, strict=True):
            base_blocks += s.listed(sorted(x for orbit in finer[place] for x in s.unions[orbit]))
        return Outcome(0, base_blocks)


class _Quotient:
    """A group modulo the normal subgroup that some elements generate."""

    def __init__(self, group: PermutationGroup, acting: Integers) -> None:
        self.group, self.acting = group, acting
        self.orbit = orbits_of(acting)
        x, y = np.triu_indices(group.v, 1)
        a, b = np.sort([self.orbit[x], self.orbit[y]], axis=0)
        number = len(group.pair_orbit_lengths)
        links = np.unique([group.pair_orbits[x, y], number + a * group.v + b], axis=1)
        graph = coo_array((np.ones(links.shape[1]), links), shape=[number + group.v**2] * 2)
        labels = connected_components(graph, directed=False)[1][:number]
        # Pair orbits that look alike modulo the subgroup.
        kinds, self.kind_of_pair = np.unique(labels, return_inverse=True)
        self.kinds = len(kinds)

    def layout(self, layout: Layout, lam: int) -> tuple[Layout, Integers]:
        """The same layout with pair orbits that look alike taken together, and how often each is to be covered."""
        lengths, kind = self.group.pair_orbit_lengths, self.kind_of_pair
        target = np.bincount(kind, weights=lam * lengths).astype(np.int64)
        unit = target.copy()
        for s in layout.stabilizers:
            np.gcd.at(unit, kind[s.orbits], s.amounts * lengths[s.orbits])
        coarse = [
            replace(s, orbits=kind[s.orbits], amounts=s.amounts * lengths[s.orbits] // unit[kind[s.orbits]])
            for s in layout.stabilizers
        ]
        return replace(layout, stabilizers=tuple(coarse)), target // unit

    def above(
        self, stabilizer: Stabilizer, union: list[int], weights: Sums, lam: int, rng: np.random.Generator
    ) -> tuple[Integers, Sums]:
        """Unions that look like one modulo the subgroup, but not all their translates by it, and their sums."""
        from bibdlib.search.joins import unions_of_kinds

        s = stabilizer
        images = [tuple(sorted(self.orbit[list(u)].tolist())) for u in s.unions]
        kind = np.array([images.index(image) for image in images])
        kinds, counts = np.unique(kind[union], return_counts=True)
        order = np.argsort(counts, kind="stable")
        kinds, counts = kinds[order], counts[order]
        members = [rng.permutation(np.flatnonzero(kind == t)) for t in kinds]
        if counts[0] == 1:
            representatives = np.unique(s.classes_under(self.acting), return_index=True)[1]
            members[0] = members[0][np.isin(members[0], representatives)]
        start = np.cumsum([0, *map(len, members)])
        wanted = np.repeat(np.arange(len(kinds)), counts)
        tables = s.starts, s.orbits, s.amounts
        return unions_of_kinds(wanted, np.concatenate(members), start, *tables, weights, lam, *_UNIONS_AND_STEPS)


def _normal(group: PermutationGroup) -> Iterator[Integers]:
    """Classes of conjugate elements that generate intransitive subgroups, one for each partition into orbits."""
    keys = group.keys(group.elements)
    done = keys == keys[0]
    seen = set()
    for i in range(group.order):
        if done[i]:
            continue
        conjugates = group.conjugates(group.elements[i])
        of_class, first = np.unique(group.keys(conjugates), return_index=True)
        acting = conjugates[first]
        done |= np.isin(keys, of_class)
        orbits = orbits_of(acting)
        if len(np.unique(orbits)) > 2 and orbits.tobytes() not in seen:
            seen.add(orbits.tobytes())
            yield acting
