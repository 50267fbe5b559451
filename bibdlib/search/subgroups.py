"""Base blocks that are unions of orbits of subgroups, and CP-SAT to say how often each of them counts.

The equations are those of E. S. Kramer and D. M. Mesner, Discrete Math. 15 (1976) 263-296, some of their columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bibdlib.cp_sat import solve
from bibdlib.extras import load
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.outcome import Outcome
from bibdlib.search.stabilizers import Stabilizer, chained_stabilizers, generated_stabilizers, unlike

__all__ = ["Subgroups"]

Integers = npt.NDArray[np.int64]

_CHAINS, _SECONDS = 30, 5.0
_MOST_UNIONS, _STEPS, _SAMPLES = 1_500, 100_000, 25


class Subgroups:
    """Rounds that draw subgroups, list base blocks that they fix, and solve for the number of times each counts."""

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        self.generated = generated_stabilizers(group)

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        rng = np.random.default_rng((self.seed, number))
        drawn = chained_stabilizers(self.group, rng, _CHAINS, int(self.parameters.b))
        fixed, covers = [], [np.zeros((0, len(self.group.pair_orbit_lengths)), dtype=np.int64)]
        for s in unlike(self.generated + drawn):
            if s.index <= int(self.parameters.b):
                unions, covered = self._unions(s, rng)
                fixed += [(s, union) for union in unions]
                covers.append(covered)
        stacked = np.concatenate(covers)
        different = np.sort(np.unique(stacked, axis=0, return_index=True)[1])
        base_blocks = []
        for i, times in self._solved(stacked[different], int(rng.integers(1 << 30))):
            s, union = fixed[different[i]]
            block = sorted(x for orbit in union if orbit >= 0 for x in s.unions[orbit])
            base_blocks += s.listed(block, times)
        return Outcome(0 if base_blocks else None, base_blocks)

    def _unions(self, s: Stabilizer, rng: np.random.Generator) -> tuple[Integers, Integers]:
        from bibdlib.search.joins import covers_of, fitting_unions

        tables = s.starts, s.orbits, s.amounts
        room = np.full(len(self.group.pair_orbit_lengths), self.parameters.lam)

        def listed(most: int, steps: int) -> Integers:
            order = rng.permutation(len(s.sizes))
            return fitting_unions(order, len(order), s.sizes, *tables, self.parameters.k, room, most, steps)

        unions = listed(_MOST_UNIONS, _STEPS)
        if len(unions) == _MOST_UNIONS:
            # Unions that follow one another in a list are much alike: of many, some from here and there.
            unions = np.concatenate([listed(_MOST_UNIONS // _SAMPLES, _STEPS // _SAMPLES) for _ in range(_SAMPLES)])
        return unions, covers_of(unions, *tables, len(room))

    def _solved(self, covers: Integers, seed: int) -> list[tuple[int, int]]:
        """Which of the covers add up to lam on each pair orbit, and how many times each."""
        cp_model = load("ortools.sat.python.cp_model", "search")

        lam = self.parameters.lam
        if not len(covers) or not covers.any(axis=0).all():
            return []
        model = cp_model.CpModel()
        times = [model.new_int_var(0, lam // int(cover.max()), "") for cover in covers]
        for column in covers.T:
            model.add(sum(int(column[i]) * times[i] for i in np.nonzero(column)[0]) == lam)
        solver, status = solve(model, random_seed=seed, num_workers=1, max_deterministic_time=_SECONDS)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return []
        return [(i, solver.value(variable)) for i, variable in enumerate(times) if solver.value(variable)]
