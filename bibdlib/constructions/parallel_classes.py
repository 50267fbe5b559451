"""The parallel classes of hyperplanes of AG(d, q), and the designs whose blocks are unions of parallel hyperplanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.design import Design
from bibdlib.fields import finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["hyperplane_labels", "products", "projective_points", "unions_of_hyperplanes"]

Vectors = npt.NDArray[np.int64]


def projective_points(d: int, q: int) -> Vectors:
    """The points of PG(d, q) as vectors whose first coordinate other than 0 is 1, shape (points, d + 1)."""
    nonzero = _vectors(q, d + 1)[1:]
    first = nonzero[np.arange(len(nonzero)), (nonzero != 0).argmax(axis=1)]
    return np.asarray(nonzero[first == 1])


def hyperplane_labels(d: int, q: int) -> Vectors:
    """Entry (x, t): which of the q hyperplanes of the t-th parallel class of AG(d, q) holds the point x."""
    return products(q, _vectors(q, d), projective_points(d - 1, q))


def products(q: int, left: Vectors, right: Vectors) -> Vectors:
    """Scalar products over GF(q) of the rows of one array with those of another."""
    field = finite_field(q)
    total = np.zeros((len(left), len(right)), dtype=np.int64)
    for i in range(left.shape[1]):
        total = field.add(total, field.multiply(left[:, None, i], right[None, :, i]))
    return total


def _vectors(q: int, length: int) -> Vectors:
    return np.arange(q**length)[:, None] // q ** np.arange(length)[::-1] % q


def _matches_unions(p: Parameters) -> Matches:
    witness = prime_power(p.v)
    if witness is None:
        return
    prime, exponent = witness
    for d in range(2, exponent + 1):
        q = prime ** (exponent // d)
        hyperplane = q ** (d - 1)
        k, remainder = divmod(p.k, hyperplane)
        if exponent % d == 0 and remainder == 0 and 1 < k < q:
            # lam = (hyperplane - 1)/(q - 1) r' + hyperplane lam', where r' = lam' (q - 1)/(k - 1).
            lam, remainder = divmod(p.lam * (k - 1), hyperplane - 1 + hyperplane * (k - 1))
            if remainder == 0:
                yield Match({"d": d}, (Parameters(q, k, lam),))


@register(
    title="unions of parallel hyperplanes",
    reference="S. S. Shrikhande, D. Raghavarao, Sankhya A 25 (1963) 399-402",
    matches=_matches_unions,
)
def unions_of_hyperplanes(pattern: Design, d: int = 2) -> npt.NDArray[Any]:
    """In each parallel class of AG(d, q), the unions along the blocks of a design on its q hyperplanes.

    From (q, k, lam) with r blocks through a point: (q^d, q^(d-1) k, (q^(d-1) - 1)/(q - 1) r + q^(d-1) lam).
    """
    labels = hyperplane_labels(d, pattern.v)
    chosen = pattern.incidence_matrix()[labels] == 1
    return np.nonzero(chosen.reshape(len(labels), -1).T)[1].reshape(-1, pattern.k * pattern.v ** (d - 1))
