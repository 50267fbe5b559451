"""Base blocks whose parts in two orbits are difference families, found one orbit at a time and then turned to fit.

A normal subgroup makes two easy steps of a hard one: at first only how many points of each of its orbits a part has,
then which.
"""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt

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
    """Rounds that draw how many points base blocks have in each orbit, then the points, in two steps.

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
        self.chain = _normal_chain(group)

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


def _normal_chain(group: PermutationGroup) -> list[Integers]:
    """The elements of normal subgroups, from the whole group to the trivial one, each least above the next."""
    inverses = np.argsort(group.elements, axis=1)
    conjugates = [np.take_along_axis(group.elements, g[inverses], axis=1) for g in group.elements[1:]]
    chain = [group.elements[:1]]
    while len(chain[-1]) < group.order:
        generated = (np.unique(np.concatenate([chain[-1], rows]), axis=0) for rows in conjugates)
        closures = [permutation_group(rows).elements for rows in generated]
        chain.append(min((closure for closure in closures if len(closure) > len(chain[-1])), key=len))
    return chain[::-1]
