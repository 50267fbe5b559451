"""Orthogonal arrays of strength 2 and index 1: transversal designs, nets and orthogonal Latin squares in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isqrt

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters
from bibdlib.fields import finite_field
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
    arguments: tuple[int, ...]


@cache
def _method(k: int, n: int) -> Method | None:
    if n < 1 or k < 1:
        return None
    if k <= 3 or n == 1:
        return Method(_sums, (n,))
    if prime_power(n):
        return Method(_lines, (n,)) if k <= n + 1 else None
    return _find_product(k, n) or _find_three_times_and_one(k, n) or _find_wilson(k, n)


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


def _find_three_times_and_one(k: int, n: int) -> Method | None:
    m, remainder = divmod(n - 1, 3)
    return Method(_three_times_and_one, (m,)) if k == 4 and remainder == 0 and has_orthogonal_array(4, m) else None


def _three_times_and_one(k: int, m: int) -> Array:
    """Order 3m + 1 from order m, over Z_(2m+1) and m points at infinity.

    R. C. Bose, S. S. Shrikhande, E. T. Parker, Canad. J. Math. 12 (1960) 189-203.
    """
    order = 2 * m + 1
    i = np.arange(1, m + 1)
    a, b, c, infinity = 0 * i, i, order - i, order + i - 1
    base = np.concatenate(
        [[[a, b, c, infinity], [b, a, infinity, c], [c, infinity, a, b], [infinity, c, b, a]]], axis=0
    )
    base = np.concatenate([base.transpose(0, 2, 1).reshape(-1, 4), np.zeros((1, 4), dtype=np.int64)])
    shifted = (base[:, None] + np.arange(order)[None, :, None]) % order
    developed = np.where(base[:, None] < order, shifted, base[:, None]).reshape(-1, 4)
    return np.concatenate([developed, order + orthogonal_array(4, m)])


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
