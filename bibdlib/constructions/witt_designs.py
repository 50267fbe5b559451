"""The large Witt design S(5, 8, 24), the 2-designs cut from it, and the biplane on 56 of its pieces."""

from __future__ import annotations

from functools import cache
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.fields import finite_field
from bibdlib.parameters import Parameters

__all__ = ["gewirtz_biplane", "witt_design"]


@cache
def octads() -> npt.NDArray[np.int64]:
    """The 759 blocks of S(5, 8, 24): words of weight 8 in the binary Golay code, extended from squares modulo 23."""
    residues = finite_field(23).coset(2)
    circulant = np.zeros((23, 23), dtype=np.int64)
    circulant[np.arange(23)[:, None], (np.arange(23)[:, None] + np.append(residues, 0)) % 23] = 1
    # The translates of the squares with 0 have even weight 12 and span the code together with the whole line.
    rows = np.concatenate([circulant, np.ones((1, 23), dtype=np.int64)])
    basis = _row_reduced(np.concatenate([rows, rows.sum(axis=1, keepdims=True) % 2], axis=1))
    choices = np.arange(1 << len(basis))[:, None] >> np.arange(len(basis)) & 1
    words = choices @ basis % 2
    return np.nonzero(words[words.sum(axis=1) == 8])[1].reshape(759, 8)


def _row_reduced(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    rows, rank = rows.copy(), 0
    for column in range(rows.shape[1]):
        pivots = np.nonzero(rows[rank:, column])[0]
        if len(pivots):
            rows[[rank, rank + pivots[0]]] = rows[[rank + pivots[0], rank]]
            others = np.nonzero(rows[:, column])[0]
            rows[others[others != rank]] ^= rows[rank]
            rank += 1
    return rows[:rank]


def _cut(through: int, missing: int) -> npt.NDArray[np.int64]:
    """Octads through the last `through` points that miss the `missing` points before them, cut down to the others."""
    v = 24 - through - missing
    blocks = octads()
    kept = (blocks >= 24 - through).sum(axis=1) == through
    kept &= ((blocks >= v) & (blocks < 24 - through)).sum(axis=1) == 0
    return blocks[kept][:, : 8 - through]


def _matches_witt(p: Parameters) -> Matches:
    through = 8 - p.k
    missing = 24 - p.v - through
    if 0 <= through <= 3 and 0 <= missing <= 3 - through:
        # Of the 5-(24, 8, 1), fix a pair and the points cut off: inclusion and exclusion over the missing ones.
        lam = sum((-1) ** i * comb(missing, i) * _octads_through(2 + through + i) for i in range(missing + 1))
        if p.lam == lam:
            yield Match({"through": through, "missing": missing})


def _octads_through(t: int) -> int:
    return comb(24 - t, 5 - t) // comb(8 - t, 5 - t)


@register(
    title="Witt design cut down to a 2-design",
    reference="E. Witt, Abh. Math. Sem. Univ. Hamburg 12 (1938) 256-264",
    matches=_matches_witt,
)
def witt_design(through: int = 0, missing: int = 0) -> npt.NDArray[Any]:
    """Octads through some points and missing others, at most three in all: (22, 6, 5), (21, 6, 4), (23, 7, 21), ..."""
    return _cut(through, missing)


def _matches_gewirtz(p: Parameters) -> Matches:
    if p == Parameters(56, 11, 2):
        yield Match()


@register(
    title="biplane of the Gewirtz graph",
    reference="M. Hall, R. Lane, D. Wales, J. Combin. Theory 8 (1970) 12-22",
    matches=_matches_gewirtz,
)
def gewirtz_biplane() -> npt.NDArray[Any]:
    """The 56 blocks of S(3, 6, 22) off a point, each with itself and the ten disjoint from it: (56, 11, 2)."""
    blocks = _cut(2, 1)
    incidence = np.zeros((56, 21), dtype=np.int64)
    incidence[np.arange(56)[:, None], blocks] = 1
    adjacent = (incidence @ incidence.T == 0) | np.eye(56, dtype=bool)
    return np.nonzero(adjacent)[1].reshape(56, 11)
