"""The places of a layer's channels, points and blocks in as few bytes as tell its pattern from all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from iddl_prune.arrangement import from_bytes, to_bytes, width
from iddl_prune.layer_plan import LayerPlan

Integers = npt.NDArray[np.integer[Any]]

__all__ = ["ORDERS", "restored", "stored"]

ORDERS = ("in_order", "out_order", "points", "blocks")


def stored(layer: LayerPlan) -> dict[str, bytes]:
    """The orders of a layer, each as the rank of an arrangement; one that is as it falls is left out.

    Channels of one group are alike, and so are blocks of a cell that hold the same points.
    """
    content = {}
    for field, rows in _labels(layer).items():
        if order := getattr(layer, field):
            orders = np.reshape(order, (len(rows), -1))
            content[field] = b"".join(to_bytes(labels[o].tolist()) for labels, o in zip(rows, orders, strict=True))
    return content


def restored(layer: LayerPlan, content: Mapping[str, bytes]) -> LayerPlan:
    """The layer, as it falls, with the orders that `stored` told: the same pattern, things alike in their order.

    Raises
    ------
    ValueError
        If the bytes are not those of this layer.
    """
    told: dict[str, Any] = {
        field: _places(rows, content[field]) for field, rows in _labels(layer).items() if field in content
    }
    return replace(layer, **told)


def _labels(layer: LayerPlan) -> dict[str, list[Integers]]:
    """What is put in order: numbers that are equal for things alike, a row for each order."""
    falls = replace(layer, in_order=(), out_order=(), points=(), blocks=()).pattern()
    copies, columns = falls.cells
    return {
        "in_order": [falls.in_groups],
        "out_order": [falls.out_groups],
        "points": [np.arange(layer.v)] * (copies * columns),
        "blocks": [
            np.unique(np.column_stack([copy, reads]), axis=0, return_inverse=True)[1].ravel()
            for copy, reads in zip(falls.copies, falls.by_column.swapaxes(0, 1), strict=True)
        ],
    }


def _places(rows: Sequence[Integers], content: bytes) -> tuple[int, ...]:
    """For rows of labels, told one after the other: the places of the things that make the stored arrangements."""
    orders, start = [], 0
    for labels in rows:
        stop = start + width(labels.tolist())
        row = from_bytes(labels.tolist(), content[start:stop])
        order = np.empty(len(row), dtype=np.intp)
        order[np.argsort(row, kind="stable")] = np.argsort(labels, kind="stable")
        orders += order.tolist()
        start = stop
    if start != len(content):
        raise ValueError(f"{len(content)} bytes tell no orders of {len(rows)} rows.")
    return tuple(orders)
