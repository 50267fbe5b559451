"""One layer's part of a plan: its design, the edge of its tiles, the places of its channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

import bibdlib
from iddl_prune.assign import fit as fit_pattern
from iddl_prune.choice import Choice
from iddl_prune.group_fit import LayerFit
from iddl_prune.pattern import SparsePattern, told_cells
from iddl_prune.survey import Surveyed

__all__ = ["LayerPlan"]


@dataclass(frozen=True)
class LayerPlan:
    """One layer: its shape, its design, the edge of its tiles, the places of its channels.

    Attributes
    ----------
    seed
        None for the design itself; the seed of the draw for a random pattern of the same degrees.
    in_order, out_order
        Channel i plays the part of channel in_order[i] of the pattern as it falls; empty if it stays as it falls.
    worth
        Shares of the layer's worth kept: by this pattern, by the pattern as it falls, by as many weights chosen
        freely; None if nothing was fitted.
    places
        How often each weight is used for one input: output pixels of a convolution, tokens of a linear layer.
    cells, lists
        Copies of the design on each column of points, and columns (S, T); number of blocks of the pattern, None for as
        many as the copies have, as in `SparsePattern.from_design`.
    points, blocks
        Other names for the points of each copy and the blocks of each column, as `SparsePattern.relabelled` takes them,
        flat: S T v and T B numbers; empty if all stay as they fall.
    """

    kind: str
    in_features: int
    out_features: int
    taps: tuple[int, ...]
    v: int
    k: int
    lam: int
    edge: int
    reason: str
    seed: int | None = None
    in_order: tuple[int, ...] = ()
    out_order: tuple[int, ...] = ()
    worth: tuple[float, float, float] | None = None
    places: int = 1
    cells: tuple[int, int] = (1, 1)
    points: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    lists: int | None = None

    @classmethod
    def of(cls, layer: Surveyed, choice: Choice, seed: int | None = None) -> LayerPlan:
        """The design of a choice laid over a layer as it falls, or with a seed the random control."""
        p = choice.parameters
        return cls(
            layer.kind,
            layer.in_features,
            layer.out_features,
            layer.taps,
            p.v,
            p.k,
            p.lam,
            choice.edge,
            choice.reason,
            seed=seed,
            places=layer.places,
            cells=choice.cells,
            lists=choice.lists,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], form: int) -> LayerPlan:
        """What `asdict` told, lists for tuples, in a plan of this form."""
        told: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        layer = cls(**told)
        if form < 2 and layer.blocks:
            # The blocks of each copy had an order of their own.
            copies, columns = layer.cells
            orders = np.reshape(layer.blocks, (copies, columns, -1)).swapaxes(0, 1)
            starts = np.arange(copies)[:, None] * orders.shape[2]
            layer = replace(layer, blocks=tuple((orders + starts).ravel().tolist()))
        return layer

    @property
    def design(self) -> str:
        """What is laid over the layer, in words."""
        told = str(self.parameters) if self.seed is None else f"random like {self.parameters}"
        if self.cells == (1, 1):
            return told
        copies, columns = self.cells
        b = copies * int(self.parameters.b)
        return f"{told} in {told_cells(self.cells, columns * b // (self.lists or b))}"

    @property
    def parameters(self) -> bibdlib.Parameters:
        """Parameters of the design."""
        return bibdlib.Parameters(self.v, self.k, self.lam)

    def pattern(self) -> SparsePattern:
        """The pattern, built anew: the design spread over the layer, or its random control, its channels in order."""
        design = bibdlib.construct(self.v, self.k, self.lam)
        pattern = SparsePattern.from_design(
            self.in_features, self.out_features, design, edge=self.edge, cells=self.cells, lists=self.lists
        )
        if self.seed is not None:
            pattern = pattern.random(self.seed)
        if self.points:
            pattern = pattern.relabelled(self.points, self.blocks)
        if self.in_order or self.out_order:
            orders = self.in_order or range(self.in_features), self.out_order or range(self.out_features)
            pattern = pattern.permuted(*orders)
        return pattern

    def fitted(self, worth: npt.NDArray[np.float64], starts: int, seed: int) -> LayerPlan:
        """The same with the channels in the places that keep most worth, shape (out_features, in_features)."""
        found = fit_pattern(worth, self.pattern(), starts=starts, seed=seed)
        return replace(
            self,
            in_order=tuple(found.in_order.tolist()),
            out_order=tuple(found.out_order.tolist()),
            points=tuple(found.points.ravel().tolist()),
            blocks=tuple(found.blocks.ravel().tolist()),
            worth=(found.kept, found.unfitted, found.ceiling),
        )

    def fitted_in_group(self, found: LayerFit) -> LayerPlan:
        """The same with the tiles relabelled, and the channels of sides of its own in order, as `fit_groups` found."""
        tuples = {side: tuple(labels.tolist()) for side, labels in found.labels.items()}
        orders = {side: tuple(order.tolist()) for side, order in found.orders.items()}
        return replace(
            self,
            points=tuples["in"],
            blocks=tuples["out"],
            in_order=orders.get("in", ()),
            out_order=orders.get("out", ()),
            worth=(found.kept, found.unfitted, found.ceiling),
        )

    @property
    def weights_before(self) -> int:
        """Weights of the dense layer, bias not counted."""
        return self.in_features * self.out_features * prod(self.taps)

    @cached_property
    def weights(self) -> int:
        """Weights that the layer keeps."""
        return self.pattern().kept * prod(self.taps)

    @property
    def density(self) -> float:
        """Kept weights over all weights."""
        return self.weights / self.weights_before

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one input's forward pass."""
        return self.weights * self.places
