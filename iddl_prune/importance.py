"""What a weight is worth: by its size, by what it is multiplied with, or by what the loss would say to its loss."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iddl_prune.errors import InvalidArgument
from iddl_prune.mode import in_eval_mode

__all__ = ["IMPORTANCES", "Importance", "calibration_inputs", "check_importance", "input_power", "worth", "worths"]

IMPORTANCES = ("magnitude", "activation", "taylor", "hessian")

Floats = npt.NDArray[np.float64]

# One of IMPORTANCES, or a function of name, layer and the mean square of its inputs (None without calibration).
Importance = str | Callable[[str, nn.Linear | nn.Conv2d, Tensor | None], npt.ArrayLike]


def worths(
    model: nn.Module,
    names: Collection[str],
    importance: Importance | None = None,
    calibration: Tensor | Iterable[Any] | None = None,
) -> dict[str, Floats]:
    """Worth of each (output, input) pair of the named layers, shape (out, in); the taps of a pair are added.

    The model is left as it was, its gradients too.

    Parameters
    ----------
    importance
        "magnitude": the squared weight.
        "activation": times the mean square of its input, as in `worth`.
        "taylor": the squared first-order change of the loss if the pair went, averaged over the batches:
        P. Molchanov and others, Importance estimation for neural network pruning, CVPR 2019.
        "hessian": the squared weight times the mean over single examples of its squared gradient: Y. LeCun,
        J. Denker, S. Solla, Optimal brain damage, NIPS 1989, with the empirical Fisher information for the Hessian;
        one backward pass an example.
        A function: called with a layer's name, the layer and the mean square of its inputs, shape (in,), or None
        without calibration; returns the worths.
        None: "activation" where there is calibration, else "magnitude".
    calibration
        A batch, or an iterable of inputs or (inputs, labels); "taylor" and "hessian" need the labels.

    Raises
    ------
    InvalidArgument
        If the importance is unknown, lacks what it needs, or returns anything but finite worths of the right shape.
    """
    if importance is None:
        importance = "magnitude" if calibration is None else "activation"
    check_importance(importance)
    layers: dict[str, nn.Linear | nn.Conv2d] = {name: model.get_submodule(name) for name in names}  # type: ignore[misc]
    if importance in ("taylor", "hessian"):
        batches = _labelled(importance, calibration, model)
        with _asking_for_gradients(layers.values()), in_eval_mode(model):
            return (_taylor if importance == "taylor" else _hessian)(model, layers, batches)
    if importance == "activation" and calibration is None:
        raise InvalidArgument("Argument 'calibration' must be given for importance 'activation'.")
    power: dict[str, Tensor] = {}
    if calibration is not None and importance != "magnitude":
        power = input_power(model, names, calibration_inputs(calibration).to(_device(model)))
    if isinstance(importance, str):
        return {name: worth(layer, power.get(name)) for name, layer in layers.items()}
    return {name: _checked(name, layer, importance(name, layer, power.get(name))) for name, layer in layers.items()}


def check_importance(importance: Importance | None) -> None:
    """Raise InvalidArgument unless it is None, one of IMPORTANCES, or a function."""
    if importance is not None and importance not in IMPORTANCES and not callable(importance):
        known = ", ".join(IMPORTANCES)
        raise InvalidArgument(f"Argument 'importance' must be one of {known}, or a function, not {importance!r}.")


def worth(module: nn.Linear | nn.Conv2d, power: Tensor | None = None) -> Floats:
    """Worth of each (output, input) pair, shape (out, in): squared weights, summed over the taps.

    With the mean square of each input channel, shape (in,), it is the mean square of what the pair adds to the
    output, if inputs were uncorrelated: M. Sun and others, A simple and effective pruning approach for large
    language models (Wanda), ICLR 2024, squared.
    """
    summed = _over_taps(module.weight.detach().double().square())
    return (summed if power is None else summed * power.double()).cpu().numpy()


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
        If there is none, or inputs are no tensors.
    """
    if isinstance(batches, Tensor):
        return batches
    if not isinstance(batches, Iterable):
        raise InvalidArgument(f"Argument 'calibration' must be a batch or an iterable of batches, not {batches!r:.80}.")
    inputs = [batch[0] if isinstance(batch, tuple | list) else batch for batch in batches]
    if not inputs:
        raise InvalidArgument("Argument 'calibration' must hold at least one batch, not none.")
    odd = next((batch for batch in inputs if not isinstance(batch, Tensor)), None)
    if odd is not None:
        raise InvalidArgument(f"Argument 'calibration' must hold tensors of inputs, not {type(odd).__name__}.")
    return torch.cat(inputs)


Batches = list[tuple[Tensor, Tensor]]
Layers = dict[str, nn.Linear | nn.Conv2d]


def _taylor(model: nn.Module, layers: Layers, batches: Batches) -> dict[str, Floats]:
    total: dict[str, Any] = dict.fromkeys(layers, 0.0)
    for inputs, labels in batches:
        for name, gradient in _gradients(model, layers, inputs, labels).items():
            total[name] += _over_taps(gradient * layers[name].weight.detach().double()).square()
    return {name: (value / len(batches)).cpu().numpy() for name, value in total.items()}


def _hessian(model: nn.Module, layers: Layers, batches: Batches) -> dict[str, Floats]:
    total: dict[str, Any] = dict.fromkeys(layers, 0.0)
    examples = [example for inputs, labels in batches for example in zip(inputs.split(1), labels.split(1), strict=True)]
    for inputs, labels in examples:
        for name, gradient in _gradients(model, layers, inputs, labels).items():
            total[name] += gradient.square()
    return {
        name: (_over_taps(value * layers[name].weight.detach().double().square()) / len(examples)).cpu().numpy()
        for name, value in total.items()
    }


def _gradients(model: nn.Module, layers: Layers, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Gradients of the mean cross entropy."""
    weights = [layer.weight for layer in layers.values()]
    loss = F.cross_entropy(model(inputs), labels)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return {name: gradient.double() for name, gradient in zip(layers, gradients, strict=True)}


def _labelled(importance: Importance, calibration: Tensor | Iterable[Any] | None, model: nn.Module) -> Batches:
    batches = [] if calibration is None or isinstance(calibration, Tensor) else list(calibration)
    if not batches or not all(isinstance(batch, tuple | list) and len(batch) == 2 for batch in batches):
        raise InvalidArgument(
            f"Argument 'calibration' must hold batches of (inputs, labels) for importance {importance!r}."
        )
    device = _device(model)
    return [(inputs.to(device), labels.to(device)) for inputs, labels in batches]


def _checked(name: str, layer: nn.Linear | nn.Conv2d, given: npt.ArrayLike) -> Floats:
    values = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64)
    shape = tuple(layer.weight.shape[:2])
    if values.shape != shape:
        raise InvalidArgument(f"Argument 'importance' must give {name!r} shape {shape}, not {values.shape}.")
    if not np.isfinite(values).all() or values.min() < 0:
        raise InvalidArgument(f"Argument 'importance' must give {name!r} finite numbers that are not negative.")
    return values


def _over_taps(values: Tensor) -> Tensor:
    return values.reshape(*values.shape[:2], -1).sum(-1)


def _device(model: nn.Module) -> torch.device | None:
    return next((parameter.device for parameter in model.parameters()), None)


@contextmanager
def _asking_for_gradients(layers: Collection[nn.Linear | nn.Conv2d]) -> Iterator[None]:
    """Frozen weights have gradients too, for a while."""
    frozen = [layer.weight for layer in layers if not layer.weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)
