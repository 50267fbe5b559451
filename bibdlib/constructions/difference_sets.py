"""Difference sets in abelian groups, and the symmetric designs of their translates.

Each function returns the set in its group; the registry builds the design.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import numpy as np

from bibdlib.constructions.base_blocks import DifferenceSet, register_base_blocks
from bibdlib.constructions.registry import Match, Matches
from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.fields import finite_field
from bibdlib.groups import AbelianGroup, cyclic
from bibdlib.numbers import is_prime, is_square, prime_power
from bibdlib.parameters import Parameters

__all__ = [
    "DifferenceSet",
    "hall_difference_set",
    "octic_difference_set",
    "paley_difference_set",
    "quartic_difference_set",
    "singer_difference_set",
    "twin_prime_difference_set",
]


def _matches_singer(p: Parameters) -> Matches:
    if not p.is_symmetric or (q := p.k - p.lam) < 2:
        return
    # Of a hyperplane k - lam = q^(n-1), so every root of it is tried.
    power = prime_power(q)
    if power is None:
        return
    prime, exponent = power
    for m in range(1, exponent + 1):
        if exponent % m == 0:
            n, q = m + 1, prime ** (exponent // m)
            if (q ** (n + 1) - 1) // (q - 1) == p.v and (q**n - 1) // (q - 1) == p.k:
                yield Match({"n": n, "q": q})


@register_base_blocks(
    title="Singer difference sets",
    reference="J. Singer, Trans. Amer. Math. Soc. 43 (1938) 377-385",
    matches=_matches_singer,
)
def singer_difference_set(n: int, q: int) -> DifferenceSet:
    """The hyperplanes of PG(n, q) as a set in Z_v, v = (q^(n+1) - 1) / (q - 1), k = (q^n - 1) / (q - 1).

    These are the logarithms of the elements of GF(q^(n+1)) with trace 0 over GF(q), modulo v.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or n < 2.
    """
    n = as_integer("n", n, 2)
    finite_field(q)
    field = finite_field(q ** (n + 1))
    v = (field.q - 1) // (q - 1)
    trace = np.zeros(v, dtype=np.int64)
    for i in range(n + 1):
        trace = field.add(trace, field.powers[np.arange(v) * q**i % (field.q - 1)])
    return DifferenceSet(cyclic(v), np.flatnonzero(trace == 0)[None])


def _matches_paley(p: Parameters) -> Matches:
    if p.v % 4 == 3 and (p.k, p.lam) == (p.v // 2, p.v // 4) and prime_power(p.v):
        yield Match({"q": p.v})


@register_base_blocks(
    title="Paley difference sets",
    reference="R. E. A. C. Paley, J. Math. Phys. 12 (1933) 311-320",
    matches=_matches_paley,
)
def paley_difference_set(q: int) -> DifferenceSet:
    """The squares of GF(q) but 0, for a prime power q = 3 mod 4: (q, (q - 1) / 2, (q - 3) / 4).

    Raises
    ------
    InvalidParameters
        If q is no prime power, or not 3 mod 4.
    """
    field = finite_field(q)
    if q % 4 != 3 or q < 7:
        raise InvalidParameters(f"Argument 'q' must be 3 mod 4 and at least 7, not {q}.")
    return DifferenceSet(field.additive, np.sort(field.coset(2))[None])


def _matches_twin_prime(p: Parameters) -> Matches:
    q = isqrt(p.v)
    if q * (q + 2) == p.v and (p.k, p.lam) == (p.v // 2, p.v // 4) and prime_power(q) and prime_power(q + 2):
        yield Match({"q": q})


@register_base_blocks(
    title="twin prime power difference sets",
    reference="R. G. Stanton, D. A. Sprott, Canad. J. Math. 10 (1958) 73-77",
    matches=_matches_twin_prime,
)
def twin_prime_difference_set(q: int) -> DifferenceSet:
    """In GF(q) + GF(q + 2), both odd prime powers: (x, y) with y = 0, or x y != 0 and both or neither square.

    v = q (q + 2), k = (v - 1) / 2, lam = (v - 3) / 4.

    Raises
    ------
    InvalidParameters
        If q or q + 2 is no odd prime power.
    """
    first, second = finite_field(q), finite_field(q + 2)
    if q % 2 == 0:
        raise InvalidParameters(f"Argument 'q' must be odd, not {q}.")
    both = np.add.outer(second.coset(2) * q, first.coset(2)).ravel()
    neither = np.add.outer(second.coset(2, 1) * q, first.coset(2, 1)).ravel()
    group = AbelianGroup(first.additive.moduli + second.additive.moduli)
    return DifferenceSet(group, np.sort(np.concatenate([np.arange(q), both, neither]))[None])


def _with_zero_of_quartic(q: int) -> bool | None:
    """Whether the fourth powers need 0 to be a difference set, or None if they are none."""
    for with_zero, base in ((False, 1), (True, 9)):
        square, remainder = divmod(q - base, 4)
        if remainder == 0 and square % 2 and is_square(square) and q > 5 and is_prime(q):
            return with_zero
    return None


def _matches_quartic(p: Parameters) -> Matches:
    yield from _matches_residues(p, 4, _with_zero_of_quartic)


@register_base_blocks(
    title="quartic residue difference sets",
    reference="E. Lehmer, Canad. J. Math. 5 (1953) 425-432",
    matches=_matches_quartic,
)
def quartic_difference_set(q: int) -> DifferenceSet:
    """The fourth powers modulo a prime q = 1 + 4 t^2 > 5, t odd, or with 0 if q = 9 + 4 t^2.

    (q, (q - 1) / 4, (q - 5) / 16), or (q, (q + 3) / 4, (q + 3) / 16) with 0.

    Raises
    ------
    InvalidParameters
        If q is no prime of these forms.
    """
    return _residues(q, 4, _with_zero_of_quartic(as_integer("q", q, 5)), "1 + 4 t^2 or 9 + 4 t^2, t odd")


def _with_zero_of_octic(q: int) -> bool | None:
    """Whether the eighth powers need 0 to be a difference set, or None if they are none."""
    for with_zero, (base, far) in ((False, (1, 9)), (True, (49, 441))):
        t_squared, remainder = divmod(q - base, 8)
        u_squared, rest = divmod(q - far, 64)
        squares = remainder == rest == 0 and is_square(t_squared) and is_square(u_squared)
        if squares and t_squared % 2 and u_squared % 2 == (not with_zero) and is_prime(q):
            return with_zero
    return None


def _matches_octic(p: Parameters) -> Matches:
    yield from _matches_residues(p, 8, _with_zero_of_octic)


@register_base_blocks(
    title="octic residue difference sets",
    reference="E. Lehmer, Canad. J. Math. 5 (1953) 425-432",
    matches=_matches_octic,
)
def octic_difference_set(q: int) -> DifferenceSet:
    """The eighth powers modulo a prime q = 1 + 8 t^2 = 9 + 64 u^2, t and u odd, such as 73.

    With 0 if q = 49 + 8 t^2 = 441 + 64 u^2, t odd and u even, such as 26041.
    (q, (q - 1) / 8, (q - 9) / 64), or (q, (q + 7) / 8, (q + 7) / 64) with 0.

    Raises
    ------
    InvalidParameters
        If q is no prime of these forms.
    """
    forms = "1 + 8 t^2 = 9 + 64 u^2, t and u odd, or 49 + 8 t^2 = 441 + 64 u^2, t odd and u even"
    return _residues(q, 8, _with_zero_of_octic(as_integer("q", q, 9)), forms)


def _matches_hall(p: Parameters) -> Matches:
    if (p.k, p.lam) == (p.v // 2, p.v // 4) and _is_hall(p.v):
        yield Match({"q": p.v})


@register_base_blocks(
    title="Hall's sextic difference sets",
    reference="M. Hall, Proc. Amer. Math. Soc. 7 (1956) 975-986",
    matches=_matches_hall,
)
def hall_difference_set(q: int) -> DifferenceSet:
    """Three of the six classes of sixth powers modulo a prime q = 4 x^2 + 27: (q, (q - 1) / 2, (q - 3) / 4).

    The classes of 1, 3 and g^3, for a primitive root g in whose logarithms that of 3 is 1 modulo 6.

    Raises
    ------
    InvalidParameters
        If q is no prime of this form.
    """
    q = as_integer("q", q, 27)
    if not _is_hall(q):
        raise InvalidParameters(f"Argument 'q' must be a prime 4 x^2 + 27, not {q}.")
    field = finite_field(q)
    # Where 3 has logarithm 5, the inverse of the primitive root is taken: class i becomes -i.
    sign = 1 if field.logarithms[3] % 6 == 1 else -1
    classes = [field.coset(6, sign * i % 6) for i in (0, 1, 3)]
    return DifferenceSet(field.additive, np.sort(np.concatenate(classes))[None])


def _is_hall(q: int) -> bool:
    quarter, remainder = divmod(q - 27, 4)
    return remainder == 0 and is_square(quarter) and is_prime(q)


def _matches_residues(p: Parameters, e: int, with_zero: Callable[[int], bool | None]) -> Matches:
    if p.v % e == 1 and p.k in ((p.v - 1) // e, (p.v - 1) // e + 1) and p.is_symmetric:
        zero = with_zero(p.v)
        if zero is not None and p.k == (p.v - 1) // e + zero:
            yield Match({"q": p.v})


def _residues(q: int, e: int, zero: bool | None, forms: str) -> DifferenceSet:
    if zero is None:
        raise InvalidParameters(f"Argument 'q' must be a prime {forms}, not {q}.")
    field = finite_field(q)
    return DifferenceSet(field.additive, np.sort(np.append(field.coset(e), [0] * zero))[None])
