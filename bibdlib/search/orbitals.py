"""Designs whose points and blocks a group permutes in ways that are both prescribed: N is a sum of orbitals.

The equations are those of tactical decompositions, P. Dembowski, Math. Z. 69 (1958) 59-89.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.cp_sat import solve
from bibdlib.errors import InvalidParameters
from bibdlib.extras import load
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup, permutation_group
from bibdlib.search.outcome import Outcome

__all__ = ["OrbitalIncidence", "base_blocks_of", "orbitals", "paired_generators"]

Integers = npt.NDArray[np.int64]


def orbitals(on_points: PermutationGroup, on_blocks: PermutationGroup) -> Integers:
    """Matrix of shape (v, b): entry (x, y) numbers the orbit of the flag (x, y); generators act in pairs.

    Raises
    ------
    InvalidParameters
        If one group has more generators than the other.
    """
    v, b = on_points.v, on_blocks.v
    elements = permutation_group(paired_generators(on_points, on_blocks)).elements
    labels = np.full((v, b), -1, dtype=np.int64)
    count = 0
    for x in range(v):
        for y in range(b):
            if labels[x, y] < 0:
                labels[elements[:, x], elements[:, v + y] - v] = count
                count += 1
    return labels


def paired_generators(on_points: PermutationGroup, on_blocks: PermutationGroup) -> Integers:
    """Generators on points and blocks at once, block y being v + y.

    Raises
    ------
    InvalidParameters
        If one group has more generators than the other.
    """
    if len(on_points.generators) != len(on_blocks.generators):
        raise InvalidParameters(
            f"Arguments 'on_points', 'on_blocks' must have as many generators, not {len(on_points.generators)} "
            f"and {len(on_blocks.generators)}."
        )
    return np.concatenate([on_points.generators, on_points.v + on_blocks.generators], axis=1)


def base_blocks_of(
    incidence: npt.NDArray[np.bool_], on_points: PermutationGroup, on_blocks: PermutationGroup
) -> list[list[int]]:
    """A block of each orbit of an invariant incidence matrix, as often as the group meets it there."""
    first, lengths = np.unique(on_blocks.elements.min(axis=0), return_counts=True)
    base_blocks = []
    for y, length in zip(first, lengths, strict=True):
        block = np.nonzero(incidence[:, y])[0].tolist()
        base_blocks += [block] * (int(length) // len(on_points.orbit(block)))
    return base_blocks


class OrbitalIncidence:
    """Rounds of CP-SAT on N N^T = (r - lam) I + lam J; each gets twice the time of the one before.

    Where nothing is said of the blocks, the design is symmetric and the group acts on them as on the points;
    then N^T N is the same matrix, and its equations help.
    """

    def __init__(
        self, parameters: Parameters, group: PermutationGroup, seed: int, on_blocks: PermutationGroup | None = None
    ) -> None:
        blocks = group if on_blocks is None else on_blocks
        self.parameters, self.group, self.seed = parameters, group, seed
        self.labels = orbitals(group, blocks)
        self.blocks = blocks
        first = np.unique(group.pair_orbits, return_index=True)[1]
        self.pairs = [divmod(int(i), group.v) for i in first if i % (group.v + 1)]
        self.dual = on_blocks is None

    def round(self, number: int) -> Outcome:
        """Solve for at most 2^number seconds of the solver's deterministic clock."""
        cp_model = load("ortools.sat.python.cp_model", "search")

        model, chosen = self._model()
        solver, status = solve(model, random_seed=self.seed + number, num_workers=1, max_deterministic_time=2.0**number)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Outcome(None, [], exhausted=status == cp_model.INFEASIBLE)
        incidence = np.array([solver.boolean_value(literal) for literal in chosen])[self.labels]
        return Outcome(0, base_blocks_of(incidence, self.group, self.blocks))

    def _model(self) -> tuple[Any, list[Any]]:
        cp_model = load("ortools.sat.python.cp_model", "search")

        p = self.parameters
        model = cp_model.CpModel()
        chosen = [model.new_bool_var("") for _ in range(self.labels.max() + 1)]
        both = {(i, i): literal for i, literal in enumerate(chosen)}
        for row in np.unique(self.labels, axis=0):
            model.add(sum(chosen[i] for i in row) == int(p.r))
        for column in np.unique(self.labels.T, axis=0):
            model.add(sum(chosen[i] for i in column) == p.k)
        for lines in (self.labels, self.labels.T) if self.dual else (self.labels,):
            for x, y in self.pairs:
                common = Counter(tuple(sorted(pair)) for pair in zip(lines[x].tolist(), lines[y].tolist(), strict=True))
                for i, j in common:
                    if (i, j) not in both:
                        both[i, j] = model.new_bool_var("")
                        model.add_bool_or(chosen[i].negated(), chosen[j].negated(), both[i, j])
                        model.add_implication(both[i, j], chosen[i])
                        model.add_implication(both[i, j], chosen[j])
                model.add(sum(times * both[pair] for pair, times in common.items()) == p.lam)
        return model, chosen
