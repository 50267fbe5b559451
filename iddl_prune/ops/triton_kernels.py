"""The GPU kernels themselves, in Triton; `triton_launch` calls them, `triton_work` lists what each program does.

A row is a sample, or a pixel of a convolution (channels last); a place is the row's position in the grid of outputs.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["gradient_kernel", "product_kernel", "vector_kernel"]


@triton.jit
def _channels(channel_list, first, offsets, mask, RUN: tl.constexpr):
    """The channels at some places of a list: consecutive numbers, or looked up."""
    if RUN:
        return first + offsets
    return tl.load(channel_list + first + offsets, mask=mask, other=0)


@triton.jit
def _dot(a, b, total, PRECISION: tl.constexpr, WIDEN: tl.constexpr):
    # Triton's interpreter multiplies the bit patterns of bfloat16.
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def _store(
    total, out, added, scale, shift, channels, where, column_mask, mask,
    HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr, HAS_ADDED: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """What follows a product: times scale, plus shift, plus another tensor, negative numbers to zero."""
    if HAS_SCALE:
        total *= tl.load(scale + channels, mask=column_mask, other=0).to(tl.float32)[None, :]
    if HAS_SHIFT:
        total += tl.load(shift + channels, mask=column_mask, other=0).to(tl.float32)[None, :]
    if HAS_ADDED:
        total += tl.load(added + where, mask=mask, other=0).to(tl.float32)
    if RELU:
        total = tl.maximum(total, 0)
    tl.store(out + where, total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def product_kernel(
    x, weight, out, added, scale, shift, tiles, steps, targets, sources, taps, tap_counts,
    tile_count, rows, x_stride, out_stride, kept,
    x_height, x_width, out_height, out_width, grid_height, grid_width, x_step_h, x_step_w, out_step_h, out_step_w,
    MOST_TAPS: tl.constexpr, POINTWISE: tl.constexpr, BACKWARD: tl.constexpr,
    TARGETS_RUN: tl.constexpr, SOURCES_RUN: tl.constexpr, FULL: tl.constexpr, ALIGNED: tl.constexpr,
    HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr, HAS_ADDED: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr, ROWS: tl.constexpr, OUTPUTS: tl.constexpr, INPUTS: tl.constexpr,
):  # fmt: skip
    """ROWS rows of one tile: out[row, targets] = sum over taps and steps of x[row, sources] weight[sources, targets].

    A convolution's rows are the places of one class (stride 2 backward has 2 x 2 classes of input pixels, each with
    taps of its own); `taps` holds, for each class, which tap and by how much it moves the place in x.
    Programs of one slab of rows follow each other, so that the slab stays in the second-level cache.
    """
    tile = tiles + 4 * (tl.program_id(0) % tile_count)
    row = tl.program_id(0) // tile_count * ROWS + tl.arange(0, ROWS)
    begin, end = tl.load(tile), tl.load(tile + 1)
    target, target_count = tl.multiple_of(tl.load(tile + 2), ALIGNED), tl.multiple_of(tl.load(tile + 3), ALIGNED)
    column = tl.arange(0, OUTPUTS)
    inner = tl.arange(0, INPUTS)
    column_mask = column < target_count
    row_mask = row < rows
    length = end - begin
    tap_count = 1
    if POINTWISE:
        x_row, out_row = row, row
    else:
        kind = tl.program_id(1)
        tap_count = tl.load(tap_counts + kind)
        w, h, image = row % grid_width, row // grid_width % grid_height, row // (grid_width * grid_height)
        out_h, out_w = h * out_step_h + kind // out_step_w, w * out_step_w + kind % out_step_w
        out_row = (image * out_height + out_h) * out_width + out_w
        row_mask = row_mask & (out_h < out_height) & (out_w < out_width)
        h, w, image = h * x_step_h, w * x_step_w, image * x_height
    total = tl.zeros((ROWS, OUTPUTS), dtype=tl.float32)
    for turn in range(length * tap_count):
        if POINTWISE:
            step = steps + 4 * (begin + turn)
            taken = row_mask
            tap_weight = weight
        else:
            step = steps + 4 * (begin + turn // tap_count)
            tap = taps + 3 * (kind * MOST_TAPS + turn % tap_count)
            x_h, x_w = h + tl.load(tap + 1), w + tl.load(tap + 2)
            taken = row_mask & (x_h >= 0) & (x_h < x_height) & (x_w >= 0) & (x_w < x_width)
            x_row = (image + x_h) * x_width + x_w
            tap_weight = weight + tl.load(tap).to(tl.int64) * kept
        place, stride = tl.multiple_of(tl.load(step), ALIGNED), tl.multiple_of(tl.load(step + 1), ALIGNED)
        source, source_count = tl.multiple_of(tl.load(step + 2), ALIGNED), tl.multiple_of(tl.load(step + 3), ALIGNED)
        inner_mask = inner < source_count
        channels = _channels(sources, source, inner, inner_mask, SOURCES_RUN)
        if BACKWARD:
            weights = tap_weight + place + inner[:, None] * stride + column[None, :]
        else:
            weights = tap_weight + place + inner[:, None] + column[None, :] * stride
        if FULL:
            a = tl.load(x + (x_row.to(tl.int64) * x_stride)[:, None] + channels[None, :], mask=taken[:, None], other=0)
            b = tl.load(weights)
        else:
            a = tl.load(
                x + (x_row.to(tl.int64) * x_stride)[:, None] + channels[None, :],
                mask=taken[:, None] & inner_mask[None, :],
                other=0,
            )
            b = tl.load(weights, mask=inner_mask[:, None] & column_mask[None, :], other=0)
        total = _dot(a, b, total, PRECISION, WIDEN)
    channels = _channels(targets, target, column, column_mask, TARGETS_RUN)
    where = (out_row.to(tl.int64) * out_stride)[:, None] + channels[None, :]
    mask = row_mask[:, None] if FULL else row_mask[:, None] & column_mask[None, :]
    _store(total, out, added, scale, shift, channels, where, column_mask, mask, HAS_SCALE, HAS_SHIFT, HAS_ADDED, RELU)


@triton.jit
def vector_kernel(
    x, weight, out, added, scale, shift, tiles, steps, targets, sources, tile_count, x_stride, out_stride,
    TARGETS_RUN: tl.constexpr, ALIGNED: tl.constexpr,
    HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr, HAS_ADDED: tl.constexpr, RELU: tl.constexpr,
    OUTPUTS: tl.constexpr, INPUTS: tl.constexpr,
):  # fmt: skip
    """One row of one tile, forward, without tensor cores: it only has to read the weights, many at a time."""
    tile = tiles + 4 * (tl.program_id(0) % tile_count)
    row = (tl.program_id(0) // tile_count).to(tl.int64)
    begin, end = tl.load(tile), tl.load(tile + 1)
    target, target_count = tl.load(tile + 2), tl.load(tile + 3)
    column = tl.arange(0, OUTPUTS)
    inner = tl.arange(0, INPUTS)
    column_mask = column < target_count
    total = tl.zeros((OUTPUTS, INPUTS), dtype=tl.float32)
    for turn in range(begin, end):
        step = steps + 4 * turn
        place, stride = tl.multiple_of(tl.load(step), ALIGNED), tl.multiple_of(tl.load(step + 1), ALIGNED)
        source, source_count = tl.load(step + 2), tl.multiple_of(tl.load(step + 3), ALIGNED)
        inner_mask = inner < source_count
        mask = column_mask[:, None] & inner_mask[None, :]
        w = tl.load(weight + place + column[:, None] * stride + inner[None, :], mask=mask, other=0)
        channels = tl.load(sources + source + inner, mask=inner_mask, other=0)
        a = tl.load(x + row * x_stride + channels, mask=inner_mask, other=0)
        total += w.to(tl.float32) * a.to(tl.float32)[None, :]
    channels = _channels(targets, target, column, column_mask, TARGETS_RUN)
    sums = tl.sum(total, axis=1)[None, :]
    where = row * out_stride + channels[None, :]
    mask = column_mask[None, :]
    _store(sums, out, added, scale, shift, channels, where, column_mask, mask, HAS_SCALE, HAS_SHIFT, HAS_ADDED, RELU)


@triton.jit
def gradient_kernel(
    x, slope, out, tiles, targets, sources, taps,
    tile_count, rows, share, x_stride, slope_stride, kept, most_taps,
    x_height, x_width, grid_height, grid_width, x_step_h, x_step_w,
    POINTWISE: tl.constexpr,
    TARGETS_RUN: tl.constexpr, SOURCES_RUN: tl.constexpr, FULL: tl.constexpr, ALIGNED: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr, ROWS: tl.constexpr, OUTPUTS: tl.constexpr, INPUTS: tl.constexpr,
):  # fmt: skip
    """One tile of the weights' gradient at one tap: slope[row, targets]^T x[row, sources] over one share of the rows.

    The shares are added up afterwards, in their order.
    """
    tile = tiles + 6 * (tl.program_id(0) % tile_count)
    tap_number = tl.program_id(0) // tile_count
    part = tl.program_id(1)
    place, stride = tl.multiple_of(tl.load(tile), ALIGNED), tl.multiple_of(tl.load(tile + 1), ALIGNED)
    target, target_count = tl.multiple_of(tl.load(tile + 2), ALIGNED), tl.multiple_of(tl.load(tile + 3), ALIGNED)
    source, source_count = tl.multiple_of(tl.load(tile + 4), ALIGNED), tl.multiple_of(tl.load(tile + 5), ALIGNED)
    column, inner = tl.arange(0, OUTPUTS), tl.arange(0, INPUTS)
    column_mask, inner_mask = column < target_count, inner < source_count
    written = _channels(targets, target, column, column_mask, TARGETS_RUN)
    read = _channels(sources, source, inner, inner_mask, SOURCES_RUN)
    total = tl.zeros((OUTPUTS, INPUTS), dtype=tl.float32)
    last = tl.minimum(rows, (part + 1) * share)
    for first in range(part * share, last, ROWS):
        row = first + tl.arange(0, ROWS)
        row_mask = row < last
        taken = row_mask
        if POINTWISE:
            x_row = row
        else:
            tap = taps + 3 * tap_number
            w, h, image = row % grid_width, row // grid_width % grid_height, row // (grid_width * grid_height)
            x_h, x_w = h * x_step_h + tl.load(tap + 1), w * x_step_w + tl.load(tap + 2)
            taken = row_mask & (x_h >= 0) & (x_h < x_height) & (x_w >= 0) & (x_w < x_width)
            x_row = (image * x_height + x_h) * x_width + x_w
        if FULL:
            slope_mask, x_mask = row_mask[:, None], taken[:, None]
        else:
            slope_mask, x_mask = row_mask[:, None] & column_mask[None, :], taken[:, None] & inner_mask[None, :]
        a = tl.load(slope + (row.to(tl.int64) * slope_stride)[:, None] + written[None, :], mask=slope_mask, other=0)
        b = tl.load(x + (x_row.to(tl.int64) * x_stride)[:, None] + read[None, :], mask=x_mask, other=0)
        total = _dot(tl.trans(a), b, total, PRECISION, WIDEN)
    where = (
        out + (part * most_taps + tap_number).to(tl.int64) * kept + place + column[:, None] * stride + inner[None, :]
    )
    mask = column_mask[:, None] & inner_mask[None, :]
    tl.store(where, total.to(out.dtype.element_ty), mask=mask)
