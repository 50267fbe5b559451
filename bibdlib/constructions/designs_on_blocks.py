"""A design on every block of another."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.design import Design
from bibdlib.parameters import Parameters

__all__ = ["designs_on_blocks"]


def _matches_designs_on_blocks(p: Parameters) -> Matches:
    v, k, lam = p.v, p.k, p.lam
    for outer in (divisor for divisor in range(1, lam + 1) if lam % divisor == 0):
        inner = lam // outer
        for size in range(k + 1, v):
            if outer * (v - 1) < size * (size - 1):
                break  # Fisher: r >= size
            whole = outer * (v - 1) % (size - 1) == 0 and outer * v * (v - 1) % (size * (size - 1)) == 0
            if whole and inner * (size - 1) % (k - 1) == 0 and inner * size * (size - 1) % (k * (k - 1)) == 0:
                yield Match(needs=(Parameters(v, size, outer), Parameters(size, k, inner)))


@register(
    title="a design on every block of another",
    reference="H. Hanani, Ann. Math. Statist. 32 (1961) 361-386",
    matches=_matches_designs_on_blocks,
)
def designs_on_blocks(outer: Design, inner: Design) -> npt.NDArray[Any]:
    """(v, k', lam1) and (k', k, lam2) give (v, k, lam1 lam2)."""
    return outer.blocks[:, inner.blocks].reshape(-1, inner.k)
