"""What each program of the GPU kernels does, as tables of integers: a gather, never a scatter.

A product is cut into tiles of outputs. Forward, a tile is a piece of one block and adds up that block's inputs;
backward, it is a piece of one point's channels and adds up the outputs of the r blocks through that point. Both are
the same list of *steps*: which weights, which channels. So one kernel serves both, every number is written by one
program, in one order of addition, and no atomic is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from iddl_prune.pattern import SparsePattern

__all__ = ["GradientWork", "Lists", "ProductWork", "gradient_work", "lists", "product_work", "reads_runs"]

Integers = npt.NDArray[np.int32]

# Loads of 16 bytes need no more than this many elements of any type in a row.
_ALIGNED = 16


@dataclass(frozen=True)
class Lists:
    """Channels one after another, and where the channels of each block, or point, begin in them.

    Attributes
    ----------
    channels
        Shape (n,).
    starts
        Shape (groups + 1,).
    """

    channels: Integers
    starts: Integers

    def of(self, group: int) -> Integers:
        """Channels of one block or point."""
        return self.channels[self.starts[group] : self.starts[group + 1]]

    def runs(self, group: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Its channels from place `start` to `stop`, cut wherever two neighbours are not consecutive numbers."""
        channels = self.of(group)[start:stop]
        cuts = start + 1 + np.flatnonzero(np.diff(channels) != 1)
        bounds = [start, *cuts.tolist(), stop]
        yield from pairwise(bounds)


@dataclass(frozen=True)
class ProductWork:
    """The tiles and steps of a product, forward or backward.

    Attributes
    ----------
    tiles
        Shape (tiles, 4): first and last + 1 of its steps, its outputs, how many they are.
    steps
        Shape (steps, 4): place of the first weight, from there to the next output's (or input's, backward),
        the inputs, how many they are.
    targets, sources
        Channel lists. *Inputs* and *outputs* above are places in them, or with `targets_run` (`sources_run`) the first
        of so many consecutive channels, so that the kernel loads whole rows without asking for their places.
    full
        Whether every tile and step fills the kernel's: no mask is needed then.
    aligned
        Largest power of two, 16 at most, that divides every number but the steps' own.
    """

    tiles: Integers
    steps: Integers
    targets: Integers
    sources: Integers
    targets_run: bool
    sources_run: bool
    full: bool
    aligned: int


@dataclass(frozen=True)
class GradientWork:
    """The tiles of the weights' gradient.

    Attributes
    ----------
    tiles
        Shape (tiles, 6): place of the first weight, from there to the next output's, the outputs, how many,
        the inputs, how many.
    targets, sources, targets_run, sources_run, full, aligned
        As in `ProductWork`.
    """

    tiles: Integers
    targets: Integers
    sources: Integers
    targets_run: bool
    sources_run: bool
    full: bool
    aligned: int


def lists(pattern: SparsePattern) -> tuple[Lists, Lists, Lists]:
    """The inputs of each block, the outputs of each block, the channels of each point."""
    points = pattern.reads.shape[1]
    by_point = np.argsort(pattern.in_groups, kind="stable").astype(np.int32)
    starts = np.searchsorted(pattern.in_groups[by_point], np.arange(points + 1)).astype(np.int32)
    return _joined(pattern.inputs), _joined(pattern.outputs), Lists(by_point, starts)


def product_work(
    pattern: SparsePattern, outputs: int, inputs: int, *, backward: bool = False, look_up: bool = False
) -> ProductWork:
    """Cut a product into tiles of so many outputs and steps of so many inputs.

    Backward, the outputs are the layer's input channels and the inputs its output channels. With `look_up` the inputs
    are places in the list even where they are consecutive, so that no step ends with a group.
    """
    read, written, channels = lists(pattern)
    targets, sources = (channels, written) if backward else (written, read)
    targets_run, sources_run = _mostly_runs(targets, outputs), not look_up and _mostly_runs(sources, inputs)
    tiles: list[tuple[int, ...]] = []
    steps: list[tuple[int, ...]] = []
    for group, pieces in _pieces(pattern, read, channels, backward):
        length = targets.starts[group + 1] - targets.starts[group]
        for top, rows in _cut(targets, group, 0, length, outputs, targets_run):
            begin = len(steps)
            for weight, block, row_stride, column_stride in pieces:
                fan = sources.starts[block + 1] - sources.starts[block]
                steps += [
                    (
                        weight + top * row_stride + left * column_stride,
                        max(row_stride, column_stride),
                        _place(sources, block, left, sources_run),
                        columns,
                    )
                    for left, columns in _cut(sources, block, 0, fan, inputs, sources_run)
                ]
            tiles.append((begin, len(steps), _place(targets, group, top, targets_run), rows))
    # The longest first, so that no long one is left for the end.
    tiles.sort(key=lambda tile: tile[0] - tile[1])
    tile_table, step_table = np.array(tiles, dtype=np.int32), np.array(steps, dtype=np.int32)
    full = bool((tile_table[:, 3] == outputs).all() and (step_table[:, 3] == inputs).all())
    aligned = _aligned(tile_table[:, 2:], step_table)
    return ProductWork(
        tile_table, step_table, targets.channels, sources.channels, targets_run, sources_run, full, aligned
    )


def gradient_work(pattern: SparsePattern, outputs: int, inputs: int) -> GradientWork:
    """Cut the kept weights into tiles of so many outputs and inputs."""
    sources, targets, _ = lists(pattern)
    targets_run, sources_run = _mostly_runs(targets, outputs), _mostly_runs(sources, inputs)
    offsets = _weight_offsets(pattern)
    tiles = []
    for block in range(len(pattern.blocks)):
        height, fan = len(targets.of(block)), len(sources.of(block))
        tiles += [
            (
                offsets[block] + top * fan + left,
                fan,
                _place(targets, block, top, targets_run),
                rows,
                _place(sources, block, left, sources_run),
                columns,
            )
            for top, rows in _cut(targets, block, 0, height, outputs, targets_run)
            for left, columns in _cut(sources, block, 0, fan, inputs, sources_run)
        ]
    table = np.array(tiles, dtype=np.int32)
    full = bool((table[:, 3] == outputs).all() and (table[:, 5] == inputs).all())
    return GradientWork(table, targets.channels, sources.channels, targets_run, sources_run, full, _aligned(table))


def reads_runs(pattern: SparsePattern, inputs: int, what: str) -> bool:
    """Whether what is multiplied ("forward", "backward", "gradient") lies in consecutive channels, mostly."""
    read, written, _ = lists(pattern)
    needed = {"forward": [read], "backward": [written], "gradient": [read, written]}[what]
    return all(_mostly_runs(channels, inputs) for channels in needed)


def _pieces(
    pattern: SparsePattern, read: Lists, channels: Lists, backward: bool
) -> Iterator[tuple[int, list[tuple[int, int, int, int]]]]:
    """Each group of outputs, and of each block it needs: first weight, block, strides over outputs and inputs."""
    offsets = _weight_offsets(pattern)
    fans = np.diff(read.starts).tolist()
    if not backward:
        for block, offset in enumerate(offsets):
            yield block, [(offset, block, fans[block], 1)]
        return
    sizes = np.diff(channels.starts)
    # Where the channels of each point begin among the inputs of each of its blocks.
    columns = np.cumsum(sizes[pattern.blocks], axis=1) - sizes[pattern.blocks]
    for point in range(pattern.reads.shape[1]):
        through = np.argwhere(pattern.blocks == point).tolist()
        yield point, [(offsets[b] + int(columns[b, place]), b, 1, fans[b]) for b, place in through]


def _cut(group_lists: Lists, group: int, start: int, stop: int, size: int, runs: bool) -> Iterator[tuple[int, int]]:
    """Pieces of at most `size` places, as (first, length)."""
    spans = group_lists.runs(group, start, stop) if runs else [(start, stop)]
    for first, last in spans:
        for at in range(int(first), int(last), size):
            yield at, min(size, int(last) - at)


def _place(group_lists: Lists, group: int, at: int, runs: bool) -> int:
    place = int(group_lists.starts[group]) + at
    return int(group_lists.channels[place]) if runs else place


def _mostly_runs(group_lists: Lists, size: int) -> bool:
    """Whether cutting at every break costs at most a third more pieces than cutting by size alone."""
    groups = range(len(group_lists.starts) - 1)
    sizes = np.diff(group_lists.starts).tolist()
    counts = [
        sum(sum(1 for _ in _cut(group_lists, g, 0, sizes[g], size, runs)) for g in groups) for runs in (True, False)
    ]
    return 3 * counts[0] <= 4 * counts[1]


def _weight_offsets(pattern: SparsePattern) -> list[int]:
    """Where the weights of each block begin."""
    sizes = [len(o) * len(i) for o, i in zip(pattern.outputs, pattern.inputs, strict=True)]
    return np.cumsum([0, *sizes[:-1]]).tolist()


def _joined(groups: list[npt.NDArray[np.integer[Any]]]) -> Lists:
    starts = np.cumsum([0, *map(len, groups)])
    return Lists(np.concatenate(groups).astype(np.int32), starts.astype(np.int32))


def _aligned(*tables: Integers) -> int:
    return gcd(_ALIGNED, reduce(gcd, (int(np.gcd.reduce(table, axis=None)) for table in tables)))
