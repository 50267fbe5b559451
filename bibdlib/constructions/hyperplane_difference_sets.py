"""Difference sets made of the hyperplanes of a vector space, one for each element of a second group."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.fields import finite_field
from bibdlib.groups import AbelianGroup, develop
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["mcfarland", "spence"]


def _mcfarland_parameters(q: int, d: int) -> Parameters:
    hyperplanes = (q ** (d + 1) - 1) // (q - 1)
    return Parameters(q ** (d + 1) * (hyperplanes + 1), q**d * hyperplanes, q**d * (q**d - 1) // (q - 1))


def _spence_parameters(q: int, d: int) -> Parameters:
    larger = 3 ** (d + 1)
    return Parameters(larger * (larger - 1) // 2, 3**d * (larger + 1) // 2, 3**d * (3**d + 1) // 2)


def _matches(family: Callable[[int, int], Parameters], characteristic: int | None = None) -> Callable[..., Matches]:
    """Both families have order q^(2d)."""

    def matches(p: Parameters) -> Matches:
        root = isqrt(int(p.order)) if p.is_symmetric and p.order > 1 else 0
        witness = prime_power(root) if root * root == p.order else None
        if witness:
            prime, exponent = witness
            for d in range(1, exponent + 1):
                q = prime ** (exponent // d)
                if exponent % d == 0 and characteristic in (None, q) and family(q, d) == p:
                    yield Match({"q": q, "d": d} if characteristic is None else {"d": d})

    return matches


@register(
    title="McFarland difference set",
    reference="R. L. McFarland, J. Combin. Theory A 15 (1973) 1-10",
    matches=_matches(_mcfarland_parameters),
)
def mcfarland(q: int, d: int) -> npt.NDArray[Any]:
    """Each of the s hyperplanes of GF(q)^(d+1) beside its own element of Z_(s+1); the last has none."""
    hyperplanes = _hyperplanes(q, d)
    return _develop(q, d, list(hyperplanes), len(hyperplanes) + 1)


@register(
    title="Spence difference set",
    reference="E. Spence, J. Combin. Theory A 22 (1977) 103-106",
    matches=_matches(_spence_parameters, 3),
)
def spence(d: int) -> npt.NDArray[Any]:
    """Each of the s hyperplanes of GF(3)^(d+1) beside its own element of Z_s, one of them complemented."""
    first, *others = _hyperplanes(3, d)
    return _develop(3, d, [np.setdiff1d(np.arange(3 ** (d + 1)), first), *others], len(others) + 1)


def _hyperplanes(q: int, d: int) -> npt.NDArray[np.int64]:
    """The kernel of the trace from GF(q^(d+1)) to GF(q), and its multiples."""
    field = finite_field(q ** (d + 1))
    elements = np.arange(field.q)
    trace = 0 * elements
    for i in range(d + 1):
        trace = field.add(trace, field.power(elements, q**i))
    kernel = np.nonzero(trace == 0)[0]
    return field.multiply(field.powers[: (field.q - 1) // (q - 1), None], kernel)


def _develop(q: int, d: int, layers: list[npt.NDArray[np.int64]], order: int) -> npt.NDArray[Any]:
    additive = finite_field(q ** (d + 1)).additive
    base = np.concatenate([layer + i * additive.order for i, layer in enumerate(layers)])
    return develop([base], AbelianGroup((*additive.moduli, order)))
