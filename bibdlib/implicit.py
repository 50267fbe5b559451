"""Designs too large to hold: blocks and incidences by arithmetic, one at a time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bibdlib.design import BlockDesign, Design, memory_shortage
from bibdlib.errors import DesignTooLarge, InvalidParameters, as_integer
from bibdlib.groups import AbelianGroup
from bibdlib.parameters import Parameters

__all__ = ["DevelopedDesign", "ImplicitDesign"]

Numbers = npt.NDArray[np.int64]


class ImplicitDesign(BlockDesign):
    """A design that computes its incidences; its blocks come in an order of the construction's own.

    `bibdlib.verify` checks it by its differences where it has any, otherwise by a sample.
    """

    def block(self, i: int) -> Numbers:
        return self._block(as_integer("i", i, 0, self.b - 1))

    def blocks_through(self, x: int, y: int | None = None) -> Numbers:
        x = as_integer("x", x, 0, self.v - 1)
        if y is None or as_integer("y", y, 0, self.v - 1) == x:
            return self._blocks_through(x)
        return self._blocks_joining(x, int(y))

    def _slab(self, start: int, stop: int) -> Numbers:
        return np.stack([self._block(i) for i in range(start, stop)])

    def explicit(self) -> Design:
        """The same design with its blocks in memory.

        Raises
        ------
        DesignTooLarge
            If the machine has not the memory for it.
        """
        shortage = memory_shortage(self.parameters)
        if shortage:
            raise DesignTooLarge(shortage)
        return Design(self.parameters, np.concatenate([batch.astype(np.int32) for batch in self.batches()]))

    @abstractmethod
    def _block(self, i: int) -> Numbers:
        """The points of a block, ascending."""

    @abstractmethod
    def _blocks_through(self, x: int) -> Numbers:
        """The blocks through a point, ascending."""

    @abstractmethod
    def _blocks_joining(self, x: int, y: int) -> Numbers:
        """The blocks through two points, ascending."""


@dataclass(frozen=True, eq=False, repr=False)
class DevelopedDesign(ImplicitDesign):
    """The translates of base blocks in an abelian group, each base block moved by every element.

    Block j v + g is base block j moved by g.

    Parameters
    ----------
    group
        The group of order v, acting on its own elements.
    base_blocks
        Integer array of shape (t, k), elements of the group; t k (k - 1) a multiple of v - 1.

    Raises
    ------
    InvalidParameters
        If the base blocks are no such array.
    """

    group: AbelianGroup
    base_blocks: Numbers
    parameters: Parameters = field(init=False)

    def __post_init__(self) -> None:
        v, bases = self.group.order, np.asarray(self.base_blocks)
        if bases.ndim != 2 or not np.issubdtype(bases.dtype, np.integer):
            given = f"{bases.dtype} of shape {bases.shape}"
            raise InvalidParameters(f"Argument 'base_blocks' must be an integer array of shape (t, k), not {given}.")
        if bases.min() < 0 or bases.max() >= v:
            outside = bases[(bases < 0) | (bases >= v)][0]
            raise InvalidParameters(f"Argument 'base_blocks' must hold elements 0..{v - 1}, not {outside}.")
        differences = bases.size * (bases.shape[1] - 1)
        if differences % (v - 1):
            raise InvalidParameters(
                f"Argument 'base_blocks' must have a multiple of v - 1 = {v - 1} differences, not {differences}."
            )
        object.__setattr__(self, "base_blocks", bases)
        object.__setattr__(self, "parameters", Parameters(v, bases.shape[1], differences // (v - 1)))

    def _block(self, i: int) -> Numbers:
        base, element = divmod(i, self.v)
        return np.sort(self.group.add(self.base_blocks[base], element))

    def _blocks_through(self, x: int) -> Numbers:
        return np.sort(self._bases * self.v + self.group.subtract(x, self.base_blocks), axis=None)

    def _blocks_joining(self, x: int, y: int) -> Numbers:
        # Base block j moved by x - d holds y too if it holds d + (y - x).
        partners = self._bases * self.v + self.group.add(self.base_blocks, self.group.subtract(y, x))
        nearest = np.minimum(np.searchsorted(self._members, partners), self._members.size - 1)
        base, place = np.nonzero(self._members[nearest] == partners)
        return np.sort(base * self.v + self.group.subtract(x, self.base_blocks[base, place]))

    @cached_property
    def _bases(self) -> Numbers:
        return np.arange(len(self.base_blocks))[:, None]

    @cached_property
    def _members(self) -> Numbers:
        """j v + g for each element g of each base block j, ascending."""
        return np.sort(self._bases * self.v + self.base_blocks, axis=None)
