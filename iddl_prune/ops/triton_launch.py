"""The products of a pattern layer on tensors, by the GPU kernels: forward, and both gradients.

Everything is launched on the current stream and allocated by torch alone; nothing waits for the card, and no sum
depends on who comes first. So a CUDA graph takes it in, and equal inputs give equal bits.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
import triton
from torch import Tensor

from iddl_prune.ops.convolution import Places
from iddl_prune.ops.triton_kernels import gradient_kernel, product_kernel, vector_kernel
from iddl_prune.ops.triton_work import gradient_work, product_work
from iddl_prune.pattern import SparsePattern

__all__ = ["Epilogue", "Settings", "input_gradient", "is_interpreted", "product", "weight_gradient"]

# Tables on the device by pattern, then by what they were cut for.
_tables: WeakKeyDictionary[SparsePattern, dict[tuple[Any, ...], Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Settings:
    """How a product is cut.

    Attributes
    ----------
    rows, outputs, inputs
        Size of a tile, powers of two; of 16 at least, but for the vector kernel, which takes one row.
    warps, stages
        Of a program; how many loads are on their way while one is multiplied.
    shares
        Parts of the rows whose weight gradients are taken apart and then added.
    in_order
        Whether what is multiplied is first put in the order of its groups, so that tiles are loaded in rows of 16
        bytes and not channel by channel: worth one more pass over it where a free permutation has spread the groups.
    """

    rows: int = 64
    outputs: int = 64
    inputs: int = 64
    warps: int = 4
    stages: int = 3
    shares: int = 1
    in_order: bool = False


def is_interpreted() -> bool:
    """Whether Triton was told to run its kernels on the CPU (TRITON_INTERPRET=1 before it was imported)."""
    return not isinstance(product_kernel, triton.JITFunction)


@dataclass(frozen=True)
class Epilogue:
    """What follows a product: times `scale`, plus `shift`, plus `added`, negative numbers to zero; each if asked for.

    Attributes
    ----------
    scale, shift
        Shape (out_features,).
    added
        Of the shape of the product, its rows as far apart.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None
    added: Tensor | None = None
    relu: bool = False

    def arguments(self, spare: Tensor) -> tuple[Tensor, ...]:
        """Three tensors: a kernel takes a pointer even where it reads none."""
        return tuple(spare if t is None else t for t in (self.added, self.scale, self.shift))

    def flags(self) -> dict[str, bool]:
        """Which of them there are."""
        return {
            "HAS_SCALE": self.scale is not None,
            "HAS_SHIFT": self.shift is not None,
            "HAS_ADDED": self.added is not None,
            "RELU": self.relu,
        }


_PLAIN = Epilogue()

# What a linear layer has in the place of `Places.sizes`.
_NO_SIZES: tuple[int, ...] = (1,) * 10


def product(
    x: Tensor,
    weight: Tensor,
    pattern: SparsePattern,
    settings: Settings,
    *,
    places: Places | None = None,
    epilogue: Epilogue = _PLAIN,
) -> Tensor:
    """The layer's outputs, shape (rows of the outputs, out_features).

    Parameters
    ----------
    x
        Rows (n, in_features), each without gaps; for a convolution the pixels of its images, channels last.
    weight
        Kept weights (kept,), or (taps, kept) tap by tap; of the type of x.
    places
        The convolution; None for a linear layer.
    """
    out = x.new_empty(len(x) if places is None else places.out_rows, pattern.out_features)
    if settings.in_order:
        pattern, (x,) = _sorted(pattern, inputs=x)
    if settings.rows == 1:
        return _vector(x, weight, out, pattern, settings, epilogue)
    return _product(x, weight, out, pattern, settings, places, epilogue, backward=False)


def input_gradient(
    slope: Tensor, weight: Tensor, pattern: SparsePattern, settings: Settings, *, places: Places | None = None
) -> Tensor:
    """The gradient by x, from that by the outputs, shape (rows of the outputs, out_features)."""
    out = slope.new_empty(len(slope) if places is None else places.in_rows, pattern.in_features)
    if settings.in_order:
        pattern, (slope,) = _sorted(pattern, outputs=slope)
    return _product(slope, weight, out, pattern, settings, places, _PLAIN, backward=True)


def weight_gradient(
    x: Tensor, slope: Tensor, pattern: SparsePattern, settings: Settings, *, places: Places | None = None
) -> Tensor:
    """The gradient by the kept weights, (kept,), or (taps, kept) for a convolution."""
    if settings.in_order:
        pattern, (x, slope) = _sorted(pattern, inputs=x, outputs=slope)
    work = _on_device(pattern, x.device, "gradient", settings)
    taps = 1 if places is None else places.taps
    dtype = x.dtype if settings.shares == 1 else torch.float32
    parts = x.new_empty(settings.shares, taps, pattern.kept, dtype=dtype)
    if places is None or places.is_pointwise:
        pointwise, table, sizes = True, work.tiles, _NO_SIZES
    else:
        pointwise, table, sizes = (
            False,
            _taps(pattern, x.device, places, backward=False)[0],
            places.sizes(backward=False),
        )
    with _device(x):
        gradient_kernel[(len(work.tiles) * taps, settings.shares)](
            x, slope, parts, work.tiles, work.targets, work.sources, table,
            len(work.tiles), len(slope), triton.cdiv(len(slope), settings.shares),
            x.stride(0), slope.stride(0), pattern.kept, taps, *sizes[:2], *sizes[4:8],
            POINTWISE=pointwise, TARGETS_RUN=work.targets_run, SOURCES_RUN=work.sources_run,
            FULL=work.full, ALIGNED=work.aligned, **_arithmetic(x, places), **_cut(settings),
        )  # fmt: skip
    total = parts[0] if settings.shares == 1 else parts.sum(0).to(x.dtype)
    return total[0] if places is None else total


def _product(
    x: Tensor,
    weight: Tensor,
    out: Tensor,
    pattern: SparsePattern,
    settings: Settings,
    places: Places | None,
    epilogue: Epilogue,
    *,
    backward: bool,
) -> Tensor:
    work = _on_device(pattern, x.device, "backward" if backward else "forward", settings)
    if places is None or places.is_pointwise:
        pointwise, taps, counts, sizes, rows, classes, most = True, work.tiles, work.tiles, _NO_SIZES, len(out), 1, 1
    else:
        taps, counts = _taps(pattern, x.device, places, backward=backward)
        pointwise, sizes, classes, most = False, places.sizes(backward=backward), len(counts), taps.shape[1]
        rows = places.batch * sizes[4] * sizes[5]
    with _device(x):
        product_kernel[(len(work.tiles) * triton.cdiv(rows, settings.rows), classes)](
            x, weight, out, *epilogue.arguments(x), work.tiles, work.steps, work.targets, work.sources,
            taps, counts, len(work.tiles), rows, x.stride(0), out.stride(0), pattern.kept, *sizes,
            MOST_TAPS=most, POINTWISE=pointwise, BACKWARD=backward,
            TARGETS_RUN=work.targets_run, SOURCES_RUN=work.sources_run, FULL=work.full, ALIGNED=work.aligned,
            **epilogue.flags(), **_arithmetic(x, places), **_cut(settings),
        )  # fmt: skip
    return out


def _vector(
    x: Tensor, weight: Tensor, out: Tensor, pattern: SparsePattern, settings: Settings, epilogue: Epilogue
) -> Tensor:
    work = _on_device(pattern, x.device, "vector", settings)
    cut = _cut(settings)
    del cut["ROWS"]
    with _device(x):
        vector_kernel[(len(work.tiles) * len(x),)](
            x, weight, out, *epilogue.arguments(x), work.tiles, work.steps, work.targets, work.sources,
            len(work.tiles), x.stride(0), out.stride(0),
            TARGETS_RUN=work.targets_run, ALIGNED=work.aligned, **epilogue.flags(), **cut,
        )  # fmt: skip
    return out


def _sorted(
    pattern: SparsePattern, *, inputs: Tensor | None = None, outputs: Tensor | None = None
) -> tuple[SparsePattern, list[Tensor]]:
    """The columns put in the order of their groups, and the pattern that they then have; weights stay as they lie."""
    twin, orders = _in_order(pattern, inputs is not None, outputs is not None)
    moved = []
    for columns, order in zip((inputs, outputs), orders, strict=True):
        if columns is not None:
            kept = _tables.setdefault(pattern, {})
            key = "order", columns is inputs, columns.device
            if key not in kept:
                kept[key] = torch.from_numpy(order).to(columns.device)
            moved.append(columns.index_select(1, kept[key]))
    return twin, moved


@lru_cache(1024)
def _in_order(
    pattern: SparsePattern, inputs: bool, outputs: bool
) -> tuple[SparsePattern, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    orders = (
        np.argsort(pattern.in_groups, kind="stable") if inputs else np.arange(pattern.in_features),
        np.argsort(pattern.out_groups, kind="stable") if outputs else np.arange(pattern.out_features),
    )
    return pattern.permuted(*orders), orders


def _on_device(pattern: SparsePattern, device: torch.device, what: str, settings: Settings) -> Any:
    """The work, its tables on the device; made once for each size of tile."""
    key = what, settings.outputs, settings.inputs, device
    kept = _tables.setdefault(pattern, {})
    if key not in kept:
        if what == "gradient":
            work: Any = gradient_work(pattern, settings.outputs, settings.inputs)
        else:
            work = product_work(
                pattern, settings.outputs, settings.inputs, backward=what == "backward", look_up=what == "vector"
            )
        tensors = {f.name: getattr(work, f.name) for f in fields(work) if hasattr(getattr(work, f.name), "dtype")}
        kept[key] = replace(work, **{name: torch.from_numpy(array).to(device) for name, array in tensors.items()})
    return kept[key]


def _taps(pattern: SparsePattern, device: torch.device, places: Places, *, backward: bool) -> tuple[Tensor, Tensor]:
    key = "taps", places.size, places.geometry, backward, device
    kept = _tables.setdefault(pattern, {})
    if key not in kept:
        kept[key] = tuple(torch.from_numpy(table).to(device) for table in places.tables(backward=backward))
    taps, counts = kept[key]
    return taps, counts


def _arithmetic(x: Tensor, places: Places | None) -> dict[str, Any]:
    """Rounded products of float32 only where torch itself would take them."""
    rounded = torch.get_float32_matmul_precision() != "highest" if places is None else torch.backends.cudnn.allow_tf32
    return {
        "PRECISION": "tf32" if rounded and not is_interpreted() else "ieee",
        "WIDEN": is_interpreted() and x.dtype == torch.bfloat16,
    }


def _cut(settings: Settings) -> dict[str, int]:
    return {
        "ROWS": settings.rows,
        "OUTPUTS": settings.outputs,
        "INPUTS": settings.inputs,
        "num_warps": settings.warps,
        "num_stages": settings.stages,
    }


def _device(x: Tensor) -> AbstractContextManager[Any]:
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
