"""A sparse model in a folder: the weights it kept, and a description that rebuilds all the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import bibdlib
from iddl_prune.convert import pattern_layers, prune_
from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.files import write_whole
from iddl_prune.models import ModelSpec, fill_
from iddl_prune.orders import ORDERS, restored, stored
from iddl_prune.plan import Plan
from iddl_prune.preprocessing import Preprocessing

__all__ = ["from_pretrained", "save_pretrained"]

# Read as well: 1, with the orders of the channels among the descriptions, 2, with each place as a number, and 3, which
# had no digest of the description.
_FORMAT = 4
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
# What numbers and names out of their place lead to.
_ODD = (LookupError, ArithmeticError, TypeError, ValueError, AttributeError, PruneError, bibdlib.BibdError)


def save_pretrained(
    model: nn.Module,
    directory: str | Path,
    *,
    plan: Plan | None = None,
    model_spec: ModelSpec | None = None,
    preprocessing: Preprocessing | None = None,
) -> Path:
    """Write a sparse model to a folder: `config.json` to read, `model.safetensors` with the kept weights only.

    Each file takes its place whole. The description names the digest of the weights, so that a folder whose
    writing was cut short between the two is recognised.

    Parameters
    ----------
    model
        What `prune_` made of `model_spec.build()` by `plan`, trained or not.
    directory
        Made if it is not there.
    plan, model_spec, preprocessing
        If left out, the model's attributes `plan`, `spec` and `preprocessing`, which `prune_`, `ModelSpec.build`
        and `from_pretrained` leave there. Only `preprocessing` may be missing: `iddl_prune.predict` needs it.

    Returns
    -------
    The folder.

    Raises
    ------
    InvalidArgument
        If the model's layers are not those of the plan, or an attribute that is needed is missing.
    """
    plan = _told("plan", plan, model, "plan", Plan)
    model_spec = _told("model_spec", model_spec, model, "spec", ModelSpec)
    preprocessing = preprocessing or getattr(model, "preprocessing", None)
    directory = Path(directory)
    patterns = {name: layer.pattern for name, layer in pattern_layers(model).items()}
    if patterns.keys() != plan.layers.keys():
        odd = sorted(patterns.keys() ^ plan.layers.keys())[0]
        raise InvalidArgument(f"Argument 'plan' must name the sparse layers of the model; {odd!r} is in one of them.")
    for name, layer in plan.layers.items():
        if layer.pattern().digest != patterns[name].digest:
            raise InvalidArgument(f"Argument 'plan' gives layer {name!r} another pattern than the model has.")
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    described, orders = _without_orders(plan)
    weights = safetensors.torch.save({name: tensor.contiguous() for name, tensor in (tensors | orders).items()})
    config = {
        "format": _FORMAT,
        "iddl": bibdlib.__version__,
        "model": model_spec.to_dict(),
        "preprocessing": None if preprocessing is None else preprocessing.to_dict(),
        "plan": described,
        "patterns": {
            name: {"recipe": _recipe(layer.parameters), "digest": patterns[name].digest}
            for name, layer in plan.layers.items()
        },
        "weights": {"file": _WEIGHTS, "bytes": len(weights), "sha256": sha256(weights).hexdigest()},
    }
    write_whole(directory / _WEIGHTS, weights)
    write_whole(directory / _CONFIG, _as_text(config | {"digest": _digest(config)}).encode())
    return directory


def from_pretrained(directory: str | Path, *, allow_factory: bool = False) -> nn.Module:
    """Read the model that `save_pretrained` wrote; on the CPU, in float32, in eval mode.

    It has the attributes `plan`, `spec` and, where it was saved, `preprocessing`. Patterns are rebuilt from their
    designs and must have the digests they had; no pickle is opened.

    Parameters
    ----------
    allow_factory
        Whether a model named ``package.module:factory`` may be imported and called, which runs what stands there.

    Raises
    ------
    PruneError
        If a file is not there, cut short, altered, or written by a newer version.
    """
    directory = Path(directory)
    if not (directory / _CONFIG).exists() and (inside := sorted(directory.glob(f"*/{_CONFIG}"))):
        raise PruneError(f"{directory} holds no model itself, but {', '.join(str(path.parent) for path in inside)} do.")
    config = _read_config(directory / _CONFIG)
    with _described(directory):
        spec, weights_digest = ModelSpec.from_dict(config["model"]), config["weights"]["sha256"]
    if ":" in spec.name and not allow_factory:
        raise PruneError(
            f"{directory} holds a model made by {spec.name}; importing and calling that must be allowed "
            "by allow_factory=True."
        )
    weights = _read(directory / _WEIGHTS)
    if sha256(weights).hexdigest() != weights_digest:
        raise PruneError(f"{directory / _WEIGHTS} is cut short or altered: its digest is not that of {_CONFIG}.")
    try:
        tensors = safetensors.torch.load(weights)
    except SafetensorError as error:
        raise PruneError(f"{directory / _WEIGHTS} is no safetensors file: {error}") from error
    with _described(directory):
        plan = _with_orders(config, tensors)
        digests = {name: config["patterns"][name]["digest"] for name in plan.layers}
        told = config.get("preprocessing")
        preprocessing = None if told is None else Preprocessing.from_dict(told)
    with torch.random.fork_rng(devices=[]):
        try:
            model = prune_(spec.build(), plan)
        except _ODD as error:
            raise PruneError(f"{directory / _CONFIG} plans what its model does not have: {error}") from error
    for name, layer in pattern_layers(model).items():
        if layer.pattern.digest != digests[name]:
            raise PruneError(
                f"{directory / _CONFIG} is altered, or this version of iddl builds {plan.layers[name].parameters} "
                f"otherwise: the pattern of {name!r} has digest {layer.pattern.digest}, expected {digests[name]}."
            )
    fill_(model, tensors, source=str(directory / _WEIGHTS))
    if preprocessing is not None:
        model.preprocessing = preprocessing  # type: ignore[assignment]
    return model.eval()


def _told(argument: str, given: Any, model: nn.Module, attribute: str, kind: type) -> Any:
    """The argument, or the model's attribute in its stead."""
    found = getattr(model, attribute, None) if given is None else given
    if not isinstance(found, kind):
        raise InvalidArgument(
            f"Argument '{argument}' must be a {kind.__name__}, for the model has none as its attribute '{attribute}'."
        )
    return found


def _without_orders(plan: Plan) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The plan for people, and the orders of its channels, points and blocks as tensors of bytes."""
    described, orders = plan.to_dict(), {}
    for name, layer in plan.layers.items():
        for field, content in stored(layer).items():
            orders[f"{name}.{field}"] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        for field in ORDERS:
            del described["layers"][name][field]
    return described, orders


def _with_orders(config: dict[str, Any], tensors: dict[str, Tensor]) -> Plan:
    """The inverse of `_without_orders`; takes the orders out of the tensors."""
    layers = config["plan"]["layers"]
    told = {
        name: {field: tensors.pop(key) for field in ORDERS if (key := f"{name}.{field}") in tensors} for name in layers
    }
    if config["format"] < 3:
        numbers = {name: {field: order.tolist() for field, order in orders.items()} for name, orders in told.items()}
        return Plan.from_dict(config["plan"] | {"layers": {name: layers[name] | numbers[name] for name in layers}})
    plan = Plan.from_dict(config["plan"])
    restored_layers = {
        name: restored(layer, {field: content.numpy().tobytes() for field, content in told[name].items()})
        for name, layer in plan.layers.items()
    }
    return replace(plan, layers=restored_layers)


@contextmanager
def _described(directory: Path) -> Iterator[None]:
    """What the description lacks, or has otherwise, is told of its file."""
    try:
        yield
    except _ODD as error:
        raise PruneError(f"{directory / _CONFIG} does not describe a model: {error}") from error


def _recipe(parameters: bibdlib.Parameters) -> str:
    recipe = bibdlib.find(parameters)
    assert recipe is not None
    return recipe.construction.name


def _digest(config: dict[str, Any]) -> str:
    """Of all that the description says beside it, as JSON has it."""
    said = json.loads(json.dumps({key: value for key, value in config.items() if key != "digest"}))
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _as_text(config: dict[str, Any]) -> str:
    """JSON for people: indented, but a row of numbers on one line."""
    text = json.dumps(config, indent=2)
    return re.sub(r"\[[\s\d,]+\]", lambda row: " ".join(row[0].split()), text) + "\n"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise PruneError(f"{path} is cut short or altered: {error}.") from error
    form = config.get("format") if isinstance(config, dict) else None
    if not isinstance(form, int):
        raise PruneError(f"{path} does not describe a model of iddl.")
    if form > _FORMAT:
        raise PruneError(f"{path} has format {form}, of a newer version; this one reads up to {_FORMAT}: upgrade iddl.")
    if form > 3 and config.get("digest") != _digest(config):
        raise PruneError(f"{path} is altered: it does not have the digest that it names.")
    return config


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PruneError(f"{path.absolute()} cannot be read: {error.strerror}.") from error
