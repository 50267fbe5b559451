"""Flats of the projective and affine geometries over GF(q), of every dimension."""

from __future__ import annotations

from itertools import combinations
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.design import Design
from bibdlib.errors import as_integer
from bibdlib.fields import Field, finite_field
from bibdlib.implicit_geometry import affine_flats, projective_flats
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["affine_geometry", "affine_plane", "projective_geometry", "projective_plane"]

Elements = npt.NDArray[np.int64]

_REFERENCE = (
    "O. Veblen, W. H. Bussey, Trans. Amer. Math. Soc. 7 (1906) 241-259; R. C. Bose, Ann. Eugenics 9 (1939) 353-399"
)


def projective_plane(q: int) -> Design:
    """The lines of PG(2, q): (q^2 + q + 1, q + 1, 1), for a prime power q.

    Raises
    ------
    InvalidParameters
        If q is no prime power.
    """
    return projective_geometry(2, q, 1)


def affine_plane(q: int) -> Design:
    """The lines of AG(2, q): (q^2, q, 1), for a prime power q.

    Raises
    ------
    InvalidParameters
        If q is no prime power.
    """
    return affine_geometry(2, q, 1)


def _matches_projective(p: Parameters) -> Matches:
    for d in range(1, p.k.bit_length()):
        q = _root(p.k, d)
        if _count(d, q) != p.k:
            continue
        n = d + 1
        while _count(n, q) < p.v:
            n += 1
        if _count(n, q) == p.v and _subspaces(n - 1, d - 1, q) == p.lam and prime_power(q):
            yield Match({"n": n, "q": q, "d": d})


@register(title="flats of PG(n, q)", reference=_REFERENCE, matches=_matches_projective, implicit=projective_flats)
def projective_geometry(n: int, q: int, d: int = 1) -> npt.NDArray[Any]:
    """The d-flats of PG(n, q), 1 <= d < n: lines for d = 1, hyperplanes for d = n - 1.

    Points are the vectors of length n + 1 whose first nonzero coordinate is 1, numbered by
    size as numbers in base q. Parameters: v = (q^(n+1) - 1) / (q - 1), k = (q^(d+1) - 1) / (q - 1),
    lam = the number of (d-1)-subspaces of an (n-1)-space.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or d is not in 1..n-1.
    """
    n, d, field = _space(n, q, d)
    coefficients = _digits(_normalised(d, q), d + 1, q)
    patterns = combinations(range(n + 1), d + 1)
    codes = np.concatenate([_flats(field, n, pivots, coefficients) for pivots in patterns])
    number = np.zeros(2 * q**n, dtype=np.int64)
    number[_normalised(n, q)] = np.arange(_count(n, q))
    return number[codes]


def _matches_affine(p: Parameters) -> Matches:
    if p.v % p.k or p.is_complete:
        return
    points, block = prime_power(p.v), prime_power(p.k)
    if points is None or block is None:
        return
    prime, common = points[0], gcd(points[1], block[1])
    for e in range(1, common + 1):
        n, d = points[1] // e, block[1] // e
        if common % e == 0 and _subspaces(n - 1, d - 1, prime**e) == p.lam:
            yield Match({"n": n, "q": prime**e, "d": d})


@register(title="flats of AG(n, q)", reference=_REFERENCE, matches=_matches_affine, implicit=affine_flats)
def affine_geometry(n: int, q: int, d: int = 1) -> npt.NDArray[Any]:
    """The d-flats of AG(n, q), 1 <= d < n: lines for d = 1, hyperplanes for d = n - 1.

    Points are the vectors of length n, read as numbers in base q. Parameters: v = q^n, k = q^d,
    lam = the number of (d-1)-subspaces of an (n-1)-space. They are the flats of PG(n, q) that the
    hyperplane x_0 = 0 does not contain, less their points on it.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or d is not in 1..n-1.
    """
    n, d, field = _space(n, q, d)
    coefficients = _digits(q**d + np.arange(q**d), d + 1, q)
    patterns = [(0, *rest) for rest in combinations(range(1, n + 1), d)]
    return np.concatenate([_flats(field, n, pivots, coefficients) for pivots in patterns]) - q**n


def _space(n: int, q: int, d: int) -> tuple[int, int, Field]:
    n = as_integer("n", n, 2)
    return n, as_integer("d", d, 1, n - 1), finite_field(q)


def _flats(field: Field, n: int, pivots: tuple[int, ...], coefficients: Elements) -> Elements:
    """All flats whose basis in reduced echelon form has these pivot columns, shape (flats, points).

    A vector is written as a number in base q. Column by column: a pivot column holds the coefficients
    themselves, another any combination of them with the rows that begin before it. A normalised
    combination of rows in reduced echelon form is a normalised vector.
    """
    q = field.q
    codes = np.zeros((1, len(coefficients)), dtype=np.int64)
    for column in range(n + 1):
        if column in pivots:
            values = coefficients[None, :, pivots.index(column)]
        else:
            rows = sum(pivot < column for pivot in pivots)
            entries = _digits(np.arange(q**rows), rows, q)
            values = np.zeros((1, len(coefficients)), dtype=np.int64)
            for row in range(rows):
                values = field.add(values, field.multiply(coefficients[None, :, row], entries[:, row, None]))
        codes = (codes[:, None] * q + values).reshape(-1, len(coefficients))
    return codes


def _digits(numbers: Elements, length: int, q: int) -> Elements:
    return numbers[:, None] // q ** np.arange(length - 1, -1, -1) % q


def _normalised(n: int, q: int) -> Elements:
    """The vectors of length n + 1 that begin with 1 after zeros, as numbers in base q, ascending."""
    return np.concatenate([q**t + np.arange(q**t) for t in range(n + 1)])


def _count(n: int, q: int) -> int:
    """Number of points of PG(n, q)."""
    return (q ** (n + 1) - 1) // (q - 1)


def _subspaces(n: int, d: int, q: int) -> int:
    """Number of subspaces of dimension d in dimension n, the Gaussian binomial."""
    above = below = 1
    for i in range(d):
        above *= q ** (n - i) - 1
        below *= q ** (i + 1) - 1
    return above // below


def _root(k: int, d: int) -> int:
    """The q >= 2 for which PG(d, q) can have k points: the largest with q^d < k, at least 2."""
    q = max(2, round((k - 1) ** (1 / d)))
    while q > 2 and q**d >= k:
        q -= 1
    return q
