"""The GPU's kernel: every tile of outputs gathers exactly the inputs of its block, every tile of inputs its r blocks.

Where it cannot run (no CUDA device, no Triton, float64) the kernel `gather` computes instead, and says so once.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iddl_prune.ops import gather
from iddl_prune.ops.convolution import Places
from iddl_prune.ops.geometry import Geometry
from iddl_prune.pattern import SparsePattern

__all__ = [
    "AUTOGRAD",
    "COMPOSITE",
    "available",
    "buffers",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "linear",
    "linear_grad_input",
    "linear_grad_weight",
    "pattern_of",
    "searching",
]

COMPOSITE = False
AUTOGRAD = False

# A name is the pattern's fingerprint in so many numbers of 16 bits.
_LETTERS = 4

_patterns: dict[tuple[int, ...], SparsePattern] = {}


def available(device_type: str, dtype: torch.dtype) -> bool:
    """On a CUDA device, or in Triton's interpreter, in float32, bfloat16 and float16."""
    if dtype not in (torch.float32, torch.bfloat16, torch.float16) or not _has_triton():
        return False
    return device_type == "cuda" or (device_type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")


def buffers(pattern: SparsePattern) -> dict[str, Tensor]:
    """The pattern, and a name for it: the shapes of empty tensors, which are known without asking the card."""
    name = _digits(pattern)
    _patterns.setdefault(name, pattern)
    letters = {f"name_{i}": torch.empty(digit, 0, dtype=torch.uint8) for i, digit in enumerate(name)}
    arrays = {"blocks": pattern.blocks, "in_groups": pattern.in_groups, "out_groups": pattern.out_groups}
    return letters | {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}


def pattern_of(indices: Sequence[Tensor]) -> SparsePattern:
    """The pattern whose buffers these are; read from the card only in a process that has not met it."""
    name = tuple(letter.shape[0] for letter in indices[:_LETTERS])
    if name not in _patterns:
        blocks, in_groups, out_groups = (array.numpy(force=True) for array in indices[_LETTERS:])
        _patterns[name] = SparsePattern(blocks, in_groups, out_groups)
    return _patterns[name]


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, indices: Sequence[Tensor], out_features: int, relu: bool
) -> Tensor:
    """x (n, in_features) -> (n, out_features)."""
    pattern = pattern_of(indices)
    if not _can(x):
        return gather.linear(x, weight, bias, _gathered(pattern, x.device), out_features, relu)
    launch, rows = _launch(), _rows(x)
    after = launch.Epilogue(shift=bias, relu=relu)
    return _run("forward", pattern, rows, None, lambda s: launch.product(rows, weight, pattern, s, epilogue=after))


def linear_grad_input(grad: Tensor, weight: Tensor, indices: Sequence[Tensor], in_features: int) -> Tensor:
    """grad (n, out_features) -> (n, in_features)."""
    pattern = pattern_of(indices)
    if not _can(grad):
        return gather.linear_grad_input(grad, weight, _gathered(pattern, grad.device), in_features)
    launch, rows = _launch(), _rows(grad)
    return _run("backward", pattern, rows, None, lambda s: launch.input_gradient(rows, weight, pattern, s))


def linear_grad_weight(grad: Tensor, x: Tensor, indices: Sequence[Tensor], kept: int) -> Tensor:
    """grad (n, out_features), x (n, in_features) -> (kept,)."""
    pattern = pattern_of(indices)
    if not _can(x):
        return gather.linear_grad_weight(grad, x, _gathered(pattern, x.device), kept)
    launch, rows, slope = _launch(), _rows(x), _rows(grad)
    return _run("gradient", pattern, rows, None, lambda s: launch.weight_gradient(rows, slope, pattern, s))


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    indices: Sequence[Tensor],
    out_features: int,
    geometry: Geometry,
    relu: bool,
) -> Tensor:
    """x (N, in_features, H, W) -> (N, out_features, H', W'), channels last."""
    pattern = pattern_of(indices)
    if not _can(x):
        return gather.conv2d(x, weight, bias, residual, _gathered(pattern, x.device), out_features, geometry, relu)
    launch, places, pixels, taps = _launch(), _places(x.shape, weight.shape, geometry), _pixels(x), _by_taps(weight)
    after = launch.Epilogue(shift=bias, added=None if residual is None else _pixels(residual), relu=relu)

    def run(settings: Any) -> Tensor:
        return launch.product(pixels, taps, pattern, settings, places=places, epilogue=after)

    return _images(_run("forward", pattern, pixels, places, run), places.batch, places.outside)


def conv2d_grad_input(
    grad: Tensor, weight: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W') -> `shape`, (N, in_features, H, W), channels last."""
    pattern = pattern_of(indices)
    if not _can(grad):
        return gather.conv2d_grad_input(grad, weight, _gathered(pattern, grad.device), shape, geometry)
    launch, places, pixels, taps = _launch(), _places(shape, weight.shape, geometry), _pixels(grad), _by_taps(weight)

    def run(settings: Any) -> Tensor:
        return launch.input_gradient(pixels, taps, pattern, settings, places=places)

    return _images(_run("backward", pattern, pixels, places, run), places.batch, places.inside)


def conv2d_grad_weight(
    grad: Tensor, x: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W'), x (N, in_features, H, W) -> `shape`, (kept, kh, kw)."""
    pattern = pattern_of(indices)
    if not _can(x):
        return gather.conv2d_grad_weight(grad, x, _gathered(pattern, x.device), shape, geometry)
    launch, places, pixels, slope = _launch(), _places(x.shape, shape, geometry), _pixels(x), _pixels(grad)

    def run(settings: Any) -> Tensor:
        return launch.weight_gradient(pixels, slope, pattern, settings, places=places)

    return _run("gradient", pattern, pixels, places, run).t().reshape(*shape)


@contextmanager
def searching(seconds: float = 20.0) -> Iterator[None]:
    """Have each product that is computed within the block find the sizes of its tiles first.

    What was found before, by any process on a card of the same name, costs nothing.

    Parameters
    ----------
    seconds
        For each product at most.
    """
    # A global: torch takes gradients in threads of its own.
    global _search_seconds
    before, _search_seconds = _search_seconds, seconds
    try:
        yield
    finally:
        _search_seconds = before


_search_seconds: float | None = None


def _run(what: str, pattern: SparsePattern, x: Tensor, places: Places | None, run: Callable[[Any], Tensor]) -> Tensor:
    """The product, with the settings that are known for it, or found now."""
    from iddl_prune.ops import triton_tuning as tuning

    if _search_seconds is None or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return run(tuning.settings(what, pattern, x, places))
    return run(tuning.search(what, pattern, x, places, run, seconds=_search_seconds))


def _digits(pattern: SparsePattern) -> tuple[int, ...]:
    return tuple(int(pattern.digest[i : i + 4], 16) for i in range(0, 4 * _LETTERS, 4))


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _launch() -> ModuleType:
    """The room that imports Triton, opened when it is needed."""
    from iddl_prune.ops import triton_launch

    return triton_launch


def _can(x: Tensor) -> bool:
    if available(x.device.type, x.dtype):
        return True
    _say_once(f"Kernel 'triton' does not run on {x.device.type} in {x.dtype}; 'gather' computes instead.")
    return False


@cache
def _say_once(line: str) -> None:
    warnings.warn(line, stacklevel=2)


@lru_cache(256)
def _gathered(pattern: SparsePattern, device: torch.device) -> list[Tensor]:
    return [tensor.to(device) for tensor in gather.buffers(pattern).values()]


def _places(images: Sequence[int], weight: Sequence[int], geometry: Geometry) -> Places:
    return Places(images[0], (images[2], images[3]), (weight[1], weight[2]), geometry)


def _rows(x: Tensor) -> Tensor:
    """Each row without gaps; the rows may lie apart."""
    return x if x.stride(1) == 1 else x.contiguous()


def _pixels(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N * H * W, C), without a copy where the images are channels-last."""
    return images.permute(0, 2, 3, 1).contiguous().view(-1, images.shape[1])


def _images(pixels: Tensor, batch: int, size: tuple[int, int]) -> Tensor:
    return pixels.view(batch, *size, -1).permute(0, 3, 1, 2)


def _by_taps(weight: Tensor) -> Tensor:
    """(kept, kh, kw) -> (kh * kw, kept), without a copy where the weight is stored so."""
    return weight.flatten(1).t().contiguous()
