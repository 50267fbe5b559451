"""Blocks on the projective line over GF(q): spherical geometries, and orbits under affine groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.fields import Field, finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["half_spherical_geometry", "orbits_of_cosets", "spherical_geometry"]


def _matches_spherical(p: Parameters) -> Matches:
    q = p.k - 1
    n = 2
    if q > 1 and prime_power(q):
        while q**n < p.v - 1:
            n += 1
        if q**n == p.v - 1 and p.lam == (p.v - 2) // (q - 1):
            yield Match({"q": q, "n": n})


@register(
    title="spherical geometry (inversive plane if n = 2)",
    reference="E. Witt, Abh. Math. Sem. Univ. Hamburg 12 (1938) 265-275",
    matches=_matches_spherical,
)
def spherical_geometry(q: int, n: int = 2) -> npt.NDArray[Any]:
    """The images of PG(1, q) in PG(1, q^n): every three points in one block, (q^n + 1, q + 1, (q^n - 1)/(q - 1))."""
    field = finite_field(q**n)
    return _sublines(field, q, field.powers[: (field.q - 1) // (q - 1)])


def _matches_half_spherical(p: Parameters) -> Matches:
    q = p.k - 1
    if q % 2 and p.v == q * q + 1 and 2 * p.lam == q + 1 and prime_power(q):
        yield Match({"q": q})


@register(
    title="half an inversive plane",
    reference="D. R. Hughes, Amer. J. Math. 87 (1965) 761-778",
    matches=_matches_half_spherical,
)
def half_spherical_geometry(q: int) -> npt.NDArray[Any]:
    """One of the two orbits of PSL(2, q^2), q odd, on images of PG(1, q): (q^2 + 1, q + 1, (q + 1)/2)."""
    field = finite_field(q * q)
    return _sublines(field, q, field.coset(2)[: (q + 1) // 2])


def _sublines(field: Field, q: int, slopes: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The blocks {a x + b} with infinity, x in GF(q) and a a slope, and their images under z -> c + 1/z."""
    order, infinity = field.q, field.q
    subfield = np.append(field.powers[:: (order - 1) // (q - 1)], 0)
    lines = field.add(field.multiply(slopes[:, None, None], subfield), np.arange(order)[None, :, None]).reshape(-1, q)
    lines = np.unique(np.sort(lines, axis=1), axis=0)
    inverse = np.append(infinity, field.powers[-field.logarithms[1:] % (order - 1)])[lines]
    images = np.where(inverse == infinity, infinity, field.add(np.arange(order)[:, None, None], inverse % order))
    through = np.broadcast_to(np.arange(order)[:, None, None], (*images.shape[:2], 1))
    images = np.concatenate([images, through], axis=2).reshape(-1, q + 1)
    blocks = np.concatenate([np.insert(lines, q, infinity, axis=1), images])
    return np.unique(np.sort(blocks, axis=1), axis=0)


def _matches_orbits(p: Parameters) -> Matches:
    q, k = p.v, p.k
    if k > q - 2 or not prime_power(q):
        return
    for half in (True, False):
        # Multipliers by a group of order m fix the block; the others give (q - 1)/m blocks, or half as many.
        m, remainder = divmod(k * (k - 1), 2 * p.lam if half else p.lam)
        odd = q % 4 == 3 and m % 2 == 1
        if remainder == 0 and (q - 1) % m == 0 and k % m < 2 and (odd or not half):
            yield Match({"q": q, "k": k, "m": m, "half": half})


@register(
    title="orbit of a union of cosets under affine maps",
    reference="R. M. Wilson, J. Number Theory 4 (1972) 17-47",
    matches=_matches_orbits,
)
def orbits_of_cosets(q: int, k: int, m: int, half: bool = False) -> npt.NDArray[Any]:
    """The images a B + b of one block B fixed by multipliers of order m: (q, k, k (k-1)/m), k = 0 or 1 mod m.

    For q = 3 mod 4 and m odd the squares a suffice (`half`), since -1 is none: (q, k, k (k-1)/(2m)).
    """
    field = finite_field(q)
    cosets = (q - 1) // m
    block = np.concatenate([field.coset(cosets, i) for i in range(k // m)] + [[0]] * (k % m))
    multipliers = field.powers[:cosets:2] if half else field.powers[:cosets]
    scaled = field.multiply(multipliers[:, None, None], block)
    return field.add(scaled, np.arange(q)[None, :, None]).reshape(-1, k)
