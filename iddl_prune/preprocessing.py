"""From an image file to a model's input: the way the images of training went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from iddl_prune.errors import InvalidArgument, PruneError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input, and what the outputs are called.

    Attributes
    ----------
    input_shape
        (channels, height, width) of an input.
    shorter_side
        Pixels to which the shorter side of an image is brought before its middle is cut out.
    mean, std
        Of each channel, of images scaled to 0..1.
    grey
        Whether images are read as shades of grey, which all channels then share.
    classes
        Name of each output.

    Raises
    ------
    InvalidArgument
        If the numbers do not go together.
    """

    input_shape: tuple[int, int, int]
    shorter_side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    grey: bool
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        channels, *sides = self.input_shape
        for name in ("mean", "std"):
            if len(getattr(self, name)) != channels:
                raise InvalidArgument(f"Argument '{name}' must have {channels} numbers, not {getattr(self, name)!r}.")
        if not self.grey and channels != 3:
            raise InvalidArgument(f"Argument 'input_shape' must have 3 channels for images in colour, not {channels}.")
        if self.shorter_side < max(sides):
            raise InvalidArgument(f"Argument 'shorter_side' must be at least {max(sides)}, not {self.shorter_side}.")

    def read(self, path: str | Path) -> Tensor:
        """The input, float32 of shape `input_shape`, that an image file makes.

        Raises
        ------
        PruneError
            If the file is not there, is no image, or does not say what is white.
        """
        from PIL import Image
        from torchvision.transforms.v2 import functional as image_to

        try:
            with Image.open(path) as image:
                pixels = image_to.pil_to_tensor(_in_8_bits(image).convert("L" if self.grey else "RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PruneError(f"{path} cannot be read as an image: {reason}") from error
        sized = image_to.center_crop(
            image_to.resize(pixels, [self.shorter_side], antialias=True), list(self.input_shape[1:])
        )
        mean, std = (torch.tensor(m).view(-1, 1, 1) for m in (self.mean, self.std))
        return (sized.expand(self.input_shape).float() / 255 - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`."""
        rows = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **rows})


def _in_8_bits(image: Image.Image) -> Image.Image:
    """The image with 16 bits of grey brought to 8, which Pillow itself would cut off at white."""
    from PIL import Image as Images

    if image.mode.startswith("I;16"):
        return Images.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise OSError(f"what is black and what is white in pixels of kind {image.mode!r} is not told")
    return image
