"""What a weight is worth: its square, or its square times the power of what it is multiplied with."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from iddl_prune.errors import InvalidArgument
from iddl_prune.mode import in_eval_mode

__all__ = ["calibration_inputs", "input_power", "worth"]


def worth(module: nn.Linear | nn.Conv2d, power: Tensor | None = None) -> npt.NDArray[np.float64]:
    """Worth of each (output, input) pair, shape (out, in): squared weights, summed over the taps.

    With the mean square of each input channel, shape (in,), it is the mean square of what the pair adds to the
    output, if inputs were uncorrelated: M. Sun and others, A simple and effective pruning approach for large
    language models (Wanda), ICLR 2024, squared.
    """
    squares = module.weight.detach().double().cpu().square()
    summed = squares.reshape(*squares.shape[:2], -1).sum(-1)
    return (summed if power is None else summed * power.double().cpu()).numpy()


def input_power(model: nn.Module, names: Collection[str], inputs: Tensor) -> dict[str, Tensor]:
    """Mean square of each input channel of the named layers, shape (in,), over all inputs and places."""
    power: dict[str, Tensor] = {}

    def listen(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            x = arguments[0]
            channel = x.ndim - 3 if isinstance(module, nn.Conv2d) else x.ndim - 1
            power[name] = x.square().mean([axis for axis in range(x.ndim) if axis != channel])

        return hook

    hooks = [model.get_submodule(name).register_forward_pre_hook(listen(name)) for name in names]
    try:
        with in_eval_mode(model), torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return power


def calibration_inputs(batches: Tensor | Iterable[Any]) -> Tensor:
    """All inputs as one batch, from a batch or an iterable of inputs or (inputs, labels).

    Raises
    ------
    InvalidArgument
        If there is none.
    """
    if isinstance(batches, Tensor):
        return batches
    inputs = [batch[0] if isinstance(batch, tuple | list) else batch for batch in batches]
    if not inputs:
        raise InvalidArgument("Argument 'calibration' must hold at least one batch, not none.")
    return torch.cat(inputs)
