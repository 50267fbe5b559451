"""Counting: whether blocks are the design they claim to be, and where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bibdlib.design import BlockDesign, Design
from bibdlib.errors import NotADesign, as_integer
from bibdlib.implicit import DevelopedDesign, ImplicitDesign

__all__ = ["Certificate", "verified", "verify", "verify_sample"]

# A table of all pairs may take so many bytes; larger designs are counted point by point.
_LARGEST_TABLE = 1 << 26

# Implicit designs with more are sampled, and a sample reads so many points unless told otherwise.
_LARGEST_TRANSFORM = 1 << 31
_MOST_INCIDENCES = 1 << 20
_POINTS_READ = 1 << 25
_BLOCKS_OPENED = 16

# The differences of one base block in a group of order v, k^2 of them, cost as much as so many v in a transform.
_TRANSFORM_COST = 64

AnyDesign = TypeVar("AnyDesign", Design, ImplicitDesign)


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
    sampled
        Whether only a sample was looked at, so that the outcome is evidence and no proof.
    """

    holds: bool
    checked: str
    reason: str = ""
    counterexample: tuple[int, ...] | None = None
    sampled: bool = False

    def __bool__(self) -> bool:
        return self.holds


def verify(design: Design | ImplicitDesign) -> Certificate:
    """Count how often every two points meet, or as much of that as the design admits; the certificate says which.

    Of a `Design` the points of each block, the blocks through each point and those through every two points
    are counted, in O(b k^2) time; with more than 8192 points by a compiled loop (numba). Of a `DevelopedDesign`
    the differences of the base blocks, which prove as much: one by one, or by a Fourier transform of the group
    where they are many. Other implicit designs are counted too up to 2^20 incidences; of larger ones a sample
    of pairs is looked up: see `verify_sample`.
    """
    if isinstance(design, Design):
        return _count_pairs(design)
    if isinstance(design, DevelopedDesign) and len(design.base_blocks) * design.v <= _LARGEST_TRANSFORM:
        return _certify_differences(design)
    if design.b * design.k <= _MOST_INCIDENCES:
        return _count_pairs(design.explicit())
    return verify_sample(design)


def verify_sample(design: BlockDesign, *, pairs: int | None = None, seed: int = 0) -> Certificate:
    """Look up the blocks through random pairs of points, and that these blocks hold k points with the pair among them.

    Of more than 16 blocks through a pair 16 are opened, by lot.

    A pair proved to lie in lam blocks lies in no more unless others lie in fewer, since b blocks of k points hold
    lam v (v - 1) / 2 pairs. So where more than a share e of the pairs fails, n samples pass with probability
    at most (1 - e)^n; the certificate states e for the probability 1/1000.

    Parameters
    ----------
    pairs
        How many; by default between 32 and 2000, as many as read 2^25 points.
    seed
        Of the random pairs.
    """
    v, k, lam = design.v, design.k, design.lam
    if pairs is None:
        pairs = min(max(_POINTS_READ // (min(lam, _BLOCKS_OPENED) * k), 32), 2000)
    random = np.random.default_rng(seed)
    share = 1 - 1e-3 ** (1 / as_integer("pairs", pairs, 1))
    checked = f"{pairs} random pairs of points: with confidence 99.9 %, less than {share:.2%} of all pairs fail"
    for _ in range(pairs):
        x = int(random.integers(v))
        y = (x + 1 + int(random.integers(v - 1))) % v
        joining = design.blocks_through(x, y)
        if len(joining) != lam or (np.diff(joining) <= 0).any():
            reason = f"pair ({x}, {y}) lies in blocks {joining.tolist()[: lam + 1]}, expected {lam}"
            return Certificate(False, checked, reason, (x, y), sampled=True)
        for i in joining if lam <= _BLOCKS_OPENED else random.choice(joining, _BLOCKS_OPENED, replace=False):
            block = design.block(i)
            places = np.searchsorted(block, [x, y])
            if len(block) != k or (np.diff(block) <= 0).any() or block[places % k].tolist() != [x, y]:
                reason = f"block {i} should hold {k} points with {x} and {y} among them, but is {block}"
                return Certificate(False, checked, reason, (x, y), sampled=True)
    return Certificate(True, checked, sampled=True)


def _certify_differences(design: DevelopedDesign) -> Certificate:
    """Translation carries the pair (x, y) to (0, y - x), which lies in as many blocks as y - x is a difference."""
    v, k, lam, bases = design.v, design.k, design.lam, design.base_blocks
    checked = f"all {bases.size * (k - 1)} differences of {len(bases)} base blocks, and so all {v * (v - 1) // 2} pairs"
    ordered = np.sort(bases, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if twice.any():
        return Certificate(False, checked, f"base block {int(np.argmax(twice))} holds an element twice")
    arises = _count_differences(design) if k * k <= _TRANSFORM_COST * v else _transform_differences(design)
    arises[0] = lam
    if (arises != lam).any():
        y = int(np.argmax(arises != lam))
        return Certificate(False, checked, f"pair (0, {y}) lies in {arises[y]} blocks, expected {lam}", (0, y))
    return Certificate(True, checked)


def _count_differences(design: DevelopedDesign) -> npt.NDArray[np.int64]:
    """How often each element is a difference, one by one."""
    arises = np.zeros(design.v, dtype=np.int64)
    for element in design.base_blocks.T:
        np.add.at(arises, design.group.subtract(design.base_blocks, element[:, None]).reshape(-1), 1)
    return arises


def _transform_differences(design: DevelopedDesign) -> npt.NDArray[np.int64]:
    """The same as an autocorrelation: the transform of |transform|^2, its rounding errors far below one half."""
    shape = design.group.moduli[::-1]
    power = np.zeros(shape)
    for base in design.base_blocks:
        indicator = np.zeros(design.v)
        indicator[base] = 1
        power += np.abs(np.fft.fftn(indicator.reshape(shape))) ** 2
    return np.rint(np.fft.ifftn(power).real).astype(np.int64).reshape(-1)


def _count_pairs(design: Design) -> Certificate:
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
    rows = (1 << 16) // v + 1
    slabs = (meets[x : x + rows] == lam for x in range(0, v, rows))
    if sum(np.count_nonzero(slab) for slab in slabs) == v * (v - 1) // 2:
        return None
    return next(x for x in range(v) if (meets[x, x + 1 :] != lam).any())


def _unbalanced_by_loop(blocks: npt.NDArray[np.integer], v: int, lam: int) -> int | None:
    """The same, point by point, in memory of the size of the blocks."""
    from bibdlib.compiled import first_unbalanced

    narrow = blocks.astype(np.min_scalar_type(v - 1))
    x = first_unbalanced(narrow, v, lam, np.zeros(v, dtype=np.min_scalar_type(lam)))
    return None if x < 0 else int(x)


def verified(design: AnyDesign) -> AnyDesign:
    """The design itself, or NotADesign with the counterexample."""
    certificate = verify(design)
    if not certificate:
        raise NotADesign(certificate)
    return design
