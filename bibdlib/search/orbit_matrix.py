"""The Kramer-Mesner equations: orbits on k-subsets against orbits on pairs, solved exactly.

E. S. Kramer and D. M. Mesner, t-designs on hypergraphs, Discrete Math. 15 (1976) 263-296.
"""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt

from bibdlib.cp_sat import solve
from bibdlib.errors import InvalidParameters
from bibdlib.extras import load
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.outcome import Outcome

__all__ = ["OrbitEquations", "orbit_matrix", "subset_orbits"]

_MOST_SUBSETS = 50_000_000
_MOST_ORBITS = 300_000

Integers = npt.NDArray[np.int64]


def subset_orbits(group: PermutationGroup, k: int) -> tuple[Integers, Integers]:
    """The least member of each orbit on k-subsets, shape (orbits, k), and the orbits' lengths.

    Raises
    ------
    InvalidParameters
        If there are more than 50 million k-subsets, or more than 300000 orbits.
    """
    total = comb(group.v, k)
    if total > _MOST_SUBSETS:
        raise InvalidParameters(f"Orbits on k-subsets need at most {_MOST_SUBSETS} of them, not C({group.v}, {k}).")
    binomials = np.array([[comb(x, i + 1) for i in range(k)] for x in range(group.v)], dtype=np.int64)
    seen = np.zeros(total, dtype=bool)
    members, lengths, rank = [], [], 0
    while True:
        ahead = seen[rank : rank + 4096]
        if not len(ahead):
            break
        step = int(ahead.argmin())
        if ahead[step]:
            rank += len(ahead)
            continue
        rank += step
        subset = _unrank(rank, binomials)
        images = np.sort(group.elements[:, subset], axis=1)
        orbit = np.unique(binomials[images, np.arange(k)].sum(axis=1))
        seen[orbit] = True
        members.append(subset)
        lengths.append(len(orbit))
        if len(members) > _MOST_ORBITS:
            raise InvalidParameters(f"Argument 'group' leaves more than {_MOST_ORBITS} orbits on {k}-subsets.")
    return np.array(members), np.array(lengths)


def _unrank(rank: int, binomials: Integers) -> Integers:
    """The subset {x_0 < x_1 < ...} whose rank is the sum of C(x_i, i + 1)."""
    k = binomials.shape[1]
    subset = np.empty(k, dtype=np.int64)
    for i in range(k - 1, -1, -1):
        subset[i] = np.searchsorted(binomials[:, i], rank, side="right") - 1
        rank -= int(binomials[subset[i], i])
    return subset


def orbit_matrix(group: PermutationGroup, k: int) -> tuple[Integers, Integers]:
    """The Kramer-Mesner matrix, shape (pair orbits, subset orbits), and a member of each orbit on k-subsets.

    Entry (i, j) says how many blocks of orbit j hold a given pair of orbit i.
    """
    members, lengths = subset_orbits(group, k)
    x, y = np.triu_indices(k, 1)
    labels = group.pair_orbits[members[:, x], members[:, y]]
    pairs = len(group.pair_orbit_lengths)
    cells = np.arange(len(members))[:, None] * pairs + labels
    within = np.bincount(cells.ravel(), minlength=len(members) * pairs).reshape(len(members), pairs)
    return (within * lengths[:, None] // group.pair_orbit_lengths).T, members


class OrbitEquations:
    """Rounds of CP-SAT on A x = lam, A the orbit matrix; each gets twice the time of the one before.

    Where a solution exists some round finds it, where none does some round proves it.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        matrix, members = orbit_matrix(group, parameters.k)
        fits = (matrix <= parameters.lam).all(axis=0)
        # Orbits that cover the pairs alike are exchangeable: one of them is enough.
        columns, first = np.unique(matrix[:, fits], axis=1, return_index=True)
        self.parameters, self.seed = parameters, seed
        self.columns, self.members = columns, members[fits][first]

    def round(self, number: int) -> Outcome:
        """Solve for at most 2^number seconds of the solver's deterministic clock."""
        cp_model = load("ortools.sat.python.cp_model", "search")

        lam = self.parameters.lam
        model = cp_model.CpModel()
        uses = [model.new_int_var(0, lam // int(column.max()), "") for column in self.columns.T]
        for row in self.columns:
            covering = np.nonzero(row)[0]
            model.add(sum(int(row[j]) * uses[j] for j in covering) == lam)
        solver, status = solve(model, random_seed=self.seed + number, num_workers=1, max_deterministic_time=2.0**number)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            times = [solver.value(use) for use in uses]
            return Outcome(0, [m.tolist() for m, n in zip(self.members, times, strict=True) for _ in range(n)])
        return Outcome(None, [], exhausted=status == cp_model.INFEASIBLE)
