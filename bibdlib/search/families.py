"""Difference families in one or two orbits, found step by step along a chain of normal subgroups.

At first only how many points a base block has in each orbit of a large subgroup, then in those of smaller ones, at last
the points. In one orbit, what parts cover up to another normal subgroup meets first. In two orbits the parts are found
one orbit at a time, and then turned to fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt
from sympy import isprime, primefactors

from bibdlib.errors import InvalidParameters
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup, permutation_group
from bibdlib.search.layouts import layouts
from bibdlib.search.outcome import Outcome
from bibdlib.search.refinement import Refinement
from bibdlib.search.stabilizers import Stabilizer, cyclic_stabilizers
from bibdlib.search.tactical import decomposition

__all__ = ["Families"]

Integers = npt.NDArray[np.int64]

# Most solutions of a step, in one orbit and in two, and of those that refine the same one: in one orbit many cost
# little more than one, and have parts in common.
_MOST, _OF_EACH = {1: 400, 2: 30}, {1: 400, 2: 10}
_BASE_BLOCKS = range(2, 7)


class Families:
    """Rounds that draw how many points base blocks have in each orbit, then the points, step by step.

    For groups that are regular on one or two orbits and fix all other points, with two to six base blocks, each of
    which a cyclic normal subgroup fixes. Rounds take the possible subgroups in turns.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        orbits = sorted({tuple(np.unique(group.elements[:, x]).tolist()) for x in range(group.v)})
        self.regular = [np.array(orbit) for orbit in orbits if len(orbit) == group.order]
        self.fixed = np.array([orbit[0] for orbit in orbits if len(orbit) == 1], dtype=np.int64)
        lengths = sorted(map(len, orbits))
        if len(self.regular) not in (1, 2) or len(lengths) > len(self.fixed) + len(self.regular):
            raise InvalidParameters(
                "Argument 'group' must, for 'families', be regular on one or two orbits and fix all other points, not "
                f"have {group.order} elements and orbits of {lengths} points."
            )
        normal = [stabilizer for stabilizer in cyclic_stabilizers(group) if _is_normal(stabilizer)]
        possible = [layout.of_each for layout in layouts(parameters, group, normal)]
        self.layouts = [stabilizers for stabilizers in possible if len(stabilizers) in _BASE_BLOCKS]
        self.subgroups = normal[1:]
        if not self.layouts:
            raise InvalidParameters(
                "Argument 'group' must, for 'families', leave two to six base blocks that cyclic normal subgroups "
                f"fix, and {group.order} elements leave none such of {parameters}."
            )
        self.chain = _normal_chain(group, self.regular[0][0])

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        rng = np.random.default_rng((self.seed, number))
        turn = number % len(self.layouts)
        for stabilizers in self.layouts[turn:] + self.layouts[:turn]:
            if not all(self._room(stabilizers, subgroup) for subgroup in self.subgroups):
                continue
            sizes = self._sizes(stabilizers, int(rng.integers(1 << 30)))
            if sizes is None:
                return Outcome(None, [])
            if len(sizes):
                break
        else:
            return Outcome(None, [], exhausted=True)
        orders = [s.order for s in stabilizers]
        most, of_each = _MOST[len(self.regular)], _OF_EACH[len(self.regular)]
        found = [[(row * orders)[:, None] for row in sizes[: len(self.regular)]]]
        for large, small in pairwise(self.chain):
            across = self._across(large)
            step = Refinement(self.parameters, self.group, self.regular, large, small, stabilizers, rng, across)
            finer = (parts for known in found for parts in islice(step.refined(known, rng), of_each))
            distinct = _unlike(finer, stabilizers) if len(self.regular) == 1 else finer
            found = list(islice(distinct, most if len(small) > 1 else 1))
        if not found:
            return Outcome(None, [])
        incidences = np.column_stack([*found[0], sizes[len(self.regular) :].T]) > 0
        points = np.concatenate([*self.regular, self.fixed])
        base_blocks = []
        for row, stabilizer in zip(incidences, stabilizers, strict=True):
            block = sorted(points[row].tolist())
            base_blocks += stabilizer.listed(block)
        return Outcome(0, base_blocks)

    def _room(self, stabilizers: list[Stabilizer], subgroup: Stabilizer) -> bool:
        """Whether the blocks that the subgroup fixes are not too many: with a point they have the image as well."""
        point = self.regular[0][0]
        fixed = sum(s.index for s in stabilizers if _orbit(subgroup, point) <= _orbit(s, point))
        fewest = self.parameters.k - len(self.fixed)
        return fixed * fewest <= self.parameters.lam * self.group.order * len(self.regular)

    def _across(self, large: Integers) -> Stabilizer | None:
        """The least normal subgroup of prime order that meets a larger one in the identity alone."""
        point = self.regular[0][0]
        known = set(large[:, point].tolist())
        possible = (s for s in self.subgroups if isprime(s.order) and not _orbit(s, point) <= known)
        return min(possible, key=lambda s: s.order, default=None)

    def _sizes(self, stabilizers: list[Stabilizer], seed: int) -> Integers | None:
        """How many blocks of each orbit go through a point of each orbit."""
        lengths = [s.index for s in stabilizers]
        points = [self.group.order] * len(self.regular) + [1] * len(self.fixed)
        in_regular = [list(range(min(s.index, self.parameters.k // s.order) + 1)) for s in stabilizers]
        possible = [in_regular] * len(self.regular) + [[[0, n] for n in lengths]] * len(self.fixed)
        return decomposition(self.parameters, points, lengths, possible, False, seed)


def _unlike(found: Iterable[list[Integers]], stabilizers: list[Stabilizer]) -> Iterator[list[Integers]]:
    """One of the solutions in one orbit that differ in the order of base blocks with the same stabilizer."""
    seen = set()
    for parts in found:
        key = tuple(
            sorted((stabilizers.index(s), part.tobytes()) for s, part in zip(stabilizers, parts[0], strict=True))
        )
        if key not in seen:
            seen.add(key)
            yield parts


def _orbit(subgroup: Stabilizer, point: int) -> set[int]:
    return next(set(union) for union in subgroup.unions if point in union)


def _is_normal(stabilizer: Stabilizer) -> bool:
    """Whether the group, regular on each long orbit, permutes the subgroup's orbits."""
    of_point = np.empty(stabilizer.group.v, dtype=np.int64)
    for i, union in enumerate(stabilizer.unions):
        of_point[list(union)] = i
    moved = of_point[stabilizer.group.elements]
    return all((moved[:, union] == moved[:, union[:1]]).all() for union in stabilizer.unions)


def _normal_chain(group: PermutationGroup, base: int) -> list[Integers]:
    """The elements of normal subgroups, from the whole group to the trivial one, each least above the next.

    Only the identity fixes the point `base`.
    """
    elements = group.elements
    chain = [elements[:1]]
    while (order := len(chain[-1])) < group.order:
        closures = []
        for g in _of_prime_order(elements, chain[-1], base):
            conjugates = group.conjugates(g)
            generators = np.unique(np.concatenate([chain[-1], conjugates]), axis=0)
            closures.append(permutation_group(generators).elements)
            if len(closures[-1]) == order * min(primefactors(group.order // order)):
                break
        chain.append(min(closures, key=len))
    return chain[::-1]


def _of_prime_order(elements: Integers, normal: Integers, base: int) -> Integers:
    """The elements whose order modulo a normal subgroup is a prime."""
    inside = np.isin(np.arange(elements.shape[1]), normal[:, base])
    image, is_prime = np.full(len(elements), base), np.zeros(len(elements), dtype=bool)
    for power in range(1, len(elements) + 1):
        image = elements[np.arange(len(elements)), image]
        is_prime |= isprime(power) & inside[image]
    return elements[is_prime & ~inside[elements[:, base]]]
