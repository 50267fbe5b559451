"""A design, or copies of one, spread over a layer: which input channels each output channel reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

import bibdlib
from iddl_prune.errors import InvalidArgument

__all__ = ["SparsePattern", "nearly_equal_groups", "told_cells"]

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class SparsePattern:
    """Every input channel plays a point, every output channel a block; an output reads the points of its block.

    The groups of channels that play the same point, or the same block, have nearly equal sizes, so any
    width carries an exact design: nothing is cut off, no input and no output is left without a weight.

    Parameters
    ----------
    blocks
        Points of each block, shape (b, k), rows ascending.
    in_groups
        Point of each input channel, shape (in_features,), values 0..v-1, each at least once.
    out_groups
        Block of each output channel, shape (out_features,), values 0..b-1, each at least once.
    parameters
        Those of the design of which the cells are copies, or None where they are no design (the random control).
    cells
        Numbers (S, T): the points fall into T columns, and on the points of each column stand S copies of the design,
        together one with S times the lam. A block of the pattern joins blocks of several columns, of each column one at
        most: of every column where the copies have as many blocks as the pattern, else of some.

    Raises
    ------
    InvalidArgument
        If a shape or value is outside these rules.
    """

    blocks: Integers = field(repr=False)
    in_groups: Integers = field(repr=False)
    out_groups: Integers = field(repr=False)
    parameters: bibdlib.Parameters | None = None
    cells: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for name in ("blocks", "in_groups", "out_groups"):
            array = np.array(getattr(self, name))
            if not np.issubdtype(array.dtype, np.integer):
                raise InvalidArgument(f"Argument '{name}' must hold integers, not {array.dtype}.")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.blocks.ndim != 2 or (np.diff(self.blocks, axis=1) <= 0).any():
            raise InvalidArgument("Argument 'blocks' must have shape (b, k), its rows ascending without repeats.")
        if not np.array_equal(np.unique(self.in_groups), np.unique(self.blocks)):
            raise InvalidArgument("Argument 'in_groups' must give each point of the blocks to a channel.")
        if not np.array_equal(np.unique(self.out_groups), np.arange(len(self.blocks))):
            raise InvalidArgument(
                f"Argument 'out_groups' must give each of the {len(self.blocks)} blocks to a channel."
            )
        copies, columns = self.cells
        if min(self.cells) < 1 or self.reads.shape[1] % columns or self.joins[:, 0].sum() % copies:
            raise InvalidArgument(f"Argument 'cells' must divide the points, and a column's blocks, not {self.cells}.")

    @classmethod
    def from_design(
        cls,
        in_features: int,
        out_features: int,
        design: bibdlib.Design,
        *,
        edge: int = 1,
        cells: tuple[int, int] = (1, 1),
        lists: int | None = None,
    ) -> SparsePattern:
        """Spread copies of a design over a layer as they fall: channels in their order, in units of `edge` channels.

        Parameters
        ----------
        lists
            Number of blocks of the pattern, S b if left out. The S T b blocks of the copies are dealt out to them in
            turn, column after column, as many to each.

        Raises
        ------
        InvalidArgument
            If there are fewer units of inputs than points, or of outputs than blocks, or the copies' blocks cannot be
            dealt out so.
        """
        copies, columns = cells
        b = copies * design.b
        lists = b if lists is None else lists
        if lists < b or columns * b % lists:
            raise InvalidArgument(f"Argument 'lists' must be at least {b} and divide {columns * b}, not {lists}.")
        dealt = _dealt(cells, design.b, lists)
        reads = np.zeros((lists, columns, design.v), dtype=bool)
        for column, copy in np.ndindex(columns, copies):
            reads[dealt[column, copy][:, None], column, design.blocks] = True
        return cls(
            _blocks(reads),
            nearly_equal_groups("in_features", in_features, columns * design.v, edge),
            nearly_equal_groups("out_features", out_features, lists, edge),
            design.parameters,
            cells,
        )

    def column(self, column: int) -> Integers:
        """The blocks of one column on its own points 0..v-1, shape (S b, k)."""
        return _blocks(self.by_column[self.joins[:, column], column])

    def random(self, seed: int) -> SparsePattern:
        """The control: each column's blocks drawn at random with the same k points a block and S r blocks a point.

        The Curveball chain (Strona and others, Nature Communications 5 (2014) 4114; Carstens, Phys. Rev. E 91
        (2015) 042812 proves it uniform): pairs of blocks trade the points that only one of them holds.
        """
        generator = np.random.default_rng(seed)
        reads = np.zeros_like(self.by_column)
        for column, joined in enumerate(self.joins.T):
            reads[np.flatnonzero(joined)[:, None], column, _curveball(self.column(column), generator)] = True
        return replace(self, blocks=_blocks(reads), parameters=None)

    def relabelled(self, points: Sequence[int] | Integers, blocks: Sequence[int] | Integers) -> SparsePattern:
        """The pattern, given as it falls, with other names for the points of each copy and the blocks of each column.

        Parameters
        ----------
        points
            In copy s of column t, point x plays point points[s, t, x]; of shape (S, T, v), or flat.
        blocks
            In column t, block x joins what block blocks[t, x] joins as it falls, be it nothing; of shape (T, B), or
            flat.

        Raises
        ------
        InvalidArgument
            If some blocks are to join more than others.
        """
        copies, (count, columns, v) = self.cells[0], self.by_column.shape
        names, order = np.reshape(points, (copies, columns, v)), np.reshape(blocks, (columns, count))
        column = np.arange(columns)[:, None]
        if np.ptp((self.copies[column, order] >= 0).sum(axis=0)):
            raise InvalidArgument("Argument 'blocks' must let each block join as many.")
        named = names[self.copies[column, order], column]
        reads = self.by_column[order[:, :, None], column[:, :, None], named]
        return replace(self, blocks=_blocks(reads.swapaxes(0, 1)))

    def permuted(self, in_order: Sequence[int] | Integers, out_order: Sequence[int] | Integers) -> SparsePattern:
        """The pattern in which input channel i plays the part of channel in_order[i], likewise the outputs."""
        return replace(
            self, in_groups=self.in_groups[np.asarray(in_order)], out_groups=self.out_groups[np.asarray(out_order)]
        )

    @property
    def in_features(self) -> int:
        """Number of input channels."""
        return len(self.in_groups)

    @property
    def out_features(self) -> int:
        """Number of output channels."""
        return len(self.out_groups)

    @cached_property
    def reads(self) -> npt.NDArray[np.bool_]:
        """Which block holds which point, shape (b, v)."""
        reads = np.zeros((len(self.blocks), int(self.in_groups.max()) + 1), dtype=bool)
        np.put_along_axis(reads, self.blocks, True, axis=1)
        return reads

    @cached_property
    def by_column(self) -> npt.NDArray[np.bool_]:
        """Which block holds which point of which column, shape (B, T, v)."""
        return self.reads.reshape(len(self.reads), self.cells[1], -1)

    @property
    def joins(self) -> npt.NDArray[np.bool_]:
        """Which block of the pattern joins one of which column, shape (B, T)."""
        return np.logical_or.reduce(self.by_column, axis=2)

    @cached_property
    def copies(self) -> Integers:
        """The copy, -1 for none, that each block joins in each column of the pattern as it falls, shape (T, B)."""
        lists, columns, _ = self.by_column.shape
        joined = int(self.joins[:, 0].sum())
        dealt = _dealt(self.cells, joined // self.cells[0], lists)
        copies = np.full((columns, lists), -1)
        for copy in range(self.cells[0]):
            np.put_along_axis(copies, dealt[:, copy], copy, axis=1)
        return copies

    def mask(self) -> npt.NDArray[np.bool_]:
        """Which output reads which input, shape (out_features, in_features)."""
        return self.reads[self.out_groups][:, self.in_groups]

    @cached_property
    def inputs(self) -> list[Integers]:
        """Input channels read by each block, point after point; b arrays of nearly equal length."""
        by_point = np.argsort(self.in_groups, kind="stable")
        starts = np.searchsorted(self.in_groups[by_point], np.arange(self.reads.shape[1] + 1))
        channels = [by_point[starts[x] : starts[x + 1]] for x in range(self.reads.shape[1])]
        return [np.concatenate([channels[x] for x in block]) for block in self.blocks]

    @cached_property
    def outputs(self) -> list[Integers]:
        """Output channels that play each block; b arrays of nearly equal length."""
        by_block = np.argsort(self.out_groups, kind="stable")
        return np.split(by_block, np.cumsum(np.bincount(self.out_groups))[:-1])

    @cached_property
    def kept(self) -> int:
        """Number of (output, input) pairs that are connected."""
        return sum(len(outputs) * len(inputs) for outputs, inputs in zip(self.outputs, self.inputs, strict=True))

    @property
    def density(self) -> float:
        """Kept pairs over all pairs."""
        return self.kept / (self.in_features * self.out_features)

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """Where each kept pair stands in the flattened (out_features, in_features) matrix, shape (kept,).

        The order is that of storage: block after block, output after output, and the block's inputs in turn.
        """
        return np.concatenate(
            [
                (outputs[:, None].astype(np.int64) * self.in_features + inputs).ravel()
                for outputs, inputs in zip(self.outputs, self.inputs, strict=True)
            ]
        )

    @property
    def is_design(self) -> bool:
        """Whether the blocks are claimed to be a design."""
        return self.parameters is not None

    def verify(self) -> bibdlib.Certificate:
        """Count every pair of points of every column; a pattern that claims no design fails by its own word."""
        if self.parameters is None:
            return bibdlib.Certificate(False, "nothing", "the pattern claims no design")
        v, k, lam = self.parameters.v, self.parameters.k, self.parameters.lam
        parameters = bibdlib.Parameters(v, k, self.cells[0] * lam)
        for column in range(self.cells[1]):
            certificate = bibdlib.verify(bibdlib.Design(parameters, self.column(column)))
            if not certificate.holds:
                break
        return certificate

    @property
    def digest(self) -> str:
        """Fingerprint of the whole pattern (SHA-256, 16 hexadecimal digits)."""
        content = sha256()
        for array in (self.blocks, self.in_groups, self.out_groups):
            content.update(repr(array.shape).encode())
            content.update(np.ascontiguousarray(array, dtype="<i4").tobytes())
        return content.hexdigest()[:16]

    def __repr__(self) -> str:
        what = str(self.parameters) if self.is_design else f"random, {len(self.blocks)} blocks"
        if self.cells != (1, 1):
            what += " in " + told_cells(self.cells, int(self.joins[0].sum()))
        return f"SparsePattern({self.in_features} -> {self.out_features}, {what}, density={self.density:.4f})"


def _dealt(cells: tuple[int, int], b: int, lists: int) -> npt.NDArray[np.int64]:
    """The blocks of a pattern that the b blocks of each copy join as they fall, shape (T, S, b)."""
    copies, columns = cells
    return np.arange(columns * copies * b).reshape(columns, copies, b) % lists


def _blocks(reads: npt.NDArray[np.bool_]) -> Integers:
    """The points of each block, shape (b, k), from all that it holds, of shape (b, ...)."""
    return np.nonzero(reads.reshape(len(reads), -1))[1].reshape(len(reads), -1)


def _curveball(blocks: Integers, generator: np.random.Generator) -> Integers:
    """A chain of ten trades a block."""
    sets = [set(block) for block in blocks.tolist()]
    for _ in range(10 * len(sets) if len(sets) > 1 else 0):
        i, j = generator.choice(len(sets), size=2, replace=False)
        mine, theirs = sorted(sets[i] - sets[j]), sorted(sets[j] - sets[i])
        pool = generator.permutation(mine + theirs).tolist()
        shared = sets[i] & sets[j]
        sets[i] = shared | set(pool[: len(mine)])
        sets[j] = shared | set(pool[len(mine) :])
    return np.array([sorted(held) for held in sets])


def nearly_equal_groups(name: str, features: int, groups: int, edge: int = 1) -> npt.NDArray[np.int64]:
    """The group of each channel: consecutive channels in `groups` groups that differ by at most `edge` channels.

    Raises
    ------
    InvalidArgument
        If there are fewer units of `edge` channels than groups.
    """
    units = -(-features // edge)
    if units < groups:
        raise InvalidArgument(
            f"Argument '{name}' must give at least {groups} units of {edge} channels, not {features} channels."
        )
    group_of_unit = np.repeat(np.arange(groups), np.diff(np.arange(groups + 1) * units // groups))
    return np.repeat(group_of_unit, edge)[:features]


def told_cells(cells: tuple[int, int], joined: int) -> str:
    """The cells in words, and of how many columns each block of the pattern joins one, if not of all."""
    return "{} x {} cells".format(*cells) + (f", {joined} each" if joined < cells[1] else "")
