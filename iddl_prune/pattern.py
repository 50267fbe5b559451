"""A design, or copies of one, spread over a layer: which input channels each output channel reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

import bibdlib
from iddl_prune.errors import InvalidArgument

__all__ = ["SparsePattern", "nearly_equal_groups"]

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
        Those of the design that each cell is, or None where they are no design (the random control).
    cells
        Rows and columns (S, T) of cells: the blocks fall into S runs, the points into T runs, and where a run of
        blocks meets a run of points stands a design of its own. A column of cells, S designs on the same points, is
        itself one with S times the lam.

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
        for size, parts in zip(self.reads.shape, self.cells, strict=True):
            if parts < 1 or size % parts:
                raise InvalidArgument(f"Argument 'cells' must divide the blocks and the points, not {self.cells}.")

    @classmethod
    def from_design(
        cls,
        in_features: int,
        out_features: int,
        design: bibdlib.Design,
        *,
        edge: int = 1,
        cells: tuple[int, int] = (1, 1),
    ) -> SparsePattern:
        """Spread copies of a design over a layer as they fall: channels in their order, in units of `edge` channels.

        Raises
        ------
        InvalidArgument
            If there are fewer units of inputs than points, or of outputs than blocks.
        """
        rows, columns = cells
        side_by_side = np.concatenate([design.blocks + column * design.v for column in range(columns)], axis=1)
        return cls(
            np.tile(side_by_side, (rows, 1)),
            nearly_equal_groups("in_features", in_features, columns * design.v, edge),
            nearly_equal_groups("out_features", out_features, rows * design.b, edge),
            design.parameters,
            cells,
        )

    def cell(self, row: int, column: int) -> Integers:
        """The blocks of one cell on its own points 0..v-1, shape (b, k)."""
        rows, columns = self.cells
        cells = self.blocks.reshape(rows, len(self.blocks) // rows, columns, -1)
        return cells[row, :, column] - column * (self.reads.shape[1] // columns)

    def random(self, seed: int) -> SparsePattern:
        """The control: each cell's blocks drawn at random with the same k points a block and r blocks a point.

        The Curveball chain (Strona and others, Nature Communications 5 (2014) 4114; Carstens, Phys. Rev. E 91
        (2015) 042812 proves it uniform): pairs of blocks trade the points that only one of them holds.
        """
        generator = np.random.default_rng(seed)
        return self._with_cells(lambda row, column: _curveball(self.cell(row, column), generator), None)

    def relabelled(self, points: Sequence[int] | Integers, blocks: Sequence[int] | Integers) -> SparsePattern:
        """The pattern in whose cells point x plays point points[..., x], likewise the blocks.

        Parameters
        ----------
        points, blocks
            Permutations, a cell after the other: of shapes (S, T, v) and (S, T, b), or flat.
        """
        names, rows = np.reshape(points, (*self.cells, -1)), np.reshape(blocks, (*self.cells, -1))

        def play(row: int, column: int) -> Integers:
            return np.sort(np.argsort(names[row, column])[self.cell(row, column)[rows[row, column]]], axis=1)

        return self._with_cells(play, self.parameters)

    def _with_cells(
        self, blocks: Callable[[int, int], Integers], parameters: bibdlib.Parameters | None
    ) -> SparsePattern:
        rows, columns = self.cells
        v = self.reads.shape[1] // columns
        woven = [
            np.concatenate([blocks(row, column) + column * v for column in range(columns)], axis=1)
            for row in range(rows)
        ]
        return SparsePattern(np.concatenate(woven), self.in_groups, self.out_groups, parameters, self.cells)

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
        """Count every pair of points in every cell; a pattern that claims no design fails by its own word."""
        if self.parameters is None:
            return bibdlib.Certificate(False, "nothing", "the pattern claims no design")
        for row, column in np.ndindex(self.cells):
            certificate = bibdlib.verify(bibdlib.Design(self.parameters, self.cell(row, column)))
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
            what += " in {} x {} cells".format(*self.cells)
        return f"SparsePattern({self.in_features} -> {self.out_features}, {what}, density={self.density:.4f})"


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
