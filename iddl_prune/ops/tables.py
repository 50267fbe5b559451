"""A pattern as one tensor of integers: strips of outputs that read alike, forward and backward.

Backward the pattern is its dual: each point reads the outputs of the blocks that hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iddl_prune.pattern import SparsePattern

__all__ = ["Side", "Tables", "pack", "unpack"]

Integers = npt.NDArray[np.integer[Any]]


class Side(NamedTuple):
    """Addresses of the tables of one direction.

    Attributes
    ----------
    strips
        First weight, first of its inputs, how many, first of its outputs, how many: five integers a strip.
    pieces
        Number of strips.
    inputs, outputs
        Channels read and written, strip after strip as `strips` tells.
    heights
        Numbers of outputs that strips have.
    fan_in
        Most inputs of a strip.
    """

    strips: int
    pieces: int
    inputs: int
    outputs: int
    heights: tuple[int, ...]
    fan_in: int


class Tables(NamedTuple):
    """Both directions, and the place in storage of each weight of the dual."""

    forward: Side
    backward: Side
    order: Tensor


def pack(pattern: SparsePattern, highest: int) -> Tensor:
    """The tables of a pattern, its strips of at most so many outputs."""
    place = np.zeros((pattern.out_features, pattern.in_features), dtype=np.int32)
    place.ravel()[pattern.positions] = np.arange(pattern.kept)
    points = [np.flatnonzero(pattern.in_groups == x) for x in range(pattern.reads.shape[1])]
    read_by = [
        np.concatenate([pattern.outputs[block] for block in np.flatnonzero(pattern.reads[:, x])])
        for x in range(pattern.reads.shape[1])
    ]
    order = np.concatenate(
        [place[np.ix_(outputs, inputs)].T.ravel() for outputs, inputs in zip(read_by, points, strict=True)]
    )
    sides = [_side(pattern.inputs, pattern.outputs, highest), _side(read_by, points, highest)]
    parts = [part for side in sides for part in side[:3]] + [order]
    starts = np.cumsum([_HEADER, *map(len, parts)])
    header = [*starts, *(number for side in sides for number in (len(side[0]) // 5, side[3], side[0][2::5].max()))]
    return torch.from_numpy(np.concatenate([header, *parts]).astype(np.int32))


def unpack(tables: Tensor) -> Tables:
    """The addresses of what `pack` wrote; kept with the tensor as long as it lies where it lies."""
    known = getattr(tables, "_unpacked", None)
    if known is None or known[0] != tables.data_ptr():
        known = tables.data_ptr(), _unpacked(tables)
        tables._unpacked = known  # type: ignore[attr-defined]
    unpacked: Tables = known[1]
    return unpacked


def _unpacked(tables: Tensor) -> Tables:
    header = tables[:_HEADER].tolist()
    starts, numbers = header[:8], (header[8:11], header[11:14])
    address = tables.data_ptr()
    sides = [
        Side(
            address + 4 * starts[3 * i],
            numbers[i][0],
            address + 4 * starts[3 * i + 1],
            address + 4 * starts[3 * i + 2],
            tuple(height for height in range(1, 32) if numbers[i][1] >> height & 1),
            numbers[i][2],
        )
        for i in range(2)
    ]
    return Tables(sides[0], sides[1], tables[starts[6] : starts[7]])


_HEADER = 14


def _side(
    inputs: Sequence[Integers], outputs: Sequence[Integers], highest: int
) -> tuple[npt.NDArray[np.int64], Integers, Integers, int]:
    """Strips, inputs, outputs, and the bits of the heights that occur."""
    strips, weights, ins, outs, heights = [], 0, 0, 0, 0
    for reads, writes in zip(inputs, outputs, strict=True):
        pieces = -(-len(writes) // highest)
        for count in np.diff(np.arange(pieces + 1) * len(writes) // pieces).tolist():
            strips.append((weights, ins, len(reads), outs, count))
            weights += count * len(reads)
            outs += count
            heights |= 1 << count
        ins += len(reads)
    return np.array(strips).ravel(), np.concatenate(inputs), np.concatenate(outputs), heights
