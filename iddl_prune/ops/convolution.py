"""Which pixel meets which tap: a convolution as a list of shifts, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from iddl_prune.ops.geometry import Geometry

__all__ = ["Places"]

Integers = npt.NDArray[np.int32]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Places:
    """The pixels of a batch of images that a window moves over.

    Attributes
    ----------
    batch
        Number of images.
    inside
        Height and width of an input image.
    size
        Height and width of the window.
    geometry
        How the window moves.
    """

    batch: int
    inside: Pair
    size: Pair
    geometry: Geometry

    @property
    def taps(self) -> int:
        """Weights of the window."""
        return self.size[0] * self.size[1]

    @cached_property
    def outside(self) -> Pair:
        """Height and width of an output image."""
        return self.geometry.output(self.inside, self.size)

    @cached_property
    def is_pointwise(self) -> bool:
        """Whether every output pixel is made from the input pixel at its own place."""
        return self.taps == 1 and self.geometry.stride == (1, 1) and self.geometry.padding == (0, 0)

    @property
    def in_rows(self) -> int:
        """Input pixels of all images."""
        return self.batch * self.inside[0] * self.inside[1]

    @property
    def out_rows(self) -> int:
        """Output pixels of all images."""
        return self.batch * self.outside[0] * self.outside[1]

    def sizes(self, *, backward: bool) -> tuple[int, ...]:
        """Ten integers: (height, width) of what is read, of what is written, of one class of it; steps of both.

        Backward the outputs are read and the inputs written. A class is a grid of pixels that meet the same taps:
        one step in it is so many pixels in what is read, and so many in what is written.
        """
        stride = self.geometry.stride
        if not backward:
            return *self.inside, *self.outside, *self.outside, *stride, 1, 1
        grid = -(-self.inside[0] // stride[0]), -(-self.inside[1] // stride[1])
        return *self.outside, *self.inside, *grid, 1, 1, *stride

    def tables(self, *, backward: bool) -> tuple[Integers, Integers]:
        """Taps of each class, shape (classes, most, 3): number, shift down, shift right; and how many they are.

        Forward there is one class. Backward an input pixel meets only the taps that bring it to a multiple of the
        stride, so the remainders of its coordinates are its class, and no tap is multiplied for nothing.
        """
        (tall, wide), (stride, padding, dilation) = self.size, self.geometry
        window = [(i * wide + j, i * dilation[0], j * dilation[1]) for i in range(tall) for j in range(wide)]
        if not backward:
            classes = [[(tap, down - padding[0], right - padding[1]) for tap, down, right in window]]
        else:
            classes = [
                [
                    (tap, (a + padding[0] - down) // stride[0], (b + padding[1] - right) // stride[1])
                    for tap, down, right in window
                    if (a + padding[0] - down) % stride[0] == 0 and (b + padding[1] - right) % stride[1] == 0
                ]
                for a in range(stride[0])
                for b in range(stride[1])
            ]
        table = np.zeros((len(classes), max(map(len, classes)), 3), dtype=np.int32)
        for number, taps in enumerate(classes):
            table[number, : len(taps)] = np.array(taps, dtype=np.int32).reshape(-1, 3)
        return table, np.array([len(taps) for taps in classes], dtype=np.int32)
