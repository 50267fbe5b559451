"""Orthogonal arrays of strength 2 and index 1: transversal designs, nets and orthogonal Latin squares in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters
from bibdlib.fields import finite_field
from bibdlib.groups import AbelianGroup
from bibdlib.numbers import prime_power

__all__ = ["has_orthogonal_array", "orthogonal_array"]

Array = npt.NDArray[np.int64]


def has_orthogonal_array(k: int, n: int) -> bool:
    """Whether `orthogonal_array(k, n)` knows one."""
    return _method(k, n) is not None


def orthogonal_array(k: int, n: int) -> Array:
    """An array of n^2 rows and k columns of levels 0..n-1: in any two columns each pair of levels stands once.

    Its first row is 0. As a transversal design TD(k, n) its columns are the groups and its rows the blocks.

    Raises
    ------
    InvalidParameters
        If none of the methods known here gives it.
    """
    method = _method(k, n)
    if method is None:
        raise InvalidParameters(f"Arguments 'k', 'n' must be those of a known orthogonal array, not {k}, {n}.")
    rows = method.build(k, *method.arguments)
    # Renaming the levels of a column maps one array to another, so any row may become the zero row.
    return np.asarray((rows - rows[0]) % n, dtype=np.int64)


@dataclass(frozen=True)
class Method:
    """How to make an orthogonal array: a builder and its arguments."""

    build: Callable[..., Array]
    arguments: tuple[Any, ...]


@cache
def _method(k: int, n: int) -> Method | None:
    if n < 1 or k < 1:
        return None
    if k <= 3 or n == 1:
        return Method(_sums, (n,))
    if prime_power(n):
        return Method(_lines, (n,)) if k <= n + 1 else None
    return _find_product(k, n) or _find_difference_matrix(k, n) or _find_klein_four(k, n) or _find_wilson(k, n)


def _sums(k: int, n: int) -> Array:
    """The Latin square x + y modulo n."""
    x, y = np.divmod(np.arange(n * n), n)
    return np.stack([x, y] + [(x + y) % n] * (k - 2), axis=1)[:, :k]


def _lines(k: int, q: int) -> Array:
    """Row (x, y) holds x, then a x + y for elements a of GF(q) (R. C. Bose, Sankhya 3 (1938) 323-338)."""
    field = finite_field(q)
    x, y = np.divmod(np.arange(q * q), q)
    return np.stack([x] + [field.add(field.multiply(a, x), y) for a in range(k - 1)], axis=1)


def _find_product(k: int, n: int) -> Method | None:
    for a in range(2, isqrt(n) + 1):
        if n % a == 0 and has_orthogonal_array(k, a) and has_orthogonal_array(k, n // a):
            return Method(_product, (a, n // a))
    return None


def _product(k: int, a: int, b: int) -> Array:
    """Pairs of levels (H. F. MacNeish, Ann. of Math. 23 (1922) 221-227)."""
    return np.asarray((orthogonal_array(k, a)[:, None] * b + orthogonal_array(k, b)[None]).reshape(-1, k))


def _find_klein_four(k: int, n: int) -> Method | None:
    if k == 4 and n == 14:
        return Method(_klein_four, (11, (0, 3, 6, 11), (0, 4, 10, 12), (0, 5, 7, 13), (0, 1, 2, 4)))
    m, remainder = divmod(n - 1, 3)
    if k == 4 and remainder == 0 and has_orthogonal_array(4, m):
        order = 2 * m + 1
        return Method(_klein_four, (order, *[(0, i, order - i, order + i - 1) for i in range(1, m + 1)]))
    return None


def _klein_four(k: int, order: int, *base: tuple[int, ...]) -> Array:
    """Rows over Z_order and points at infinity, with their places exchanged in pairs: order 14, and 3m + 1 from m.

    R. C. Bose, S. S. Shrikhande, E. T. Parker, Canad. J. Math. 12 (1960) 189-203.
    """
    places = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
    rows = np.unique(np.array([(0, 0, 0, 0), *base])[:, places].reshape(-1, 4), axis=0)
    shifted = (rows[:, None] + np.arange(order)[None, :, None]) % order
    developed = np.where(rows[:, None] < order, shifted, rows[:, None]).reshape(-1, 4)
    return np.concatenate([developed, order + orthogonal_array(4, rows.max() - order + 1)])


# Rows of a difference matrix after 0 and 0, 1, 2, ...: of any two the differences are all elements of the group.
_DIFFERENCE_MATRICES: dict[int, tuple[tuple[int, ...], list[list[int]]]] = {
    12: (
        (6, 2),
        [
            [0, 2, 1, 6, 8, 7, 10, 9, 11, 4, 3, 5],
            [0, 3, 8, 10, 1, 9, 2, 6, 5, 7, 11, 4],
            [0, 4, 10, 9, 7, 1, 11, 5, 3, 2, 8, 6],
        ],
    ),
    15: (
        (15,),
        [
            [0, 5, 8, 1, 11, 6, 3, 2, 13, 12, 9, 4, 14, 7, 10],
            [0, 9, 14, 4, 13, 7, 10, 12, 3, 5, 8, 2, 11, 1, 6],
        ],
    ),
}


def _find_difference_matrix(k: int, n: int) -> Method | None:
    known = n in _DIFFERENCE_MATRICES and k <= len(_DIFFERENCE_MATRICES[n][1]) + 3
    return Method(_difference_matrix, (n,)) if known else None


def _difference_matrix(k: int, n: int) -> Array:
    """A difference matrix and its translates (D. M. Johnson, A. L. Dulmage, N. S. Mendelsohn, Canad. J. Math. 13 (1961)
    356-372)."""
    moduli, rows = _DIFFERENCE_MATRICES[n]
    matrix = np.array([[0] * n, list(range(n)), *rows]).T
    translates = AbelianGroup(moduli).add(matrix[:, None], np.arange(n)[None, :, None])
    number = np.broadcast_to(np.arange(n)[:, None, None], (n, n, 1))
    return np.concatenate([number, translates], axis=2).reshape(n * n, -1)[:, :k]


def _find_wilson(k: int, n: int) -> Method | None:
    for m in range(k - 1, isqrt(n) + 1):
        if has_orthogonal_array(k, m) and has_orthogonal_array(k, m + 1):
            for t in range((n - 1) // m, -(-n // (m + 1)) - 1, -1):
                u = n - m * t
                if has_orthogonal_array(k + 1, t) and has_orthogonal_array(k, u):
                    return Method(_wilson, (m, t, u))
    return None


def _wilson(k: int, m: int, t: int, u: int) -> Array:
    """Order m t + u: OA(k + 1, t) with its last column cut to u levels, rows blown up by m, or m + 1 where it is left.

    R. M. Wilson, Discrete Math. 9 (1974) 181-198.
    """
    master = orthogonal_array(k + 1, t)
    levels, last = master[:, None, :k], master[:, None, k:]
    small, large = orthogonal_array(k, m)[None], (orthogonal_array(k, m + 1)[None, 1:] - 1) % (m + 1)
    met = master[:, k] < u
    missed_rows = (levels[~met] * m + small).reshape(-1, k)
    met_rows = np.where(large == m, m * t + last[met], levels[met] * m + large).reshape(-1, k)
    return np.concatenate([missed_rows, met_rows, m * t + orthogonal_array(k, u)])
