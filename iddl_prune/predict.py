"""What a model sees in image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from iddl_prune.errors import InvalidArgument
from iddl_prune.mode import in_eval_mode
from iddl_prune.preprocessing import Preprocessing

__all__ = ["predict"]

_BATCH = 32


def predict(
    model: nn.Module, images: Sequence[str | Path], *, top: int = 5, preprocessing: Preprocessing | None = None
) -> list[list[tuple[str, float]]]:
    """The likeliest classes of each image with their probabilities, the likeliest first.

    Parameters
    ----------
    model
        Takes prepared inputs, returns logits (n, classes).
    images
        Files of any format that Pillow reads.
    top
        How many classes are told; all if there are fewer.
    preprocessing
        If left out, the model's attribute `preprocessing`, which `from_pretrained` leaves there.

    Raises
    ------
    InvalidArgument
        If `top` is not positive, or there is no preprocessing.
    PruneError
        If a file cannot be read as an image; the message names it.
    """
    if top < 1:
        raise InvalidArgument(f"Argument 'top' must be at least 1, not {top}.")
    how = preprocessing or getattr(model, "preprocessing", None)
    if how is None:
        raise InvalidArgument("Argument 'preprocessing' must be given, for the model was saved without.")
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    found = []
    with in_eval_mode(model), torch.no_grad():
        for start in range(0, len(images), _BATCH):
            batch = torch.stack([how.read(path) for path in images[start : start + _BATCH]])
            values, indices = model(batch.to(device)).float().softmax(1).topk(min(top, len(how.classes)))
            for numbers, places in zip(values.tolist(), indices.tolist(), strict=True):
                found.append([(how.classes[i], p) for i, p in zip(places, numbers, strict=True)])
    return found
