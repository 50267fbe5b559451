"""Counting: whether blocks are the design they claim to be, and where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bibdlib.design import Design
from bibdlib.errors import NotADesign

__all__ = ["Certificate", "verified", "verify"]


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
    """Count, point by point, how often it meets every other.

    Takes O(b k^2) time and O(v) memory beside the design.
    """
    blocks, lam = design.blocks, design.lam
    pairs = design.v * (design.v - 1) // 2
    checked = f"all {pairs} pairs of points"
    twice = np.nonzero(blocks[:, 1:] == blocks[:, :-1])
    if len(twice[0]):
        block, point = int(twice[0][0]), int(blocks[twice[0][0], twice[1][0]])
        return Certificate(False, checked, f"block {block} holds point {point} twice", (point,))
    replication = np.bincount(blocks.ravel(), minlength=design.v)
    if (replication != design.r).any():
        point = int(np.argmax(replication != design.r))
        reason = f"point {point} lies in {replication[point]} blocks, expected {design.r}"
        return Certificate(False, checked, reason, (point,))
    for x in range(design.v):
        meets = np.bincount(blocks[design.incidence[x]].ravel(), minlength=design.v)
        meets[x] = lam
        if (meets != lam).any():
            y = int(np.argmax(meets != lam))
            reason = f"pair ({x}, {y}) lies in {meets[y]} blocks, expected {lam}"
            return Certificate(False, checked, reason, (x, y))
    return Certificate(True, checked)


def verified(design: Design) -> Design:
    """The design itself, or NotADesign with the counterexample."""
    certificate = verify(design)
    if not certificate:
        raise NotADesign(certificate)
    return design
