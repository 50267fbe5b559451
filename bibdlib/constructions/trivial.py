"""Designs that need no theorem: every k-subset of the points, or the whole set."""

from __future__ import annotations

from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.parameters import Parameters

__all__ = ["all_subsets", "whole_set"]


def _matches_whole_set(p: Parameters) -> Matches:
    if p.is_complete:
        yield Match({"v": p.v, "lam": p.lam})


@register(title="the whole point set, lam times", reference="definition", matches=_matches_whole_set)
def whole_set(v: int, lam: int) -> npt.NDArray[Any]:
    """The complete block 0..v-1, lam times."""
    return np.tile(np.arange(v), (lam, 1))


def _matches_all_subsets(p: Parameters) -> Matches:
    once = comb(p.v - 2, p.k - 2)
    if p.lam % once == 0:
        yield Match({"v": p.v, "k": p.k, "copies": p.lam // once})


@register(title="all k-subsets", reference="definition", matches=_matches_all_subsets)
def all_subsets(v: int, k: int, copies: int = 1) -> npt.NDArray[Any]:
    """Every k-subset of v points, `copies` times: (v, k, copies * C(v-2, k-2))."""
    subsets = np.fromiter(chain.from_iterable(combinations(range(v), k)), dtype=np.int32, count=comb(v, k) * k)
    return np.tile(subsets.reshape(-1, k), (copies, 1))
