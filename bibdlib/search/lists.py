"""Base blocks listed by stabilizer: drawn where few fit, met in the middle where many do.

The equations are those of E. S. Kramer and D. M. Mesner, Discrete Math. 15 (1976) 263-296.
"""

from __future__ import annotations

from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.layouts import Layout, layouts
from bibdlib.search.outcome import Outcome
from bibdlib.search.stabilizers import Stabilizer, chained_stabilizers, cyclic_stabilizers, stabilizer, unlike

__all__ = ["Lists"]

Integers = npt.NDArray[np.int64]

_CHAINS, _WAYS, _BASE_BLOCKS, _LAYOUTS = 30, 3000, 9, 40
_FEW, _MANY, _STEPS_FOR_EACH = 1 << 12, 1 << 20, 100
_SUMS = 1 << 21


class Lists:
    """Rounds that list the base blocks of each stabilizer, and draw one where fewest fit until the others can meet.

    What was drawn leaves less room for the others, so that their lists are shorter. Layouts take turns.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed

    @cached_property
    def layouts(self) -> list[Layout]:
        """Those with at most nine base blocks, each of which fits by itself. Long to find: left to the first round."""
        p, group = self.parameters, self.group
        chained = chained_stabilizers(group, np.random.default_rng(0), _CHAINS, int(p.b))
        subgroups = unlike([*cyclic_stabilizers(group), *chained, stabilizer(group, group.elements)])
        rng = np.random.default_rng(0)
        fitting = [s for s in subgroups if s.index <= p.b and len(self._listed(s, self._room(), _FEW, rng))]
        found = layouts(p, group, fitting, most=_WAYS)
        possible = [layout for layout in found if len(layout.of_each) <= _BASE_BLOCKS][:_LAYOUTS]
        if not possible:
            raise InvalidParameters(
                f"Argument 'group' must, for 'lists', leave at most {_BASE_BLOCKS} base blocks that fit; "
                f"{group.name} leaves none such of {p}, as far as was looked."
            )
        return possible

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        rng = np.random.default_rng((self.seed, number))
        rest = self.layouts[number % len(self.layouts)].of_each
        base_blocks: list[list[int]] = []
        room = self._room()
        while rest:
            lists = {s: self._listed(s, room, _FEW, rng) for s in dict.fromkeys(rest)}
            rest.sort(key=lambda s: len(lists[s]))
            lengths = [len(lists[s]) for s in rest]
            if lengths[0] == 0:
                return Outcome(None, [])
            if lengths[0] > 1 and prod(lengths[:-1]) <= _SUMS:
                return self._met(base_blocks, rest, room, rng)
            s = rest.pop(0)
            union = lists[s][rng.integers(lengths[0])]
            room = room - self._covers(s, union[None, :])[0]
            base_blocks += _base_blocks(s, union)
        return Outcome(None, []) if room.any() else Outcome(0, base_blocks)

    def _room(self) -> Integers:
        return np.full(len(self.group.pair_orbit_lengths), self.parameters.lam)

    def _met(self, drawn: list[list[int]], rest: list[Stabilizer], room: Integers, rng: np.random.Generator) -> Outcome:
        """With the base blocks drawn, those of the rest that add up to the room left."""
        from bibdlib.search.meeting import meeting_places

        weights = rng.integers(1 << 64, size=len(room), dtype=np.uint64)
        lists = {s: self._listed(s, room, _MANY, rng) for s in dict.fromkeys(rest)}
        sums = {s: self._covers(s, unions).astype(np.uint64) @ weights for s, unions in lists.items()}
        places = meeting_places([sums[s] for s in rest], (room.astype(np.uint64) * weights).sum(), rng)
        if not places:
            return Outcome(None, [])
        met = [_base_blocks(s, lists[s][place]) for s, place in zip(rest, places, strict=True)]
        return Outcome(0, drawn + [block for blocks in met for block in blocks])

    def _listed(self, s: Stabilizer, room: Integers, most: int, rng: np.random.Generator) -> Integers:
        """Unions of its orbits that fit into the room, of those with the same images one at least; `most` at most."""
        from bibdlib.search.joins import fitting_unions

        tables = s.starts, s.orbits, s.amounts
        classes = rng.permutation(len(s.sizes))[s.classes]
        order = np.lexsort((rng.permutation(len(classes)), classes))
        # Beginning with one orbit of each class, with no orbit of those before it; first those with the fewest after.
        beginnings = np.flatnonzero(np.diff(classes[order], prepend=-1))
        found: list[Integers] = []
        for i in range(len(beginnings) - 1, -1, -1):
            share = (most - sum(map(len, found))) // (i + 1)
            after = order[beginnings[i] :]
            found.append(
                fitting_unions(after, 1, s.sizes, *tables, self.parameters.k, room, share, share * _STEPS_FOR_EACH)
            )
        return np.concatenate(found)

    def _covers(self, s: Stabilizer, unions: Integers) -> Integers:
        from bibdlib.search.joins import covers_of

        return covers_of(unions, s.starts, s.orbits, s.amounts, len(self.group.pair_orbit_lengths))


def _base_blocks(s: Stabilizer, union: Integers) -> list[list[int]]:
    return s.listed(sorted(x for orbit in union if orbit >= 0 for x in s.unions[orbit]))
