"""Loops compiled by numba, for designs too large for numpy's tables; imported only when one of them is met."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["first_unbalanced"]


@njit(cache=True)
def first_unbalanced(
    blocks: npt.NDArray[np.unsignedinteger], v: int, lam: int, meets: npt.NDArray[np.unsignedinteger]
) -> int:
    """The first point x that meets some y > x a number of times that is not lam, or -1.

    `blocks` are sorted rows, shape (b, k); `meets` is a row of v zeros to count in, modulo 2^bits.
    """
    b, k = blocks.shape
    points = blocks.ravel()
    starts = np.zeros(v + 1, np.int64)
    for place in range(b * k):
        starts[points[place] + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    places = np.empty(b * k, np.int64)
    for place in range(b * k):
        point = points[place]
        places[free[point]] = place
        free[point] += 1
    for x in range(v):
        for entry in range(starts[x], starts[x + 1]):
            place = places[entry]
            for later in range(place + 1, (place // k + 1) * k):
                meets[points[later]] += 1
        balanced = True
        for y in range(x + 1, v):
            balanced &= meets[y] == lam
        if not balanced:
            return x
        meets[x + 1 :] = 0
    return -1
