"""Hypothesis strategies for bibdlib: parameters, and what each construction says it can build."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from hypothesis import strategies as st

from bibdlib import CONSTRUCTIONS, Design, Parameters, construct, find
from bibdlib.constructions import Match
from bibdlib.constructions.registry import precedes

# Parameters of designs small enough to build in a moment, and of the smallest design
# of families that begin later. A new construction finds its examples among them or adds one.
LATE = [Parameters(73, 9, 1), Parameters(101, 25, 6), Parameters(121, 40, 13), Parameters(127, 63, 31)]
_LARGEST = 6000

# One design for each way in which designs are made; quick to draw from.
KNOWN = [
    Parameters(*p)
    for p in [
        *[(7, 3, 1), (9, 3, 1), (13, 4, 1), (16, 6, 2), (11, 5, 2), (15, 7, 3), (6, 3, 2), (8, 4, 3), (5, 2, 1)],
        *[(10, 4, 2), (13, 3, 1), (25, 4, 1), (37, 9, 2), (8, 3, 6), (41, 5, 1), (10, 3, 2), (19, 9, 4), (4, 4, 3)],
    ]
]


def parameters(max_v: int = 100, max_lam: int = 20) -> st.SearchStrategy[Parameters]:
    """Any valid parameters, admissible or not."""
    return st.integers(2, max_v).flatmap(
        lambda v: st.builds(Parameters, st.just(v), st.integers(2, v), st.integers(1, max_lam))
    )


def admissible_parameters(max_v: int = 100, max_lam: int = 20) -> st.SearchStrategy[Parameters]:
    """Parameters with whole b and r."""
    return parameters(max_v, max_lam).filter(lambda p: p.is_admissible)


def designs() -> st.SearchStrategy[Design]:
    """Designs of many kinds, none of them large."""
    return st.sampled_from(KNOWN).map(_design)


def symmetric_designs(smallest_lam: int = 1) -> st.SearchStrategy[Design]:
    """Symmetric designs that are not complete."""
    symmetric = [p for p in KNOWN if p.is_symmetric and not p.is_complete and p.lam >= smallest_lam]
    return st.sampled_from(symmetric).map(_design)


@cache
def _design(p: Parameters) -> Design:
    return construct(p.v, p.k, p.lam)


def buildable(name: str, p: Parameters) -> Iterator[Match]:
    """The ways in which a construction says that it gives p, from ingredients that can be had."""
    for match in CONSTRUCTIONS[name].matches(p):
        if all(precedes(need, p) and find(need) for need in match.needs):
            yield match


@cache
def examples(name: str) -> list[Parameters]:
    """Small parameters that a construction matches, evenly spread over those there are."""
    found = [p for p in _pool() if next(buildable(name, p), None)]
    return found[:: max(1, len(found) // 12)]


@cache
def _pool() -> list[Parameters]:
    small = [
        Parameters(v, k, lam)
        for v in range(3, 70)
        for k in range(2, v + 1)
        for lam in range(1, 30)
        if lam * v * (v - 1) <= _LARGEST * (k - 1)
    ]
    return [p for p in small if p.is_admissible] + LATE
