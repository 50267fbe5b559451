"""Bose's and Skolem's triple systems by arithmetic, points numbered as in `triple_systems`."""

from __future__ import annotations

from abc import abstractmethod
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.implicit import ImplicitDesign
from bibdlib.parameters import Parameters

__all__ = ["BoseTriples", "SkolemTriples"]

Numbers = npt.NDArray[np.int64]


class _Triples(ImplicitDesign):
    """Three copies of Z_n with a commutative operation o; copy i of x is the point x + n i.

    The blocks are the special ones, then {(x, i), (y, i), (x o y, i + 1)}: copy after copy, pair after pair.
    """

    remainder = 0

    def __init__(self, v: int) -> None:
        v = as_integer("v", v, 3)
        if v % 6 != self.remainder:
            raise InvalidParameters(f"Argument 'v' must be {self.remainder} mod 6, not {v} = {v % 6} mod 6.")
        self.parameters = Parameters(v, 3, 1)

    @property
    def _n(self) -> int:
        return self.v // 3

    @property
    def _pairs(self) -> int:
        return self._n * (self._n - 1) // 2

    @property
    @abstractmethod
    def _specials(self) -> int:
        """Number of special blocks."""

    @abstractmethod
    def _special(self, i: int) -> tuple[int, int, int]:
        """The points of special block i."""

    @abstractmethod
    def _special_joining(self, x: Numbers, copy: Numbers) -> Numbers:
        """The special block that joins (x, copy), in the next copy, to what x o x or its like would be."""

    @abstractmethod
    def _product(self, total: Any) -> Any:
        """x o y from x + y mod n."""

    @abstractmethod
    def _total(self, product: Numbers) -> Numbers:
        """x + y mod n from x o y."""

    def _block(self, i: int) -> Numbers:
        if i < self._specials:
            return np.sort(np.array(self._special(i), dtype=np.int64))
        copy, pair = divmod(i - self._specials, self._pairs)
        x, y = _unpaired(pair, self._n)
        z = self._product((x + y) % self._n)
        return np.sort(np.array([x + self._n * copy, y + self._n * copy, z + self._n * ((copy + 1) % 3)]))

    def _blocks_through(self, x: int) -> Numbers:
        return np.unique(self._joining(x, np.delete(np.arange(self.v), x)))

    def _blocks_joining(self, x: int, y: int) -> Numbers:
        return self._joining(x, np.array([y]))

    def _joining(self, point: int, others: Numbers) -> Numbers:
        """The block through one point and each of the others, all of the three copies."""
        n = self._n
        (i, x), (j, y) = divmod(point, n), np.divmod(others, n)
        # Seen from the lower of two copies the other point is the product.
        up = (j - i) % 3 == 1
        first, copy = np.where(up, x, y), np.where(up, i, j)
        second = (self._total(np.where(up, y, x)) - first) % n
        same = i == j
        first, second = np.where(same, x, first), np.where(same, y, second)
        copy = np.where(same, i, copy)
        mixed = self._specials + copy * self._pairs + _paired(np.minimum(first, second), np.maximum(first, second), n)
        return np.where(first == second, self._special_joining(first, copy), mixed)


class BoseTriples(_Triples):
    """(v, 3, 1) for v = 3 mod 6, with x o y = (x + y) / 2: R. C. Bose, Ann. Eugenics 9 (1939) 353-399.

    Raises
    ------
    InvalidParameters
        If v is not 3 mod 6.
    """

    remainder = 3

    @property
    def _specials(self) -> int:
        return self._n

    def _special(self, i: int) -> tuple[int, int, int]:
        return i, i + self._n, i + 2 * self._n

    def _special_joining(self, x: Numbers, copy: Numbers) -> Numbers:
        return x

    def _product(self, total: Any) -> Any:
        return total * ((self._n + 1) // 2) % self._n

    def _total(self, product: Numbers) -> Numbers:
        return 2 * product % self._n


class SkolemTriples(_Triples):
    """(v, 3, 1) for v = 1 mod 6, with a point at infinity: T. Skolem, Math. Scand. 6 (1958) 273-280.

    Raises
    ------
    InvalidParameters
        If v is not 1 mod 6.
    """

    remainder = 1

    @property
    def _half(self) -> int:
        return self._n // 2

    @property
    def _specials(self) -> int:
        return 4 * self._half

    def _special(self, i: int) -> tuple[int, int, int]:
        copy, low = divmod(i, self._half)
        if copy == 0:
            return low, low + self._n, low + 2 * self._n
        return low + self._half + self._n * (copy - 1), low + self._n * (copy % 3), self.v - 1

    def _special_joining(self, x: Numbers, copy: Numbers) -> Numbers:
        low = x % self._half
        return np.where(x < self._half, low, self._half * (copy + 1) + low)

    def _product(self, total: Any) -> Any:
        return total // 2 + total % 2 * self._half

    def _total(self, product: Numbers) -> Numbers:
        return np.where(product < self._half, 2 * product, 2 * (product - self._half) + 1)

    def _joining(self, point: int, others: Numbers) -> Numbers:
        infinity = self.v - 1
        if point == infinity:
            return self._to_infinity(others)
        inside = np.where(others == infinity, point, others)
        return np.where(others == infinity, self._to_infinity(np.array([point])), super()._joining(point, inside))

    def _to_infinity(self, points: Numbers) -> Numbers:
        copy, x = np.divmod(points, self._n)
        from_copy = np.where(x < self._half, (copy - 1) % 3, copy)
        return self._half * (from_copy + 1) + x % self._half


def _paired(x: Numbers, y: Numbers, n: int) -> Numbers:
    """The number of a pair x < y of 0..n-1 in lexicographic order."""
    return x * (2 * n - x - 1) // 2 + y - x - 1


def _unpaired(pair: int, n: int) -> tuple[int, int]:
    """The pair of a number: counted from the end, x begins at a triangular number."""
    left = n * (n - 1) // 2 - 1 - pair
    row = (isqrt(8 * left + 1) - 1) // 2
    x = n - 2 - row
    return x, pair - x * (2 * n - x - 1) // 2 + x + 1
