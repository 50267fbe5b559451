"""Hadamard matrices, and the designs in them: symmetric (4n-1, 2n-1, n-1), 3-designs, Menon designs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.orthogonal_arrays import has_orthogonal_array, orthogonal_array
from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.errors import InvalidParameters
from bibdlib.fields import finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["hadamard_3_design", "hadamard_design", "hadamard_matrix", "has_hadamard_matrix", "latin_square_menon"]

Matrix = npt.NDArray[np.int8]


def has_hadamard_matrix(order: int) -> bool:
    """Whether `hadamard_matrix(order)` knows one."""
    return _method(order) is not None


def hadamard_matrix(order: int) -> Matrix:
    """A matrix H of 1 and -1 with H H^T = order I, its first row and column all 1.

    Sylvester (Phil. Mag. 34 (1867) 461-475) doubles, Paley (J. Math. Phys. 12 (1933) 311-320) takes
    squares in GF(q), and the Kronecker product joins two.

    Raises
    ------
    InvalidParameters
        If none of these gives the order.
    """
    method = _method(order)
    if method is None:
        raise InvalidParameters(f"Argument 'order' must be that of a known Hadamard matrix, not {order}.")
    matrix = method.build(*method.arguments)
    matrix = matrix * matrix[:1]
    return matrix * matrix[:, :1]


@dataclass(frozen=True)
class Method:
    """How to make a Hadamard matrix: a builder and its arguments."""

    build: Callable[..., Matrix]
    arguments: tuple[int, ...]


@cache
def _method(order: int) -> Method | None:
    if order in (1, 2):
        return Method(_smallest, (order,))
    if order < 4 or order % 4:
        return None
    if prime_power(order - 1):
        return Method(_paley, (order - 1,))
    if order % 8 == 4 and prime_power(order // 2 - 1):
        return Method(_paley_double, (order // 2 - 1,))
    for factor in range(2, isqrt(order) + 1):
        if order % factor == 0 and _method(factor) and _method(order // factor):
            return Method(_kronecker, (factor, order // factor))
    return None


def _paley(q: int) -> Matrix:
    """Order q + 1 for q = 3 mod 4: I + S, S the skew matrix of the quadratic character."""
    return _conference(q, -1) + np.eye(q + 1, dtype=np.int8)


def _paley_double(q: int) -> Matrix:
    """Order 2 (q + 1) for q = 1 mod 4: the symmetric conference matrix with its entries doubled."""
    conference = _conference(q, 1)
    entries, diagonal = np.array([[1, 1], [1, -1]]), np.array([[1, -1], [-1, -1]])
    return np.asarray(np.kron(conference, entries) + np.kron(np.eye(q + 1, dtype=np.int8), diagonal), dtype=np.int8)


def _conference(q: int, sign: int) -> Matrix:
    field = finite_field(q)
    character = np.full(q, -1, dtype=np.int8)
    character[field.coset(2)] = 1
    character[0] = 0
    elements = np.arange(q)
    matrix = np.ones((q + 1, q + 1), dtype=np.int8)
    matrix[0, 0] = 0
    matrix[1:, 0] = sign
    matrix[1:, 1:] = character[field.subtract(elements[None, :], elements[:, None])]
    return matrix


def _smallest(order: int) -> Matrix:
    return np.array([[1, 1], [1, -1]], dtype=np.int8)[:order, :order]


def _kronecker(a: int, b: int) -> Matrix:
    return np.kron(hadamard_matrix(a), hadamard_matrix(b))


def _matches_hadamard_design(p: Parameters) -> Matches:
    order = p.v + 1
    if p.k == order // 2 - 1 and p.lam == order // 4 - 1 and order % 4 == 0 and has_hadamard_matrix(order):
        yield Match({"order": order})


@register(
    title="Hadamard matrix without its first row and column",
    reference="J. A. Todd, J. Math. Phys. 12 (1933) 321-333",
    matches=_matches_hadamard_design,
)
def hadamard_design(order: int) -> npt.NDArray[Any]:
    """The places of 1 in each row of the core: (4n-1, 2n-1, n-1) for order 4n."""
    core = hadamard_matrix(order)[1:, 1:]
    return np.nonzero(core == 1)[1].reshape(order - 1, order // 2 - 1)


def _matches_hadamard_3_design(p: Parameters) -> Matches:
    if p.v == 2 * p.k and p.lam == p.k - 1 and p.v % 4 == 0 and has_hadamard_matrix(p.v):
        yield Match({"order": p.v})


@register(
    title="Hadamard 3-design",
    reference="D. R. Hughes, Amer. J. Math. 87 (1965) 761-778",
    matches=_matches_hadamard_3_design,
)
def hadamard_3_design(order: int) -> npt.NDArray[Any]:
    """The places of 1, and those of -1, in each row but the first: (4n, 2n, 2n-1), every three points in n-1 blocks."""
    rows = hadamard_matrix(order)[1:]
    return np.nonzero(np.concatenate([rows, -rows]) == 1)[1].reshape(2 * order - 2, order // 2)


def _matches_latin_square_menon(p: Parameters) -> Matches:
    u = isqrt(p.v) // 2
    if p.v == 4 * u * u and p.k == 2 * u * u - u and p.lam == u * u - u and has_orthogonal_array(u, 2 * u):
        yield Match({"u": u})


@register(
    title="Menon design of a net of degree u and order 2u",
    reference="R. C. Bose, Pacific J. Math. 13 (1963) 389-419",
    matches=_matches_latin_square_menon,
)
def latin_square_menon(u: int) -> npt.NDArray[Any]:
    """The neighbours of each cell of a net of u classes, 2u lines each: (4u^2, 2u^2 - u, u^2 - u).

    Two cells have u(u-1) common neighbours, whether a line joins them or not.
    """
    lines = orthogonal_array(u, 2 * u)
    joined = (lines[:, None, :] == lines[None, :, :]).any(axis=2)
    np.fill_diagonal(joined, False)
    return np.nonzero(joined)[1].reshape(4 * u * u, 2 * u * u - u)
