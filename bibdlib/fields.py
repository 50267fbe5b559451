"""Finite fields as lookup tables: elements are the numbers 0..q-1, written in base p as galois writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.groups import AbelianGroup
from bibdlib.numbers import factorization, prime_power

__all__ = ["Field", "finite_field"]

Elements = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Field:
    """GF(q), q = p^degree, with powers and logarithms to a primitive element.

    The number a_0 + a_1 p + a_2 p^2 + ... stands for the polynomial with these coefficients, so the
    additive group is Z_p^degree in mixed radix: `additive` numbers its elements alike.
    All operations take and return integer arrays, elementwise.
    """

    q: int
    p: int
    degree: int
    powers: Elements = field(repr=False)
    logarithms: Elements = field(repr=False)

    @property
    def additive(self) -> AbelianGroup:
        """The additive group, its elements numbered like the field's."""
        return AbelianGroup((self.p,) * self.degree)

    @property
    def primitive(self) -> int:
        """The primitive element of which `powers` holds the powers."""
        return int(self.powers[1 % (self.q - 1)])

    def add(self, a: Any, b: Any) -> Elements:
        """a + b."""
        return self.additive.add(a, b)

    def subtract(self, a: Any, b: Any) -> Elements:
        """a - b."""
        return self.additive.subtract(a, b)

    def multiply(self, a: Any, b: Any) -> Elements:
        """a b."""
        a, b = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
        if self.degree == 1:
            return a * b % self.p
        product = self.powers[(self.logarithms[a] + self.logarithms[b]) % (self.q - 1)]
        return np.where((a == 0) | (b == 0), 0, product)

    def power(self, a: Any, n: int) -> Elements:
        """a^n for n >= 0, with 0^0 = 1."""
        a = np.asarray(a, dtype=np.int64)
        if n == 0:
            return np.ones_like(a)
        return np.where(a == 0, 0, self.powers[self.logarithms[a] * n % (self.q - 1)])

    def coset(self, e: int, i: int = 0) -> Elements:
        """The cyclotomic class of index e: primitive^(i + e j) for j = 0..(q-1)/e - 1."""
        return self.powers[i % e :: e]


@cache
def finite_field(q: int) -> Field:
    """GF(q) for a prime power q: prime fields and those up to 4096 are made at once, the others through galois.

    Raises
    ------
    InvalidParameters
        If q is no prime power.
    """
    q = as_integer("q", q, 2)
    witness = prime_power(q)
    if witness is None:
        factors = " * ".join(f"{p}^{e}" if e > 1 else str(p) for p, e in factorization(q))
        raise InvalidParameters(f"Argument 'q' must be a prime power, not {q} = {factors}.")
    p, degree = witness
    powers = _prime_powers(p) if degree == 1 else _extension_powers(p, degree)
    logarithms = np.zeros(q, dtype=np.int64)
    logarithms[powers] = np.arange(q - 1)
    for table in (powers, logarithms):
        table.flags.writeable = False
    return Field(q, p, degree, powers, logarithms)


def _prime_powers(p: int) -> Elements:
    generator = next(g for g in range(1, p) if all(pow(g, (p - 1) // f, p) != 1 for f, _ in factorization(p - 1)))
    return _doubled(p - 1, np.ones(1, dtype=np.int64), np.int64(generator), lambda a, b: a * b % p)


def _extension_powers(p: int, degree: int) -> Elements:
    if p**degree not in _CONWAY:
        import galois

        field = galois.GF(p, degree)
        return np.asarray(field.primitive_element ** np.arange(field.order - 1), dtype=np.int64)
    radix = p ** np.arange(degree)
    one = np.eye(1, degree, dtype=np.int64)
    # Times x, on rows of coefficients.
    companion = np.eye(degree, k=1, dtype=np.int64)
    companion[-1] = -(_CONWAY[p**degree] // radix) % p
    return _doubled(p**degree - 1, one, companion, lambda a, b: a @ b % p) @ radix


def _doubled(count: int, powers: Elements, step: Any, multiply: Callable[[Any, Any], Any]) -> Elements:
    """The first `count` powers of `step`, given the zeroth: each half from the half before it."""
    while len(powers) < count:
        powers = np.concatenate([powers, multiply(powers, step)])
        step = multiply(step, step)
    return powers[:count]


# Conway polynomials by field order, as numbers in base p; x is primitive. They are those of galois, which
# takes a second to load and to find one. F. Luebeck's tables, Conway polynomials for finite fields.
_CONWAY = {
    4: 7, 8: 11, 9: 17, 16: 19, 25: 47, 27: 34, 32: 37, 49: 94, 64: 91,
    81: 137, 121: 200, 125: 143, 128: 131, 169: 327, 243: 250, 256: 285, 289: 564, 343: 641,
    361: 705, 512: 529, 529: 1017, 625: 747, 729: 908, 841: 1539, 961: 1863, 1024: 1135, 1331: 1362,
    1369: 2592, 1681: 3245, 1849: 3658, 2048: 2053, 2187: 2206, 2197: 2234, 2209: 4329, 2401: 2677, 2809: 5408,
    3125: 3148, 3481: 6905, 3721: 7383, 4096: 4331,
}  # fmt: skip
