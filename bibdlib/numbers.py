"""Whole numbers: factors, prime powers, squares, the Hilbert symbol."""

from __future__ import annotations

from functools import cache
from math import isqrt

__all__ = ["factorization", "hilbert_symbol", "is_prime", "is_square", "prime_power"]

_TRIAL_BOUND = 1 << 10


@cache
def factorization(n: int) -> tuple[tuple[int, int], ...]:
    """Primes of n >= 1 with their exponents, ascending.

    Small factors by trial; what is left above the square of the bound goes to sympy,
    whose import is paid only by those who need it.
    """
    factors: dict[int, int] = {}
    for p in (2, *range(3, _TRIAL_BOUND, 2)):
        if p * p > n:
            break
        while n % p == 0:
            factors[p] = factors.get(p, 0) + 1
            n //= p
    if n >= _TRIAL_BOUND**2:
        from sympy import factorint

        factors |= {int(p): int(e) for p, e in factorint(n).items()}
    elif n > 1:
        factors[n] = factors.get(n, 0) + 1
    return tuple(sorted(factors.items()))


def is_prime(n: int) -> bool:
    """Whether n is prime."""
    return n > 1 and factorization(n) == ((n, 1),)


def prime_power(n: int) -> tuple[int, int] | None:
    """The witness (p, e) with n = p^e, or None if n is no prime power."""
    factors = factorization(n) if n > 1 else ()
    return factors[0] if len(factors) == 1 else None


def is_square(n: int) -> bool:
    """Whether n >= 0 is the square of a whole number."""
    return n >= 0 and isqrt(n) ** 2 == n


def hilbert_symbol(a: int, b: int, p: int) -> int:
    """1 if a x^2 + b y^2 = z^2 has a solution other than 0 in the p-adic numbers, else -1.

    Serre, A Course in Arithmetic (1973), III.1, Theorem 1.
    """
    alpha, u = _split(a, p)
    beta, w = _split(b, p)
    if p == 2:
        half, eighth = (lambda n: (n - 1) // 2 % 2), (lambda n: (n * n - 1) // 8 % 2)
        return (-1) ** (half(u) * half(w) + alpha * eighth(w) + beta * eighth(u))
    sign = (-1) ** (alpha * beta * ((p - 1) // 2))
    return sign * _legendre(u, p) ** (beta % 2) * _legendre(w, p) ** (alpha % 2)


def _split(n: int, p: int) -> tuple[int, int]:
    exponent = 0
    while n % p == 0:
        n, exponent = n // p, exponent + 1
    return exponent, n


def _legendre(a: int, p: int) -> int:
    return 1 if pow(a, (p - 1) // 2, p) == 1 else -1
