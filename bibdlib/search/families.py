"""Base blocks whose parts in two orbits are difference families, found one orbit at a time and then turned to fit.

Normal subgroups make easy steps of a hard one: at first only how many points a part has in each orbit of a large one,
then in those of smaller ones, at last the points.
"""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt
from sympy import isprime, primefactors

from bibdlib.errors import InvalidParameters
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup, permutation_group
from bibdlib.search.outcome import Outcome
from bibdlib.search.refinement import Refinement
from bibdlib.search.tactical import decomposition

__all__ = ["Families"]

Integers = npt.NDArray[np.int64]

_MOST = 30


class Families:
    """Rounds that draw how many points base blocks have in each orbit, then the points, step by step.

    For groups that are regular on two orbits and fix all other points, with three to five base blocks that nothing but
    the identity fixes.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        orbits = sorted({tuple(np.unique(group.elements[:, x]).tolist()) for x in range(group.v)})
        self.regular = [np.array(orbit) for orbit in orbits if len(orbit) == group.order]
        self.fixed = np.array([orbit[0] for orbit in orbits if len(orbit) == 1], dtype=np.int64)
        self.number, rest = divmod(int(parameters.b), group.order)
        lengths = sorted(map(len, orbits))
        if lengths != [1] * len(self.fixed) + [group.order] * 2 or rest or not 3 <= self.number <= 5:
            raise InvalidParameters(
                "Argument 'group' must, for 'families', be regular on two orbits, fix all other points and leave three "
                f"to five base blocks, not have {group.order} elements and orbits of {lengths} points for {parameters}."
            )
        self.chain = _normal_chain(group, self.regular[0][0])

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        rng = np.random.default_rng((self.seed, number))
        sizes = self._sizes(int(rng.integers(1 << 30)))
        if sizes is None or not len(sizes):
            return Outcome(None, [], exhausted=sizes is not None)
        sizes = sizes[:, rng.permutation(self.number)]
        found = [[row[:, None] for row in sizes[:2]]]
        for large, small in pairwise(self.chain):
            step = Refinement(self.parameters, self.group, self.regular, large, small, rng)
            finer = (parts for known in found for parts in step.refined(known, rng))
            found = list(islice(finer, _MOST if len(small) > 1 else 1))
        if not found:
            return Outcome(None, [])
        incidences = np.column_stack([*found[0], sizes[2:].T]) > 0
        points = np.concatenate([*self.regular, self.fixed])
        return Outcome(0, [sorted(points[row].tolist()) for row in incidences])

    def _sizes(self, seed: int) -> Integers | None:
        n, k = self.group.order, self.parameters.k
        possible = [[list(range(min(n, k) + 1))] * self.number] * 2 + [[[0, n]] * self.number] * len(self.fixed)
        points = [n, n] + [1] * len(self.fixed)
        return decomposition(self.parameters, points, [n] * self.number, possible, False, seed)


def _normal_chain(group: PermutationGroup, base: int) -> list[Integers]:
    """The elements of normal subgroups, from the whole group to the trivial one, each least above the next.

    Only the identity fixes the point `base`.
    """
    elements = group.elements
    inverses = np.argsort(elements, axis=1)
    chain = [elements[:1]]
    while (order := len(chain[-1])) < group.order:
        closures = []
        for g in _of_prime_order(elements, chain[-1], base):
            conjugates = np.take_along_axis(elements, g[inverses], axis=1)
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
