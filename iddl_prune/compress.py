"""All that comes before fine-tuning, in one call: plan, fit, convert, repair."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

from torch import Tensor, nn

from iddl_prune.convert import pattern_layers, prune_
from iddl_prune.dependency import permute_
from iddl_prune.errors import InvalidArgument
from iddl_prune.importance import calibration_inputs
from iddl_prune.plan import plan
from iddl_prune.recover import repair_

__all__ = ["compress"]

Model = TypeVar("Model", bound=nn.Module)


def compress(
    model: Model,
    example_inputs: Tensor | tuple[Any, ...],
    *,
    density: float,
    calibration: Tensor | Iterable[Any] | None = None,
    design: str = "bibd",
    repair: bool = True,
    **options: Any,
) -> Model:
    """A sparse copy of a trained model, as good as it gets without training; its plan is its attribute `plan`.

    Parameters
    ----------
    model
        The dense model; it stays as it is.
    example_inputs, density, design, options
        As in `iddl_prune.plan`.
    calibration
        Inputs like those to come, a batch or an iterable of inputs or (inputs, labels): a thousand for convolutions,
        some thousands for linear layers. Weights are valued by what they meet there, and kept weights re-solved for
        it; without, neither is done.
    repair
        Whether kept weights are re-solved by least squares and batch normalisation renewed.

    Raises
    ------
    InvalidArgument
        If an argument breaks its rule, the model is sparse already, or no layer can be converted at this density.
    """
    if pattern_layers(model):
        raise InvalidArgument(
            "Argument 'model' must be dense: it has sparse layers; iddl_prune.to_dense(model) has none."
        )
    device = next((parameter.device for parameter in model.parameters()), None)
    is_tensor = isinstance(calibration, Tensor)
    batches = list(calibration) if isinstance(calibration, Iterable) and not is_tensor else calibration
    decided = plan(model, example_inputs, density=density, design=design, calibration=batches, **options)
    if not decided.layers:
        raise InvalidArgument(f"Argument 'density' must leave a layer to convert, not {density}:\n{decided}")
    sparse = prune_(copy.deepcopy(model), decided)
    if repair and batches is not None:
        teacher = permute_(copy.deepcopy(model), decided.moves) if decided.moves else model
        repair_(sparse, teacher, calibration_inputs(batches).to(device))
    return sparse
