"""Designs from other designs: complement, residual, derived, copies, sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.design import Design
from bibdlib.parameters import Parameters

__all__ = ["complement", "copies_of_design", "derived", "residual", "sum_of_designs"]


def _matches_complement(p: Parameters) -> Matches:
    if 2 * p.k > p.v and p.has_complement:
        yield Match(needs=(p.complement,))


@register(title="complement", reference="R. C. Bose, Ann. Eugenics 9 (1939) 353-399", matches=_matches_complement)
def complement(design: Design) -> npt.NDArray[Any]:
    """The complements of the blocks: (v, v - k, b - 2r + lam)."""
    return design.complement().blocks


def _matches_residual(p: Parameters) -> Matches:
    if p.r == p.k + p.lam:
        yield Match(needs=(Parameters(p.v + p.k + p.lam, p.k + p.lam, p.lam),))


@register(
    title="residual of a symmetric design",
    reference="R. C. Bose, Ann. Eugenics 9 (1939) 353-399",
    matches=_matches_residual,
)
def residual(symmetric: Design) -> npt.NDArray[Any]:
    """Points off a block of a symmetric (v, k, lam): (v - k, k - lam, lam)."""
    return symmetric.residual().blocks


def _matches_derived(p: Parameters) -> Matches:
    if 3 <= p.k < p.v and p.k == p.lam + 1:
        order, remainder = divmod(p.v * (p.v - 1), p.k)
        if remainder == 0:
            yield Match(needs=(Parameters(order + 1, p.v, p.k),))


@register(
    title="derived of a symmetric design",
    reference="R. C. Bose, Ann. Eugenics 9 (1939) 353-399",
    matches=_matches_derived,
)
def derived(symmetric: Design) -> npt.NDArray[Any]:
    """Points on a block of a symmetric (v, k, lam): (k, lam, lam - 1)."""
    return symmetric.derived().blocks


def _matches_copies(p: Parameters) -> Matches:
    for lam in range(1, p.lam // 2 + 1):
        once = Parameters(p.v, p.k, lam)
        if p.lam % lam == 0 and once.is_admissible:
            yield Match({"copies": p.lam // lam}, needs=(once,))


@register(title="copies of a design", reference="definition", matches=_matches_copies)
def copies_of_design(design: Design, copies: int) -> npt.NDArray[Any]:
    """Every block `copies` times: (v, k, copies * lam)."""
    return np.tile(design.blocks, (copies, 1))


def _matches_sum(p: Parameters) -> Matches:
    for smaller in range(p.lam // 2, 0, -1):
        parts = Parameters(p.v, p.k, smaller), Parameters(p.v, p.k, p.lam - smaller)
        if all(part.is_admissible for part in parts):
            yield Match(needs=parts)


@register(title="sum of two designs on the same points", reference="definition", matches=_matches_sum)
def sum_of_designs(first: Design, second: Design) -> npt.NDArray[Any]:
    """The blocks of both: (v, k, lam1 + lam2)."""
    return np.concatenate([first.blocks, second.blocks])
