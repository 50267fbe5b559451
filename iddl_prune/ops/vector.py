"""Direct products in machine code made for this processor: a weight is read once and meets whole vectors of pixels.

Each strip of outputs that read alike keeps its sums in registers (the register blocking of dense products:
Goto and van de Geijn, ACM Trans. Math. Softw. 34 (2008) 12); nothing is gathered, filled up or laid out anew.
The gradient of the input is the product of the dual pattern; a linear layer is a window of one tap on one image,
whose pixels are the rows. Numbers are 32-bit floats: shorter ones are widened before and shortened after.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from iddl_prune.errors import InvalidArgument
from iddl_prune.ops.geometry import Geometry
from iddl_prune.ops.tables import Side, pack, unpack
from iddl_prune.ops.windows import Window, windows
from iddl_prune.pattern import SparsePattern

if TYPE_CHECKING:
    from iddl_prune.ops.emit import Call

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
]

COMPOSITE = False
AUTOGRAD = False

# Fewer rows than this are no vector worth filling: weights go into the lanes instead.
_ROWS_AT_ONCE = 10
# Numbers of a plane that stay, with those it meets, in the nearest cache.
_LONG = 1024
# Multiply-adds that one core does sooner than several, which must be woken, or fetch what the others have written.
_ALONE, _ALONE_IN_PLANES = 2**15, 2**23
# Weights that stay in the cache of one core, beside what is read and written.
_NEAR = 2**16
_OPEN = 6
_POINTWISE = Geometry((1, 1), (0, 0), (1, 1))


def available(device_type: str, dtype: torch.dtype) -> bool:
    """On the CPU, for floats of 32 bits and fewer."""
    return device_type == "cpu" and dtype in (torch.float32, torch.bfloat16, torch.float16)


def buffers(pattern: SparsePattern) -> dict[str, Tensor]:
    """One tensor of integers: see `iddl_prune.ops.tables`."""
    from iddl_prune.ops.vector_code import height

    return {"tables": pack(pattern, height())}


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, indices: Sequence[Tensor], out_features: int, relu: bool
) -> Tensor:
    """x (n, in_features) -> (n, out_features)."""
    rows, in_features = x.shape
    side = unpack(indices[0]).forward
    call, in_planes = _product(side, rows, in_features, out_features, torch.get_num_threads())
    weight, bias = _floats(weight), None if bias is None else _floats(bias)
    source = _columns(x) if in_planes else _floats(x)
    out = source.new_empty(out_features, rows) if in_planes else source.new_empty(rows, out_features)
    call(source.data_ptr(), weight.data_ptr(), out.data_ptr(), _address(bias), 0, relu)
    out = _transposed(out) if in_planes else out
    return out if out.dtype is x.dtype else out.to(x.dtype)


def linear_grad_input(grad: Tensor, weight: Tensor, indices: Sequence[Tensor], in_features: int) -> Tensor:
    """grad (n, out_features) -> (n, in_features)."""
    shape = (1, in_features, 1, len(grad))
    return _rows(conv2d_grad_input(_image(grad), _taps(weight), indices, shape, _POINTWISE))


def linear_grad_weight(grad: Tensor, x: Tensor, indices: Sequence[Tensor], kept: int) -> Tensor:
    """grad (n, out_features), x (n, in_features) -> (kept,)."""
    images = grad[:, :, None, None], x[:, :, None, None]
    return conv2d_grad_weight(*images, indices, (kept, 1, 1), _POINTWISE).view(kept)


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
    """x (N, in_features, H, W) -> (N, out_features, H', W')."""
    window = _window(x.shape, weight.shape, geometry)
    if min(window.output) < 1:
        raise InvalidArgument(f"Argument 'x' must be an image no smaller than the window, not {tuple(x.shape[2:])}.")
    planes = _planes(window, _floats(x))
    out = planes.new_empty(len(x), out_features, window.output[0], window.plane[1])
    fused = window.is_even
    added = None if residual is None or not fused else _floats(residual)
    side = unpack(indices[0]).forward
    _convolve(planes, _floats(weight), out, side, window, None, bias, added, relu and fused)
    if not fused:
        out = out[..., : window.output[1]].contiguous()
        out = out if residual is None else out + residual
        out = out.relu() if relu else out
    return out.to(x.dtype)


def conv2d_grad_input(
    grad: Tensor, weight: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W') -> `shape`, (N, in_features, H, W)."""
    window = _window(shape, weight.shape, geometry)
    tables = unpack(indices[0])
    source = window.widened(_floats(grad))
    dual = _floats(weight).index_select(0, tables.order)
    planes = source.new_empty(*shape[:2], len(window.phases), *window.plane)
    for phase in range(len(window.phases)):
        _convolve(source, dual, planes[:, :, phase], tables.backward, window, phase, None, None, False)
    return window.join(planes).to(grad.dtype)


def conv2d_grad_weight(
    grad: Tensor, x: Tensor, indices: Sequence[Tensor], shape: Sequence[int], geometry: Geometry
) -> Tensor:
    """grad (N, out_features, H', W'), x (N, in_features, H, W) -> `shape`, (kept, kh, kw)."""
    window = _window(x.shape, shape, geometry)
    planes, source = _planes(window, _floats(x)), _floats(grad)
    out = planes.new_zeros(tuple(shape))
    side, channels = unpack(indices[0]).forward, (x.shape[1], grad.shape[1])
    area = window.output[0] * window.output[1]
    if area >= _LONG:
        _correlation(side, window, channels, len(x), 1)(source.data_ptr(), planes.data_ptr(), out.data_ptr())
        return out.to(x.dtype)
    together = max(_lanes(), _LONG // area)
    for some, their_grads in zip(planes.split(together), source.split(together), strict=True):
        turned, grads = _transposed(some.flatten(1)), _transposed(their_grads.flatten(1))
        call = _correlation(side, window, channels, 1, len(some))
        call(grads.data_ptr(), turned.data_ptr(), out.data_ptr())
    return out.to(x.dtype)


def _convolve(
    planes: Tensor,
    weight: Tensor,
    out: Tensor,
    side: Side,
    window: Window,
    phase: int | None,
    bias: Tensor | None,
    residual: Tensor | None,
    relu: bool,
) -> None:
    """planes (N, C, phases, H, W) -> out (N, C', H', W), rows of both equally long."""
    bias = None if bias is None else _floats(bias)
    taps = weight.shape[1] * weight.shape[2]
    call = _convolution(side, window, phase, planes.shape[0], taps, planes.stride()[:2], out.stride()[:2])
    call(*map(_address, (planes, weight, out, bias, residual)), relu)


@lru_cache(maxsize=4096)
def _convolution(
    side: Side,
    window: Window,
    phase: int | None,
    images: int,
    taps_stored: int,
    x_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
) -> Call:
    """What is the same for all tensors of these shapes; open are five tensors and the ReLU."""
    from iddl_prune.ops.emit import Call
    from iddl_prune.ops.vector_code import Shape, convolve, width

    taps, masks = window.forward(_lanes()) if phase is None else window.backward(phase, _lanes())
    chunks = masks.shape[1]
    apart = chunks == 1
    shapes = (Shape(height, width(height, images if apart else chunks), apart) for height in side.heights)
    group = min(images, -(-6 // chunks))
    turns = -(-images // group) * side.pieces
    pixels = masks.ctypes.data, chunks, images, group
    rest = turns, *side[:4], taps.ctypes.data, len(taps), taps_stored, *pixels, *x_strides, *out_strides
    return Call(convolve(frozenset(shapes)), _OPEN, rest, held=(taps, masks))


@lru_cache(maxsize=4096)
def _correlation(side: Side, window: Window, channels: tuple[int, int], images: int, rows: int) -> Call:
    """Open are gradient, planes and what is added to; either many images one by one, or one with `rows` to a pixel."""
    from iddl_prune.ops.emit import Call
    from iddl_prune.ops.vector_code import at_once, correlate

    runs = window.runs(rows)
    (height, across), (down_to, across_to) = window.output, window.plane
    grad_channel, x_channel = height * across * rows, len(window.phases) * down_to * across_to * rows
    places = (*side[:4], runs.ctypes.data, len(runs), len(window.moves), images, max(1, _LONG // (height * across)))
    grads = channels[1] * grad_channel, grad_channel, across * rows
    planes = channels[0] * x_channel, x_channel, across_to * rows
    shapes = frozenset((height, at_once(height, side.fan_in)) for height in side.heights)
    return Call(correlate(shapes), 3, (*places, *grads, *planes), held=runs)


@lru_cache(maxsize=4096)
def _product(side: Side, rows: int, in_features: int, out_features: int, threads: int) -> tuple[Call, bool]:
    """As `_convolution`, and whether it multiplies planes: columns, not rows."""
    from iddl_prune.ops.emit import Call
    from iddl_prune.ops.vector_code import most
    from iddl_prune.ops.vector_rows import apply, multiply

    end, highest = (rows, in_features, out_features), max(side.heights)
    weights = side.pieces * highest * side.fan_in
    work, is_far = weights * rows, weights > _NEAR
    if rows < _ROWS_AT_ONCE:
        group = max(1, side.pieces // (4 * threads))
        groups = -(-side.pieces // group)
        few, stride = apply(frozenset(side.heights), min(rows, 3), is_far), -(-side.fan_in // _lanes()) * _lanes()
        return Call(few, _OPEN, (groups, group, *side[:4], *end, stride), most=1 if work < _ALONE else threads), False
    filled = -(-rows // _lanes())
    if filled < threads and work > _ALONE_IN_PLANES:
        window = windows((1, rows), (1, 1), _POINTWISE)
        return _convolution(side, window, None, 1, 1, (0, rows), (0, rows)), True
    vectors = min(range(most(highest), 0, -1), key=lambda n: -(-filled // (n * threads)) * (2 * n + 1))
    turns, wide = -(-filled // vectors), vectors * _lanes()
    taps, _ = windows((1, wide), (1, 1), _POINTWISE).forward(_lanes())
    rest = turns, *side[:4], taps.ctypes.data, *end
    return Call(multiply(frozenset(side.heights), vectors, is_far), _OPEN, rest, most=turns, held=taps), False


def _planes(window: Window, x: Tensor) -> Tensor:
    """`Window.split`, stride 2 in machine code."""
    if window.geometry.stride != (2, 2):
        return window.split(x)
    shape = *x.shape[:2], len(window.phases), *window.plane
    is_full = window.image == (2 * window.plane[0], 2 * window.plane[1])
    planes = x.new_empty(shape) if is_full else x.new_zeros(shape)
    _splitting(window)(x.data_ptr(), planes.data_ptr(), shape[0] * shape[1])
    return planes


@lru_cache(maxsize=1024)
def _splitting(window: Window) -> Call:
    """Open are image and planes, and the number of channels of all images."""
    from iddl_prune.ops.emit import Call
    from iddl_prune.ops.vector_code import split

    return Call(split(), 3, (*window.image, window.places.ctypes.data, len(window.places), *window.plane))


def _window(image: Sequence[int], weight: Sequence[int], geometry: Geometry) -> Window:
    return windows((image[2], image[3]), (weight[1], weight[2]), geometry)


def _lanes() -> int:
    from iddl_prune.ops.emit import lanes

    return lanes()


def _floats(x: Tensor) -> Tensor:
    if x.dtype is torch.float32 and x.is_cpu and x.is_contiguous():
        return x
    if not available(x.device.type, x.dtype):
        raise InvalidArgument(f"Argument 'x' must be of 16 or 32 bits on the CPU, not {x.dtype} on {x.device.type}.")
    return x.float().contiguous()


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _columns(rows: Tensor) -> Tensor:
    """rows (n, features) -> (features, n)."""
    turned = rows.t()
    return _floats(turned) if turned.is_contiguous() else _transposed(_floats(rows))


def _transposed(matrix: Tensor) -> Tensor:
    rows, columns = matrix.shape
    turned = matrix.new_empty(columns, rows)
    _transposition()(matrix.data_ptr(), turned.data_ptr(), rows, columns)
    return turned


@lru_cache(maxsize=1)
def _transposition() -> Call:
    """Open are two matrices, rows and columns of the first."""
    from iddl_prune.ops.emit import Call
    from iddl_prune.ops.vector_rows import transpose

    return Call(transpose(), 4)


def _image(rows: Tensor) -> Tensor:
    """rows (n, features) -> (1, features, 1, n)."""
    return _columns(rows)[None, :, None]


def _rows(image: Tensor) -> Tensor:
    """The inverse of `_image`."""
    return _transposed(_floats(image[0, :, 0])).to(image.dtype)


def _taps(weight: Tensor) -> Tensor:
    return weight[:, None, None]
