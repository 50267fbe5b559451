"""A convolution's window as shifts of a plane: which tap reads which pixel, and where it falls off the image.

Pixels are counted along rows. Where input and output planes are equally wide, a tap is one shift for all pixels,
and a mask for those it leads off the plane. A stride splits the input into its phases, planes of their own.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from iddl_prune.ops.geometry import Geometry, Pair

__all__ = ["Window", "Windows", "windows"]


class Windows(NamedTuple):
    """Taps as (column of the weights, shift in pixels), shape (t, 2), and the lanes in which each falls on the plane.

    `masks` has the bits of `lanes` consecutive pixels in each entry, a row a tap, and a last row of the pixels
    that there are, shape (t + 1, chunks).
    """

    taps: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint16]


class Window:
    """All that follows from the sizes of image, window and moves.

    Attributes
    ----------
    output
        Height and width of the output.
    plane
        Those of the planes, of each phase of the input as of the output.
    phases
        The phases of the input that any tap reads.
    """

    def __init__(self, image: Pair, size: Pair, geometry: Geometry) -> None:
        self.image, self.geometry = image, geometry
        self._made: dict[tuple[int | None, int], Windows] = {}
        self.output = geometry.output(image, size)
        down, across = (-(-length // stride) for length, stride in zip(image, geometry.stride, strict=True))
        self.plane = max(down, self.output[0]), max(across, self.output[1])
        places = []
        for y in range(size[0]):
            for x in range(size[1]):
                rows = divmod(y * geometry.dilation[0] - geometry.padding[0], geometry.stride[0])
                columns = divmod(x * geometry.dilation[1] - geometry.padding[1], geometry.stride[1])
                places.append((rows, columns))
        self.phases = sorted({(rows[1], columns[1]) for rows, columns in places})
        self.moves = [(self.phases.index((rows[1], columns[1])), rows[0], columns[0]) for rows, columns in places]

    def forward(self, lanes: int) -> Windows:
        """From the phases to the output."""
        return self._once(None, lanes)

    def backward(self, phase: int, lanes: int) -> Windows:
        """From the output's gradient to that of one phase."""
        return self._once(phase, lanes)

    def runs(self, rows: int) -> npt.NDArray[np.int64]:
        """Where each tap meets the output, with so many numbers a pixel: shape (t, 5).

        A row is the tap's column of the weights, its first number in the input's planes and in the output, and how
        many lines of how many numbers follow there; what a tap meets in whole lines is one.
        """
        found = []
        (height, width), (down_to, across_to), area = self.output, self.plane, self.plane[0] * self.plane[1]
        for column, (phase, down, across) in enumerate(self.moves):
            top, left = max(0, -down), max(0, -across)
            lines, length = min(height, down_to - down) - top, min(width, across_to - across) - left
            if lines < 1 or length < 1:
                continue
            if length == width == across_to:
                lines, length = 1, lines * length
            start = phase * area + (top + down) * across_to + left + across
            found.append((column, start * rows, (top * width + left) * rows, lines, length * rows))
        return np.array(found, dtype=np.int64).reshape(-1, 5)

    def split(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> `(N, C, phases, *plane)`, zeros where a phase does not fill its plane."""
        stride = self.geometry.stride
        if self.is_whole:
            return x.contiguous()[:, :, None]
        planes = x.new_zeros(*x.shape[:2], len(self.phases), *self.plane)
        for i, (row, column) in enumerate(self.phases):
            part = x[:, :, row :: stride[0], column :: stride[1]]
            planes[:, :, i, : part.shape[2], : part.shape[3]] = part
        return planes

    def join(self, planes: Tensor) -> Tensor:
        """The inverse of `split`: zeros where no tap reads."""
        if self.is_whole:
            return planes[:, :, 0]
        stride = self.geometry.stride
        x = planes.new_zeros(*planes.shape[:2], *self.image)
        for i, (row, column) in enumerate(self.phases):
            part = x[:, :, row :: stride[0], column :: stride[1]]
            part.copy_(planes[:, :, i, : part.shape[2], : part.shape[3]])
        return x

    def widened(self, grad: Tensor) -> Tensor:
        """grad `(N, C, *output)` -> `(N, C, *plane)`, filled up by zeros."""
        below, beside = (whole - part for whole, part in zip(self.plane, self.output, strict=True))
        return F.pad(grad, (0, beside, 0, below)).contiguous() if below or beside else grad.contiguous()

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Row and column where each phase begins, shape (phases, 2)."""
        return np.array(self.phases, dtype=np.int64)

    @property
    def is_whole(self) -> bool:
        """Whether the image is its one phase, as it lies."""
        return self.geometry.stride == (1, 1) and self.plane == self.image

    @property
    def is_even(self) -> bool:
        """Whether output rows are as wide as the planes'."""
        return self.output[1] == self.plane[1]

    def _once(self, phase: int | None, lanes: int) -> Windows:
        if (phase, lanes) not in self._made:
            area = self.plane[0] * self.plane[1]
            if phase is None:
                taps = [(t, of * area, down, across) for t, (of, down, across) in enumerate(self.moves)]
            else:
                taps = [(t, 0, -down, -across) for t, (of, down, across) in enumerate(self.moves) if of == phase]
            self._made[phase, lanes] = self._windows(taps, (self.output if phase is None else self.plane)[0], lanes)
        return self._made[phase, lanes]

    def _windows(self, taps: list[tuple[int, int, int, int]], rows: int, lanes: int) -> Windows:
        height, width = self.plane
        pixels = rows * width
        chunks = -(-pixels // lanes)
        on = np.zeros((len(taps) + 1, chunks * lanes), dtype=bool)
        y, x = np.divmod(np.arange(pixels), width)
        for row, (_, _, down, across) in zip(on, taps, strict=False):
            row[:pixels] = (y + down >= 0) & (y + down < height) & (x + across >= 0) & (x + across < width)
        on[-1, :pixels] = True
        bits = on.reshape(len(on), chunks, lanes) @ (1 << np.arange(lanes))
        table = [(t, start + down * width + across) for t, start, down, across in taps]
        return Windows(np.array(table, dtype=np.int64).reshape(-1, 2), bits.astype(np.uint16))


@lru_cache(maxsize=1024)
def windows(image: Pair, size: Pair, geometry: Geometry) -> Window:
    """The window of these sizes, made once."""
    return Window(image, size, geometry)
