"""Towards the density asked for in several steps, trained a little after each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from iddl_prune.choice import check_choice
from iddl_prune.convert import to_dense
from iddl_prune.errors import InvalidArgument

__all__ = ["densities", "gradually"]

Model = TypeVar("Model", bound=nn.Module)


def densities(density: float, steps: int) -> tuple[float, ...]:
    """The density after each step, the last one that asked for: d + (1 - d)(1 - i/n)^3 after step i of n.

    M. Zhu, S. Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017.

    Raises
    ------
    InvalidArgument
        If the density is not between 0 and 1, or steps less than 1.
    """
    check_choice(density, None)
    if steps < 1:
        raise InvalidArgument(f"Argument 'steps' must be at least 1, not {steps}.")
    return tuple(density + (1 - density) * (1 - step / steps) ** 3 for step in range(1, steps + 1))


def gradually(
    model: Model,
    density: float,
    steps: int,
    *,
    compress: Callable[[Model, float], Model],
    tune: Callable[[Model, int], object],
) -> Model:
    """A sparse copy of a dense model, reached in several steps; after each the patterns are exact designs.

    Parameters
    ----------
    compress
        Makes a sparse copy of a dense model at a density, such as `iddl_prune.compress` with all else settled. Weights
        that an earlier step cut are zero there: worth nothing to the fit, but where the next design has their place
        they begin anew.
    tune
        Trains a sparse model in place, told the number of its step, 1, 2, ...; not called after the last step, which
        is left to the caller.
    """
    *stages, last = densities(density, steps)
    for number, stage in enumerate(stages, start=1):
        sparse = compress(model, stage)
        tune(sparse, number)
        model = to_dense(sparse)
    return compress(model, last)
