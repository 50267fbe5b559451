"""What a model costs and what it gives: weights, multiply-adds, bytes, accuracy, latency."""

from __future__ import annotations

import copy
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from iddl_prune.errors import InvalidArgument
from iddl_prune.finetune import Examples, evaluate
from iddl_prune.layers import BIBDConv2d, BIBDLinear, PatternLayer
from iddl_prune.mode import in_eval_mode

__all__ = ["Latency", "Measurement", "count_multiply_adds", "count_weights", "machine", "measure", "time_models"]

_LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass in milliseconds, over so many rounds."""

    median_ms: float
    p95_ms: float
    rounds: int


@dataclass(frozen=True)
class Measurement:
    """A model in figures.

    Attributes
    ----------
    weights
        Trainable numbers: kept weights, biases, scales.
    multiply_adds
        Of one input's forward pass, counted by thop.
    size_bytes
        Of its safetensors file.
    accuracy
        On the test examples, 0..1; None if there were none.
    latency
        By batch size.
    """

    weights: int
    multiply_adds: int
    size_bytes: int
    accuracy: float | None
    latency: dict[int, Latency]

    @property
    def flops(self) -> int:
        """Floating point operations of one input's forward pass: 2 x multiply-adds."""
        return 2 * self.multiply_adds

    def to_dict(self) -> dict[str, Any]:
        """The figures, FLOPs with them, as JSON holds them."""
        return {**asdict(self), "flops": self.flops}


def measure(
    models: Mapping[str, nn.Module],
    input_shape: tuple[int, ...],
    *,
    test: Examples | None = None,
    deployed: Mapping[str, nn.Module] | None = None,
    batch_sizes: Sequence[int] = (1, 32),
    seconds: float = 5.0,
) -> dict[str, Measurement]:
    """Measure several models side by side; no model is changed.

    Parameters
    ----------
    models
        By name, all on one device.
    input_shape
        Of one input, without the batch.
    test
        Examples whose classes the models are to tell.
    deployed
        The forms in which models are timed, by the same names; the others are timed as they are.
    batch_sizes, seconds
        As in `time_models`, which times each batch size.
    """
    timed = {**models, **(deployed or {})}
    latency = {size: time_models(timed, (size, *input_shape), seconds=seconds) for size in batch_sizes}
    return {
        name: Measurement(
            weights=count_weights(model),
            multiply_adds=count_multiply_adds(model, input_shape),
            size_bytes=_size_bytes(model),
            accuracy=None if test is None else evaluate(model, test),
            latency={size: latency[size][name] for size in batch_sizes},
        )
        for name, model in models.items()
    }


def time_models(
    models: Mapping[str, nn.Module], shape: tuple[int, ...], *, seconds: float = 5.0, rounds: int = 200
) -> dict[str, Latency]:
    """Time forward passes on random inputs of one shape, in eval mode, without gradients, warm.

    The models take turns, each round beginning with another, so that whatever else the machine does meets
    all of them alike. A machine's first calls are left out.

    Parameters
    ----------
    seconds, rounds
        Whichever is reached first ends the timing, but five rounds are always made.
    """
    if not models:
        return {}
    if rounds < _LEAST_ROUNDS:
        raise InvalidArgument(f"Argument 'rounds' must be at least {_LEAST_ROUNDS}, not {rounds}.")
    device = _device(next(iter(models.values())))
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    names = list(models)
    times: dict[str, list[float]] = {name: [] for name in names}
    with in_eval_mode(*models.values()), torch.no_grad():
        for name in names * 2:
            _time(models[name], inputs)
        begun = time.perf_counter()
        for turn in range(rounds):
            if turn >= _LEAST_ROUNDS and time.perf_counter() - begun > seconds:
                break
            for i in range(len(names)):
                name = names[(turn + i) % len(names)]
                times[name].append(_time(models[name], inputs))
    return {
        name: Latency(float(np.median(taken)), float(np.percentile(taken, 95)), len(taken))
        for name, taken in times.items()
    }


def count_weights(model: nn.Module) -> int:
    """Number of trainable numbers; a parameter that two layers share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one input's forward pass by thop, which counts normalisation and pooling besides."""
    import thop

    # thop leaves its counters behind in some modules, so it gets a copy.
    spare = copy.deepcopy(model)
    inputs = torch.zeros(1, *input_shape, device=_device(model))
    handlers = {BIBDLinear: _count_kept, BIBDConv2d: _count_kept}
    multiply_adds, _ = thop.profile(spare, inputs=(inputs,), custom_ops=handlers, verbose=False)
    return int(multiply_adds)


def machine() -> dict[str, Any]:
    """Where a figure was measured: processor, threads, accelerator, versions."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _count_kept(layer: PatternLayer, _: tuple[Tensor, ...], output: Tensor) -> None:
    """Each kept weight is used once for each place of the output: thop's hook for our layers."""
    counter = layer.get_buffer("total_ops")
    counter += layer.weight.numel() * (output.numel() // layer.pattern.out_features)


def _size_bytes(model: nn.Module) -> int:
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    return len(safetensors.torch.save(tensors))


def _time(model: nn.Module, inputs: Tensor) -> float:
    started = time.perf_counter()
    model(inputs)
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
    return 1000 * (time.perf_counter() - started)


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
