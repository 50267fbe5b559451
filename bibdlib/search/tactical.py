"""Tactical decompositions: how many blocks of each orbit go through a point of each orbit.

P. Dembowski, Verallgemeinerungen von Transitivitaetsklassen endlicher projektiver Ebenen, Math. Z. 69 (1958) 59-89.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import lcm
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.cp_sat import solve
from bibdlib.extras import load
from bibdlib.parameters import Parameters

__all__ = ["decomposition"]

Integers = npt.NDArray[np.int64]

_SECONDS = 4.0
_MOST = 100


def decomposition(
    parameters: Parameters, points: list[int], blocks: list[int], possible: list[list[list[int]]], dual: bool, seed: int
) -> Integers | None:
    """A matrix A of shape (point orbits, block orbits) that a design with these orbits may have, drawn at random.

    `points` and `blocks` are the lengths of the orbits, A[i, j] is one of `possible[i][j]`. The equations count blocks
    through a point, points on a block, and blocks through two points; if `dual`, points on two blocks as well, as of a
    symmetric design. None if the solver meets none in about four seconds; no rows if it proves that there is none.
    """
    cp_model = load("ortools.sat.python.cp_model", "search")

    rng = np.random.default_rng(seed)
    r, k, lam = int(parameters.r), parameters.k, parameters.lam
    model = cp_model.CpModel()
    a = [[model.new_int_var_from_domain(cp_model.Domain.from_values(values), "") for values in row] for row in possible]
    for row in a:
        model.add(sum(row) == r)
    for j, length in enumerate(blocks):
        model.add(sum(n * row[j] for n, row in zip(points, a, strict=True)) == k * length)
    product = _Products(model)
    scale = lcm(*blocks)
    for h, i in combinations_with_replacement(range(len(points)), 2):
        met = sum(scale // length * product(a[h][j], a[i][j]) for j, length in enumerate(blocks))
        model.add(met * points[i] == scale * (lam * points[i] + (r - lam) * (h == i)))
    if dual:
        for h, j in combinations_with_replacement(range(len(blocks)), 2):
            met = sum(n * product(row[h], row[j]) for n, row in zip(points, a, strict=True))
            model.add(met == blocks[h] * (lam * blocks[j] + (k - lam) * (h == j)))
    weights = rng.integers(-_MOST, _MOST, size=(len(points), len(blocks)))
    model.maximize(sum(int(w) * x for ws, xs in zip(weights, a, strict=True) for w, x in zip(ws, xs, strict=True)))
    solver, status = solve(
        model, random_seed=int(rng.integers(1 << 30)), num_workers=1, max_deterministic_time=_SECONDS
    )
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return np.array([[solver.value(x) for x in row] for row in a])
    return np.empty((0, len(blocks)), dtype=np.int64) if status == cp_model.INFEASIBLE else None


class _Products:
    """Variables for the products of two, each made once."""

    def __init__(self, model: Any) -> None:
        self.model, self.known = model, dict[tuple[int, int], Any]()

    def __call__(self, x: Any, y: Any) -> Any:
        key = min(x.index, y.index), max(x.index, y.index)
        if key not in self.known:
            self.known[key] = self.model.new_int_var(0, max(x.proto.domain) * max(y.proto.domain), "")
            self.model.add_multiplication_equality(self.known[key], [x, y])
        return self.known[key]
