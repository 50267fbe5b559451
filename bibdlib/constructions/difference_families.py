"""Difference families over GF(q) whose base blocks are multiples of one block by field elements.

Let K be a subgroup of the multiplicative group, of order m. A starter, a union of cosets of K with or
without 0, has differences that K and -1 only permute. If they fall evenly into the classes of e-th powers,
then the multiples of the starter by the e-th powers, one from each coset of <K, -1>, are a difference family.
For e = 1 every starter serves; for e > 1 one is looked for, in a fixed order and for a bounded time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import comb, lgamma, log

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.base_blocks import DifferenceFamily, register_base_blocks
from bibdlib.constructions.registry import Match, Matches
from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.fields import Field, finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["cyclotomic_difference_family", "radical_difference_family", "starter_difference_family"]

Elements = npt.NDArray[np.int64]

# What a search may cost: the field's order and the number of starters tried.
_LARGEST_FIELD = 1 << 18
_TRIALS = 1 << 16
_BATCH = 1 << 12


@dataclass(frozen=True)
class Shape:
    """The kind of starter: `cosets` cosets of the subgroup K of order `order`, and 0 if `zero`.

    Its differences fall into orbits under <K, -1>, a group of order `signed`, and these
    must meet the `classes` classes evenly.
    """

    order: int
    signed: int
    cosets: int
    zero: bool
    classes: int


@dataclass(frozen=True)
class Witness:
    """A starter of a shape, by the logarithms of its cosets, that serves with step `step`.

    The multipliers have logarithms 0..step-1 modulo step * classes. More than step 1
    is possible where all differences have the same logarithm modulo it.
    """

    shape: Shape
    logarithms: tuple[int, ...]
    step: int = 1


def _matcher(witness: Callable[[int, int, int], Witness | None]) -> Callable[[Parameters], Matches]:
    def matches(p: Parameters) -> Matches:
        if p.is_admissible and 2 < p.k < p.v - 1 and witness(p.v, p.k, p.lam):
            yield Match({"q": p.v, "k": p.k, "lam": p.lam})

    return matches


def _cyclotomic_witness(q: int, k: int, lam: int) -> Witness | None:
    for shape in _shapes(q, k, lam):
        if shape.classes == 1:
            return Witness(shape, tuple(range(shape.cosets)))
    return None


@register_base_blocks(
    title="cyclotomic difference families",
    reference="R. M. Wilson, J. Number Theory 4 (1972) 17-47",
    matches=_matcher(_cyclotomic_witness),
)
def cyclotomic_difference_family(q: int, k: int, lam: int) -> DifferenceFamily:
    """Unions of cyclotomic classes, and all their multiples: (q, k, lam) with lam = k (k - 1) / |<K, -1>|.

    So lam = k - 1 if the order of K is k, halved if k and q are odd; and lam = k if it is k - 1
    and the block holds 0, halved if k is even and q odd.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or GF(q) has no such K.
    """
    return _family(q, k, lam, _cyclotomic_witness)


@cache
def _radical_witness(q: int, k: int, lam: int) -> Witness | None:
    for shape in _shapes(q, k, lam):
        if shape.classes > 1 and shape.cosets == 1 and q <= _LARGEST_FIELD:
            field = finite_field(q)
            starter = _starters(field, shape, np.zeros((1, 1), dtype=np.int64))
            logarithms = _difference_logarithms(field, shape, starter)[0]
            around = logarithms - logarithms[0]
            for step in range(1, (q - 1) // (shape.signed * shape.classes) + 1):
                tiles = (q - 1) // shape.signed % (shape.classes * step) == 0 and not (around % step).any()
                if tiles and _are_even(around[None] // step, shape.classes)[0]:
                    return Witness(shape, (0,), step)
    return None


@register_base_blocks(
    title="radical difference families",
    reference="M. Buratti, J. Combin. Des. 3 (1995) 161-168",
    matches=_matcher(_radical_witness),
)
def radical_difference_family(q: int, k: int, lam: int = 1) -> DifferenceFamily:
    """Multiples of the k-th roots of unity, or of the (k-1)-th and 0: (q, k, lam).

    Bose (1939) has k = 4 and 5 with lam = 1.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or the differences of the roots do not fall evenly.
    """
    return _family(q, k, lam, _radical_witness)


@cache
def _searched_witness(q: int, k: int, lam: int) -> Witness | None:
    if q > _LARGEST_FIELD:
        return None
    for shape in sorted(_shapes(q, k, lam), key=_difficulty):
        if shape.classes > 1 and shape.cosets > 1 and _difficulty(shape) < log(_TRIALS):
            field = finite_field(q)
            for logarithms in _candidates((q - 1) // shape.order, shape.cosets):
                differences = _difference_logarithms(field, shape, _starters(field, shape, logarithms))
                good = np.flatnonzero(_are_even(differences, shape.classes))
                if len(good):
                    return Witness(shape, tuple(int(i) for i in logarithms[good[0]]))
    return None


@register_base_blocks(
    title="difference families from one starter",
    reference="R. M. Wilson, J. Number Theory 4 (1972) 17-47",
    matches=_matcher(_searched_witness),
)
def starter_difference_family(q: int, k: int, lam: int = 1) -> DifferenceFamily:
    """Multiples by e-th powers of a starter whose differences fall evenly into their classes: (q, k, lam).

    The starter is found by trial, in an order that is always the same. Wilson proved that for lam = 1
    and q = 1 mod k (k - 1) there is one in every large enough field.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or the trials find none.
    """
    return _family(q, k, lam, _searched_witness)


def _family(q: int, k: int, lam: int, find: Callable[[int, int, int], Witness | None]) -> DifferenceFamily:
    p = Parameters(as_integer("q", q, 4), as_integer("k", k, 3), lam)
    field = finite_field(p.v)
    witness = find(p.v, p.k, p.lam) if p.is_admissible else None
    if witness is None:
        raise InvalidParameters(f"Arguments 'q', 'k', 'lam' must fit this kind of difference family, not {p}.")
    shape = witness.shape
    multipliers = np.arange((field.q - 1) // shape.signed)
    multipliers = field.powers[multipliers[multipliers % (witness.step * shape.classes) < witness.step]]
    starter = _starters(field, shape, np.array([witness.logarithms]))
    return DifferenceFamily(field.additive, field.multiply(multipliers[:, None], starter))


def _shapes(q: int, k: int, lam: int) -> Iterator[Shape]:
    """The starters that arithmetic allows, those with the largest K first."""
    power = prime_power(q)
    if power is None:
        return
    for order in range(k, 0, -1):
        if k % order > 1 or (q - 1) % order:
            continue
        zero = order == 1 or k % order == 1
        signed = order if order % 2 == 0 or power[0] == 2 else 2 * order
        classes, remainder = divmod(k * (k - 1), lam * signed)
        if remainder == 0 and classes and (q - 1) // signed % classes == 0:
            yield Shape(order, signed, (k - zero) // order, zero, classes)


def _difficulty(shape: Shape) -> float:
    """The logarithm of the number of starters among which one is expected to fall evenly."""
    k = shape.order * shape.cosets + shape.zero
    differences, classes = k * (k - 1) // shape.signed, shape.classes
    if shape.signed == shape.order:
        # Then -1 is in K, and nearly all differences come in pairs of one orbit.
        if differences // classes % 2:
            return float("inf")
        differences //= 2
    evenly = lgamma(differences + 1) - classes * lgamma(differences // classes + 1)
    return differences * log(classes) - evenly


def _candidates(cosets: int, count: int) -> Iterator[Elements]:
    """Batches of `count` distinct logarithms below `cosets`, the first 0: all of them if they are few, else by lot."""
    if comb(cosets - 1, count - 1) <= _BATCH:
        from itertools import combinations

        rest = np.array(list(combinations(range(1, cosets), count - 1)), dtype=np.int64).reshape(-1, count - 1)
        yield np.insert(rest, 0, 0, axis=1)
        return
    lot = np.random.default_rng(cosets)
    for _ in range(_TRIALS // _BATCH):
        rest = np.sort(lot.integers(1, cosets, size=(_BATCH, count - 1)), axis=1)
        yield np.insert(rest[(np.diff(rest, axis=1) > 0).all(axis=1)], 0, 0, axis=1)


def _starters(field: Field, shape: Shape, logarithms: Elements) -> Elements:
    """The starters with these cosets, shape (n, k): the representatives first, then the rest of each coset, then 0."""
    step = (field.q - 1) // shape.order
    exponents = logarithms[:, None, :] + step * np.arange(shape.order)[:, None]
    starters = field.powers[exponents % (field.q - 1)].reshape(len(logarithms), shape.order * shape.cosets)
    return np.insert(starters, starters.shape[1], 0, axis=1) if shape.zero else starters


def _difference_logarithms(field: Field, shape: Shape, starters: Elements) -> Elements:
    """Logarithms of the differences of each starter, one for each orbit of pairs under K."""
    ends = np.arange(starters.shape[1])
    first = np.concatenate([np.arange(shape.cosets), ends[-1:]]) if shape.zero else np.arange(shape.cosets)
    x, y = np.meshgrid(first, ends, indexing="ij")
    proper = (x != y) & ~((x == ends[-1]) & (y >= shape.cosets) & shape.zero)
    return field.logarithms[field.subtract(starters[:, x[proper]], starters[:, y[proper]])]


def _are_even(logarithms: Elements, classes: int) -> npt.NDArray[np.bool_]:
    """Which rows meet the classes modulo `classes` evenly."""
    each = logarithms.shape[1] // classes
    return (np.sort(logarithms % classes, axis=1) == np.repeat(np.arange(classes), each)).all(axis=1)
