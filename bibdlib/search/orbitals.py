"""Symmetric designs on whose blocks a group acts as on the points: the incidence matrix is a sum of orbitals.

D. G. Higman, Invent. Math. 1 (1964) 1-26, for orbitals; the equations are those of tactical decompositions,
P. Dembowski, Math. Z. 69 (1958) 59-89.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.outcome import Outcome

__all__ = ["SymmetricIncidence", "orbitals"]

Integers = npt.NDArray[np.int64]


def orbitals(group: PermutationGroup) -> Integers:
    """Matrix of shape (v, v): entry (x, y) numbers the orbit of the ordered pair (x, y)."""
    labels = np.full((group.v, group.v), -1, dtype=np.int64)
    count = 0
    for x in range(group.v):
        for y in range(group.v):
            if labels[x, y] < 0:
                labels[group.elements[:, x], group.elements[:, y]] = count
                count += 1
    return labels


class SymmetricIncidence:
    """Rounds of CP-SAT on N N^T = N^T N = (k - lam) I + lam J; each gets twice the time of the one before."""

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        if not parameters.is_symmetric:
            raise InvalidParameters(f"Method 'orbitals' needs a symmetric design (b = v), not {parameters}.")
        self.parameters, self.seed = parameters, seed
        self.labels = orbitals(group)
        self.points = np.unique(group.elements.min(axis=0))
        pairs = group.pair_orbits
        self.pairs = [divmod(int(i), group.v) for i in np.unique(pairs, return_index=True)[1] if i % (group.v + 1)]

    def round(self, number: int) -> Outcome:
        """Solve for at most 2^number seconds of the solver's deterministic clock."""
        from ortools.sat.python import cp_model

        model = cp_model.CpModel()
        chosen = [model.new_bool_var("") for _ in range(self.labels.max() + 1)]
        both: dict[tuple[int, int], Any] = {(i, i): literal for i, literal in enumerate(chosen)}
        for lines in (self.labels, self.labels.T):
            for x in self.points:
                model.add(sum(chosen[i] for i in lines[x]) == self.parameters.k)
            for x, y in self.pairs:
                common = Counter(tuple(sorted(pair)) for pair in zip(lines[x].tolist(), lines[y].tolist(), strict=True))
                for i, j in common:
                    if (i, j) not in both:
                        both[i, j] = model.new_bool_var("")
                        model.add_bool_or(chosen[i].negated(), chosen[j].negated(), both[i, j])
                        model.add_implication(both[i, j], chosen[i])
                        model.add_implication(both[i, j], chosen[j])
                model.add(sum(times * both[pair] for pair, times in common.items()) == self.parameters.lam)
        solver = cp_model.CpSolver()
        solver.parameters.random_seed = self.seed + number
        solver.parameters.num_workers = 1
        solver.parameters.max_deterministic_time = 2.0**number
        status = solver.solve(model)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            incidence = np.array([solver.boolean_value(literal) for literal in chosen])[self.labels]
            return Outcome(0, [np.nonzero(incidence[:, y])[0].tolist() for y in self.points])
        return Outcome(None, [], exhausted=status == cp_model.INFEASIBLE)
