"""How a convolution's window moves over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Geometry", "Pair"]

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """Stride, zero padding and dilation of a convolution, in pixels of height and width."""

    stride: Pair
    padding: Pair
    dilation: Pair

    @classmethod
    def of(cls, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Geometry:
        """The same from sequences of two, as torch hands them on."""
        return cls(*((pair[0], pair[1]) for pair in (stride, padding, dilation)))

    def output(self, image: Pair, taps: Pair) -> Pair:
        """Height and width of the output of an image under so many taps."""
        height, width = (
            (size + 2 * padding - dilation * (tap - 1) - 1) // stride + 1
            for size, tap, stride, padding, dilation in zip(image, taps, *self, strict=True)
        )
        return height, width
