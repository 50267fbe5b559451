"""Counting: whether blocks are the design they claim to be, and where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bibdlib.design import Design
from bibdlib.errors import NotADesign

__all__ = ["Certificate", "verified", "verify"]

# A table of all pairs may take so many bytes; larger designs are counted point by point.
_LARGEST_TABLE = 1 << 28


@dataclass(frozen=True)
class Certificate:
    """The outcome of a verification; true if the design holds.

    Attributes
    ----------
    holds
        Whether everything checked came out right.
    checked
        What was counted, in words.
    reason
        Why it fails: "pair (0, 1) lies in 2 blocks, expected 1"; empty if it holds.
    counterexample
        The points concerned, or None.
    """

    holds: bool
    checked: str
    reason: str = ""
    counterexample: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return self.holds


def verify(design: Design) -> Certificate:
    """Count how often every two points meet, after the points of each block and the blocks through each point.

    Takes O(b k^2) time. Designs of more than 16384 points are counted by a compiled loop (numba).
    """
    blocks, v, lam = design.blocks, design.v, design.lam
    checked = f"all {v * (v - 1) // 2} pairs of points, {v} replications, repeated points in {design.b} blocks"
    twice = blocks[:, 1:] == blocks[:, :-1]
    if twice.any():
        block, place = (int(i[0]) for i in np.nonzero(twice))
        point = int(blocks[block, place])
        return Certificate(False, checked, f"block {block} holds point {point} twice", (point,))
    replication = np.bincount(blocks.ravel(), minlength=v)
    if (replication != design.r).any():
        point = int(np.argmax(replication != design.r))
        reason = f"point {point} lies in {replication[point]} blocks, expected {design.r}"
        return Certificate(False, checked, reason, (point,))
    count = _unbalanced_in_table if v * v * np.min_scalar_type(lam).itemsize <= _LARGEST_TABLE else _unbalanced_by_loop
    x = count(blocks, v, lam)
    if x is None:
        return Certificate(True, checked)
    meets = np.bincount(blocks[design.incidence[x]].ravel(), minlength=v)
    meets[x] = lam
    y = int(np.argmax(meets != lam))
    reason = f"pair ({x}, {y}) lies in {meets[y]} blocks, expected {lam}"
    return Certificate(False, checked, reason, (x, y))


# Counts are kept modulo 2^bits > lam. That hides nothing: were each count lam modulo 2^bits and one of them not lam,
# all together would exceed lam v (v - 1) / 2, which is their sum by the shape of the blocks.


def _unbalanced_in_table(blocks: npt.NDArray[np.integer], v: int, lam: int) -> int | None:
    """The first point that meets a later one a wrong number of times, by a table of all pairs."""
    columns = np.ascontiguousarray(blocks.T, dtype=np.intp)
    meets = np.zeros((v, v), dtype=np.min_scalar_type(lam))
    one = meets.dtype.type(1)
    for i in range(len(columns) - 1):
        np.add.at(meets.reshape(-1), (columns[i] * v + columns[i + 1 :]).reshape(-1), one)
    slabs = (meets[x : x + 512] == lam for x in range(0, v, 512))
    if sum(np.count_nonzero(slab) for slab in slabs) == v * (v - 1) // 2:
        return None
    return next(x for x in range(v) if (meets[x, x + 1 :] != lam).any())


def _unbalanced_by_loop(blocks: npt.NDArray[np.integer], v: int, lam: int) -> int | None:
    """The same, point by point, in memory of the size of the blocks."""
    from bibdlib.compiled import first_unbalanced

    narrow = blocks.astype(np.min_scalar_type(v - 1))
    x = first_unbalanced(narrow, v, lam, np.zeros(v, dtype=np.min_scalar_type(lam)))
    return None if x < 0 else int(x)


def verified(design: Design) -> Design:
    """The design itself, or NotADesign with the counterexample."""
    certificate = verify(design)
    if not certificate:
        raise NotADesign(certificate)
    return design
