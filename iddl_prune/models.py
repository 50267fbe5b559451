"""Dense models by name, and their weights from a file."""

from __future__ import annotations

import importlib
import inspect
import math
import pickle
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from iddl_prune.errors import InvalidArgument, PruneError

__all__ = ["ModelSpec", "build", "fill_", "load_checkpoint", "read_tensors"]

Stem = Literal["cifar", "imagenet"]

_IMAGENET_STEM_FROM = 64


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a model anew, but for its weights.

    Attributes
    ----------
    name
        ``mlp``, a classification model of torchvision, or ``package.module:factory``.
    num_classes
        Width of the last layer.
    input_shape
        (channels, height, width) of an image; torchvision's models take three channels whatever is given.
    hidden
        Widths of the hidden layers of ``mlp``.
    stem
        First layers of a torchvision ResNet: ``imagenet`` (7x7 convolution of stride 2, max pooling) or ``cifar``
        (3x3 of stride 1, no pooling). Left out, images under 64 pixels get the latter; other models have no choice.

    Raises
    ------
    InvalidArgument
        If no model has that name, or a width or the stem is none.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, int, int]
    hidden: tuple[int, ...] = (512, 512)
    stem: Stem | None = None

    def __post_init__(self) -> None:
        for name, widths in {
            "num_classes": (self.num_classes,),
            "input_shape": self.input_shape,
            "hidden": self.hidden,
        }.items():
            if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in widths):
                raise InvalidArgument(f"Argument '{name}' must hold positive integers, not {getattr(self, name)!r}.")
        if len(self.input_shape) != 3:
            raise InvalidArgument(f"Argument 'input_shape' must be (channels, height, width), not {self.input_shape}.")
        if self.stem not in (None, "cifar", "imagenet"):
            raise InvalidArgument(f"Argument 'stem' must be 'cifar', 'imagenet' or None, not {self.stem!r}.")
        if self.is_from_torchvision:
            object.__setattr__(self, "input_shape", (3, *self.input_shape[1:]))

    @property
    def is_from_torchvision(self) -> bool:
        """Whether the name is one of torchvision's, not ``mlp`` nor a factory."""
        return self.name != "mlp" and ":" not in self.name

    def build(self) -> nn.Module:
        """The model, with new weights from torch's random state; its attribute `spec` is this."""
        if self.name == "mlp":
            model = _mlp(math.prod(self.input_shape), self.hidden, self.num_classes)
        elif self.is_from_torchvision:
            model = _from_torchvision(self)
        else:
            model = _from_factory(self)
        model.spec = self  # type: ignore[assignment]
        return model

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`."""
        shapes = {name: tuple(fields[name]) for name in ("input_shape", "hidden")}
        return cls(**{**fields, **shapes})


def build(
    name: str,
    *,
    num_classes: int,
    input_shape: tuple[int, int, int],
    hidden: tuple[int, ...] = (512, 512),
    stem: Stem | None = None,
) -> nn.Module:
    """Build a model by name; see `ModelSpec` for the arguments."""
    return ModelSpec(name, num_classes, input_shape, hidden, stem).build()


def load_checkpoint(
    path: str | Path, name: str, *, input_shape: tuple[int, int, int], num_classes: int | None = None
) -> tuple[nn.Module, ModelSpec]:
    """Build a dense model and fill it from a file; what the file settles is read off its shapes.

    Parameters
    ----------
    path
        safetensors, or a state dict written by `torch.save` (also within the key ``state_dict`` or ``model``).
    name
        As in `ModelSpec`. The classes, a ResNet's stem and an MLP's hidden widths are those of the file.
    input_shape
        (channels, height, width) of an image.
    num_classes
        What the file must have, if that is known.

    Returns
    -------
    The model, float32 whatever the file stores, and its description.

    Raises
    ------
    PruneError
        If the file is not there, not whole, or does not fit: the first wrong tensor is named, with both shapes.
    """
    tensors = read_tensors(path)
    spec = _read_off(tensors, ModelSpec(name, num_classes or 1, input_shape))
    if num_classes is not None and spec.num_classes != num_classes:
        raise PruneError(f"{path} holds a model of {spec.num_classes} classes; {num_classes} are needed.")
    model = spec.build()
    fill_(model, tensors, source=str(path))
    return model, spec


def fill_(model: nn.Module, tensors: dict[str, Tensor], *, source: str) -> None:
    """Give a model the values of tensors of the same names and shapes, in the model's own dtypes.

    Raises
    ------
    PruneError
        If one is missing, too many, or of another shape; the message names the first one, and `source`.
    """
    expected = model.state_dict()
    for key, tensor in expected.items():
        if key not in tensors and not key.endswith("num_batches_tracked"):
            raise PruneError(f"{source} does not fit the model: {key!r} of shape {tuple(tensor.shape)} is missing.")
        if key in tensors and tensors[key].shape != tensor.shape:
            found, wanted = tuple(tensors[key].shape), tuple(tensor.shape)
            raise PruneError(f"{source} does not fit the model: {key!r} has shape {found}, expected {wanted}.")
    for key, tensor in tensors.items():
        if key not in expected:
            raise PruneError(f"{source} does not fit the model: {key!r} of shape {tuple(tensor.shape)} is not in it.")
    model.load_state_dict(expected | tensors)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The named tensors of a file, on the CPU; never runs code that the file might hold.

    Raises
    ------
    PruneError
        If the file is not there, is not whole, or holds something else.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise PruneError(f"There is no checkpoint {path.absolute()}.") from error
    except pickle.UnpicklingError as error:
        raise PruneError(
            f"{path} is no state dict that loads without running code (weights_only=True): save "
            "model.state_dict(), or safetensors."
        ) from error
    except Exception as error:  # safetensors and torch raise a dozen kinds for a file that is cut short
        reason = str(error) or type(error).__name__
        raise PruneError(f"{path} cannot be read; it may be cut short: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(tensors, dict) and isinstance(tensors.get(key), dict):
            tensors = tensors[key]
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise PruneError(f"{path} holds no state dict: a dict from names to tensors is expected.")
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}


def _mlp(inputs: int, hidden: tuple[int, ...], num_classes: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, num_classes))


def _from_torchvision(spec: ModelSpec) -> nn.Module:
    from torchvision import models

    if spec.name not in models.list_models(module=models):
        raise InvalidArgument(
            f"Argument 'name' must be mlp, a classification model of torchvision such as resnet18, "
            f"or package.module:factory, not {spec.name!r}."
        )
    model = models.get_model(spec.name, weights=None, num_classes=spec.num_classes, **_quietly(spec.name))
    if isinstance(model, models.ResNet):
        small = max(spec.input_shape[1:]) < _IMAGENET_STEM_FROM
        if (spec.stem or ("cifar" if small else "imagenet")) == "cifar":
            model.conv1 = nn.Conv2d(3, model.conv1.out_channels, kernel_size=3, padding=1, bias=False)
            nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
            model.maxpool = nn.Identity()
    return model


def _quietly(name: str) -> dict[str, bool]:
    """Two of torchvision's models train with auxiliary heads and warn unless told how to begin."""
    return {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}


def _from_factory(spec: ModelSpec) -> nn.Module:
    module, _, attribute = spec.name.partition(":")
    try:
        factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidArgument(f"Argument 'name' must be package.module:factory, not {spec.name!r}: {error}.") from error
    taken = inspect.signature(factory).parameters
    known = {"num_classes": spec.num_classes, "input_shape": spec.input_shape}
    model = factory(**{name: value for name, value in known.items() if name in taken})
    if not isinstance(model, nn.Module):
        raise InvalidArgument(f"{spec.name} must return a torch.nn.Module, not {type(model).__name__}.")
    return model


def _read_off(tensors: dict[str, Tensor], spec: ModelSpec) -> ModelSpec:
    if spec.name == "mlp":
        biases = {int(key.removesuffix(".bias")): key for key in tensors if re.fullmatch(r"\d+\.bias", key)}
        widths = [len(tensors[biases[layer]]) for layer in sorted(biases)]
        return replace(spec, num_classes=widths[-1], hidden=tuple(widths[:-1])) if widths else spec
    if (first := tensors.get("conv1.weight")) is not None and spec.is_from_torchvision:
        spec = replace(spec, stem="cifar" if first.shape[-1] == 3 else "imagenet")
    with torch.device("meta"):
        last, _ = list(spec.build().named_parameters())[-1]
    return replace(spec, num_classes=len(tensors[last])) if last in tensors else spec
