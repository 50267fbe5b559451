"""Triple systems: blocks of three points, for every v and lam that counting allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import CONSTRUCTIONS, Match, Matches, register
from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.fields import finite_field
from bibdlib.groups import cyclic, develop
from bibdlib.implicit_triples import BoseTriples, SkolemTriples
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["bose_triple_system", "netto_triple_system", "skolem_triple_system", "triple_system"]

Elements = npt.NDArray[np.int64]


def _matches_bose(p: Parameters) -> Matches:
    if (p.k, p.lam) == (3, 1) and p.v % 6 == 3:
        yield Match({"v": p.v})


@register(
    title="Bose's triple systems",
    reference="R. C. Bose, Ann. Eugenics 9 (1939) 353-399",
    matches=_matches_bose,
    implicit=BoseTriples,
)
def bose_triple_system(v: int) -> npt.NDArray[Any]:
    """(v, 3, 1) for v = 3 mod 6, v >= 9 or 3: three copies of Z_n and the operation x o y = (x + y) / 2.

    Raises
    ------
    InvalidParameters
        If v is not 3 mod 6.
    """
    n = _third(v, 6, 3)
    x, y = np.triu_indices(n, 1)
    return np.concatenate([_columns(n, np.arange(n)), _upward(n, x, y, _halved_sum(n, x, y))])


def _matches_skolem(p: Parameters) -> Matches:
    if (p.k, p.lam) == (3, 1) and p.v % 6 == 1:
        yield Match({"v": p.v})


def _implicit_skolem(v: int) -> SkolemTriples | None:
    """None for prime powers: they have cyclotomic families, which differences prove and not only a sample."""
    return None if prime_power(v) else SkolemTriples(v)


@register(
    title="Skolem's triple systems",
    reference="T. Skolem, Math. Scand. 6 (1958) 273-280",
    matches=_matches_skolem,
    implicit=_implicit_skolem,
)
def skolem_triple_system(v: int) -> npt.NDArray[Any]:
    """(v, 3, 1) for v = 1 mod 6: three copies of Z_2t and a point at infinity.

    The operation on Z_2t is commutative and half idempotent: x o x = x for x < t, and (x + t) o (x + t) = x.

    Raises
    ------
    InvalidParameters
        If v is not 1 mod 6.
    """
    n = _third(v, 6, 1)
    t = n // 2
    x, y = np.triu_indices(n, 1)
    total = (x + y) % n
    low = np.arange(t)
    through_infinity = [
        np.stack([low + t + n * i, low + n * ((i + 1) % 3), np.full(t, v - 1)], axis=1) for i in range(3)
    ]
    return np.concatenate(
        [_columns(n, low), *through_infinity, _upward(n, x, y, total // 2 + np.where(total % 2, t, 0))]
    )


def _matches_netto(p: Parameters) -> Matches:
    if (p.k, p.lam) == (3, 1) and p.v % 12 == 7 and prime_power(p.v):
        yield Match({"q": p.v})


@register(title="Netto's triple systems", reference="E. Netto, Math. Ann. 42 (1893) 143-152", matches=_matches_netto)
def netto_triple_system(q: int) -> npt.NDArray[Any]:
    """(q, 3, 1) for a prime power q = 7 mod 12: the images of {0, 1, e} under x -> a^2 x + b, e^2 = e - 1.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or not 7 mod 12.
    """
    field = finite_field(q)
    if q % 12 != 7:
        raise InvalidParameters(f"Argument 'q' must be 7 mod 12, not {q} = {q % 12} mod 12.")
    sixth = (q - 1) // 6
    triple = np.array([0, 1, field.powers[sixth]])
    # A cube root of unity turns the triple around itself, so a sixth of the multipliers is enough.
    return develop(field.multiply(triple, field.powers[: 2 * sixth : 2, None]), field.additive)


def _matches_triple_system(p: Parameters) -> Matches:
    if p.k == 3 and p.is_admissible:
        yield Match({"v": p.v, "lam": p.lam})


@register(
    title="triple systems", reference="H. Hanani, Ann. Math. Statist. 32 (1961) 361-386", matches=_matches_triple_system
)
def triple_system(v: int, lam: int = 1) -> npt.NDArray[Any]:
    """(v, 3, lam) for all v and lam that counting allows.

    Each v has a smallest lam in {1, 2, 3, 6} that divides all the others; of larger ones copies are taken.
    The smallest come from one idea, triples {x, y, x o y} of an idempotent operation: within the points for
    lam = 3 and 6, from each of three copies into the next for lam = 1 and 2.

    Raises
    ------
    InvalidParameters
        If v < 3, or b or r would be no whole number.
    """
    p = Parameters(as_integer("v", v, 3), 3, lam)
    if not p.is_admissible:
        raise InvalidParameters(f"Arguments 'v', 'lam' must give whole b and r, not b = {p.b}, r = {p.r} of {p}.")
    smallest, build = _SMALLEST[p.v % 6]
    return np.tile(build(p.v), (p.lam // smallest, 1))


def _twofold(v: int) -> Elements:
    """(v, 3, 2) for v = 0 or 1 mod 3: three copies of an idempotent quasigroup, with a point at infinity for 1."""
    if v == 6:
        return develop([[0, 1, 2], [0, 2, 5]], cyclic(5))
    n = v // 3
    x, y = _ordered_pairs(n)
    columns = _columns(n, np.arange(n))
    mixed = _upward(n, x, y, _idempotent(n, x, y))
    if v % 3 == 0:
        return np.concatenate([columns, columns, mixed])
    sides = columns[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return np.concatenate([columns, np.insert(sides, 2, v - 1, axis=1), mixed])


def _threefold(v: int) -> Elements:
    """(v, 3, 3) for odd v: {x, y, (x + y) / 2}."""
    x, y = np.triu_indices(v, 1)
    return np.stack([x, y, _halved_sum(v, x, y)], axis=1)


def _sixfold(v: int) -> Elements:
    """(v, 3, 6): {x, y, x o y} for ordered pairs."""
    x, y = _ordered_pairs(v)
    return np.stack([x, y, _idempotent(v, x, y)], axis=1)


_SMALLEST = {
    0: (2, _twofold),
    1: (1, CONSTRUCTIONS["skolem_triple_system"].build),
    2: (6, _sixfold),
    3: (1, CONSTRUCTIONS["bose_triple_system"].build),
    4: (2, _twofold),
    5: (3, _threefold),
}


def _third(v: int, modulus: int, remainder: int) -> int:
    v = as_integer("v", v, 3)
    if v % modulus != remainder:
        raise InvalidParameters(
            f"Argument 'v' must be {remainder} mod {modulus}, not {v} = {v % modulus} mod {modulus}."
        )
    return v // 3


def _columns(n: int, x: Elements) -> Elements:
    """The triples {(x, 0), (x, 1), (x, 2)}; copy i of x is x + n i."""
    return x[:, None] + n * np.arange(3)


def _upward(n: int, x: Elements, y: Elements, z: Elements) -> Elements:
    """The triples {(x, i), (y, i), (z, i + 1)} for i in Z_3."""
    return np.concatenate([np.stack([x + n * i, y + n * i, z + n * ((i + 1) % 3)], axis=1) for i in range(3)])


def _ordered_pairs(n: int) -> tuple[Elements, Elements]:
    x, y = np.divmod(np.arange(n * n), n)
    return x[x != y], y[x != y]


def _halved_sum(n: int, x: Elements, y: Elements) -> Elements:
    """(x + y) / 2 in Z_n for odd n: idempotent, commutative, x o a = b always solvable."""
    return (x + y) * ((n + 1) // 2) % n


def _idempotent(n: int, x: Elements, y: Elements) -> Elements:
    """An idempotent quasigroup on 0..n-1, n != 2.

    For even n that of odd order n - 1 is prolonged: the products on the transversal y = x + 1
    move to the new element's row and column, and give way to it.
    """
    if n % 2:
        return _halved_sum(n, x, y)
    m = n - 1
    z = np.where((y - x) % m == 1, m, _halved_sum(m, x, y))
    z = np.where(x == m, _halved_sum(m, y - 1, y), z)
    return np.where(y == m, _halved_sum(m, x, x + 1), z)
