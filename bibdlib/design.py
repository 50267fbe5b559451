"""A design: a set of points and the blocks that join them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.parameters import Parameters

__all__ = ["BlockDesign", "Design", "memory_shortage"]

# What the constructions and the sorting of blocks need at their peak, measured.
_BYTES_PER_INCIDENCE = 32


class BlockDesign(ABC):
    """What every design answers, whether its blocks are held (`Design`) or computed (`ImplicitDesign`).

    Points are 0..v-1, blocks 0..b-1.
    """

    parameters: Parameters

    @property
    def v(self) -> int:
        """Number of points."""
        return self.parameters.v

    @property
    def b(self) -> int:
        """Number of blocks."""
        return int(self.parameters.b)

    @property
    def r(self) -> int:
        """Blocks through each point."""
        return int(self.parameters.r)

    @property
    def k(self) -> int:
        """Points on each block."""
        return self.parameters.k

    @property
    def lam(self) -> int:
        """Blocks through every two points."""
        return self.parameters.lam

    @abstractmethod
    def block(self, i: int) -> npt.NDArray[np.integer]:
        """The points of block i, ascending, shape (k,)."""

    @abstractmethod
    def blocks_through(self, x: int, y: int | None = None) -> npt.NDArray[np.integer]:
        """Numbers of the blocks through point x, or through both x and y, ascending.

        Shape (r,) for one point or for x = y, (lam,) for two.
        """

    def batches(self, size: int | None = None) -> Iterator[npt.NDArray[np.integer]]:
        """All blocks in their order, as arrays of shape (at most `size`, k); by default of some 2^20 points each."""
        size = max(1, (1 << 20) // self.k) if size is None else as_integer("size", size, 1)
        return (self._slab(start, min(start + size, self.b)) for start in range(0, self.b, size))

    @abstractmethod
    def _slab(self, start: int, stop: int) -> npt.NDArray[np.integer]:
        """Blocks start..stop-1, shape (stop - start, k)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(v={self.v}, b={self.b}, r={self.r}, k={self.k}, lam={self.lam})"


@dataclass(frozen=True, eq=False, repr=False)
class Design(BlockDesign):
    """The blocks of a design on the points 0..v-1.

    Making one checks the shape only; `bibdlib.verify` counts whether the blocks balance.

    Parameters
    ----------
    parameters
        What the design claims to be.
    blocks
        Integer array of shape (b, k). Kept as int32 with rows sorted, in lexicographic order, read-only.

    Raises
    ------
    InvalidParameters
        If the blocks are no integer array of shape (b, k), or name a point outside 0..v-1.
    """

    parameters: Parameters
    blocks: npt.NDArray[np.integer]

    def __post_init__(self) -> None:
        p = self.parameters
        blocks = np.asarray(self.blocks)
        if not np.issubdtype(blocks.dtype, np.integer):
            raise InvalidParameters(f"Argument 'blocks' must hold integers, not {blocks.dtype}.")
        if blocks.shape != (p.b, p.k):
            raise InvalidParameters(f"Argument 'blocks' must have shape (b, k) = ({p.b}, {p.k}), not {blocks.shape}.")
        if blocks.min() < 0 or blocks.max() >= p.v:
            outside = blocks[(blocks < 0) | (blocks >= p.v)][0]
            raise InvalidParameters(f"Argument 'blocks' must name points 0..{p.v - 1}, not {outside}.")
        blocks = np.array(blocks, dtype=np.int32, order="C")
        blocks.sort(axis=1)
        blocks = blocks[_lexicographic_order(blocks, p.v)]
        blocks.flags.writeable = False
        object.__setattr__(self, "blocks", blocks)

    @classmethod
    def from_blocks(cls, blocks: npt.ArrayLike, v: int | None = None) -> Design:
        """The design that these blocks of equal size would be, its parameters read off them.

        Without v the points are those up to the greatest named.

        Raises
        ------
        InvalidParameters
            If the blocks are no integer array of two axes, or their number fits no lam.
        """
        blocks = np.asarray(blocks)
        if blocks.ndim != 2 or not blocks.size or not np.issubdtype(blocks.dtype, np.integer):
            given = f"{blocks.dtype} of shape {blocks.shape}"
            raise InvalidParameters(f"Argument 'blocks' must be an integer array of shape (b, k), not {given}.")
        b, k = blocks.shape
        v = as_integer("v", int(blocks.max()) + 1 if v is None else v, 2)
        lam, remainder = divmod(b * k * (k - 1), v * (v - 1))
        if remainder:
            raise InvalidParameters(
                f"Argument 'blocks' must cover each of {v * (v - 1) // 2} pairs equally often, "
                f"not {b} blocks of {k} points that hold {b * k * (k - 1) // 2} pairs."
            )
        return cls(Parameters(v, k, lam), blocks)

    @property
    def efficiency(self) -> Fraction:
        """lam v / (r k): the variance of a contrast in complete blocks of the same replication, over that in these."""
        return Fraction(self.lam * self.v, self.r * self.k)

    @cached_property
    def is_simple(self) -> bool:
        """Whether no block is repeated."""
        return not (self.blocks[1:] == self.blocks[:-1]).all(axis=1).any()

    @cached_property
    def is_cyclic(self) -> bool:
        """Whether x -> x + 1 modulo v is an automorphism."""
        return Design(self.parameters, (self.blocks + 1) % self.v) == self

    @cached_property
    def block_intersections(self) -> dict[int, int]:
        """How many pairs of blocks meet in s points, for each s that occurs, ascending; O(b r k) time."""
        pairs = np.zeros(self.k + 1, dtype=np.int64)
        for block in self.blocks:
            pairs += np.bincount(np.bincount(self.incidence[block].ravel(), minlength=self.b), minlength=self.k + 1)
        pairs[self.k] -= self.b
        return {size: int(count) // 2 for size, count in enumerate(pairs) if count}

    @cached_property
    def incidence(self) -> npt.NDArray[np.integer]:
        """Block numbers through each point, shape (v, r), rows ascending; needs equal replication."""
        points = self.blocks.ravel()
        # Stable sorts of 16 bits take linear time, so two of them beat one of 32.
        places = np.argsort(points.astype(np.uint16), kind="stable")
        if self.v > 1 << 16:
            places = places[np.argsort((points[places] >> 16).astype(np.uint16), kind="stable")]
        return (places // self.k).astype(np.int32).reshape(self.v, self.r)

    def block(self, i: int) -> npt.NDArray[np.integer]:
        return self.blocks[as_integer("i", i, 0, self.b - 1)]

    def blocks_through(self, x: int, y: int | None = None) -> npt.NDArray[np.integer]:
        through = self.incidence[as_integer("x", x, 0, self.v - 1)]
        if y is None:
            return through
        return np.intersect1d(through, self.incidence[as_integer("y", y, 0, self.v - 1)])

    def _slab(self, start: int, stop: int) -> npt.NDArray[np.integer]:
        return self.blocks[start:stop]

    def incidence_matrix(self) -> npt.NDArray[np.uint8]:
        """The matrix N of shape (v, b): 1 where a point lies on a block, so N N^T = (r - lam) I + lam J."""
        matrix = np.zeros((self.v, self.b), dtype=np.uint8)
        matrix[self.blocks, np.arange(self.b)[:, None]] = 1
        return matrix

    def complement(self) -> Design:
        """The design of the complementary blocks, on the same points; needs k <= v - 2."""
        if self.v - self.k < 2:
            raise InvalidParameters(f"The complement needs k <= v - 2 = {self.v - 2}, not k = {self.k}.")
        outside = self.incidence_matrix().T == 0
        return Design(self.parameters.complement, np.nonzero(outside)[1].reshape(self.b, self.v - self.k))

    def residual(self, block: int = 0) -> Design:
        """The points off one block of a symmetric design, with the other blocks cut down to them."""
        base, others = self._apart(block)
        kept = others[~np.isin(others, base)].reshape(self.b - 1, self.k - self.lam)
        return Design(self.parameters.residual, _renumber(kept, np.setdiff1d(np.arange(self.v), base)))

    def derived(self, block: int = 0) -> Design:
        """The points on one block of a symmetric design with lam >= 3, with the other blocks cut down to them."""
        if self.lam < 3:
            raise InvalidParameters(f"The derived design needs lam >= 3 (blocks of lam points), not {self.lam}.")
        base, others = self._apart(block)
        kept = others[np.isin(others, base)].reshape(self.b - 1, self.lam)
        return Design(self.parameters.derived, _renumber(kept, base))

    def dual(self) -> Design:
        """Points and blocks exchanged; a design only where there are as many of one as of the other."""
        if not self.parameters.is_symmetric:
            raise InvalidParameters(f"The dual needs a symmetric design (b = v), not b = {self.b}, v = {self.v}.")
        return Design(self.parameters, self.incidence)

    def _apart(self, block: int) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
        index = as_integer("block", block, 0, self.b - 1)
        if not self.parameters.is_symmetric:
            raise InvalidParameters(f"A symmetric design (b = v) is needed, not b = {self.b}, v = {self.v}.")
        return self.blocks[index], np.delete(self.blocks, index, axis=0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Design):
            return NotImplemented
        return self.parameters == other.parameters and np.array_equal(self.blocks, other.blocks)

    def __hash__(self) -> int:
        return hash((self.parameters, self.blocks.tobytes()))


def _lexicographic_order(blocks: npt.NDArray[np.int32], v: int) -> npt.NDArray[np.intp]:
    """The order that sorts the rows, reading only as many columns as tell them apart."""
    b, k = blocks.shape
    width = (62 - b.bit_length()) // v.bit_length()
    rank = np.zeros(b, dtype=np.int64)
    for start in range(0, k, width):
        key = rank
        for column in blocks[:, start : start + width].T:
            key = key * v + column
        order = np.argsort(key)
        rises = np.diff(key[order]) > 0
        if rises.all():
            break
        rank[order[1:]] = np.cumsum(rises)
        rank[order[0]] = 0
    return order


def memory_shortage(parameters: Parameters) -> str:
    """Why the blocks, while they are built, take more than half of this machine's memory; empty if they do not."""
    needed, memory = _BYTES_PER_INCIDENCE * int(parameters.b) * parameters.k, _physical_memory()
    if needed <= memory // 2:
        return ""
    return (
        f"Design {parameters} has {parameters.b} blocks of {parameters.k} points: building it takes "
        f"{needed / 2**30:.4g} GiB, more than half of this machine's {memory / 2**30:.4g} GiB."
    )


def _physical_memory() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 16 << 30


def _renumber(blocks: npt.NDArray[np.integer], points: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    return np.searchsorted(points, blocks)
