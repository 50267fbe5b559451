"""Which channels of a network must move together, and how they are moved without changing what it computes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves

from iddl_prune.errors import InvalidArgument
from iddl_prune.mode import in_eval_mode

__all__ = ["ChannelGroup", "Moves", "Side", "channel_groups", "moves_of", "permute_"]

Model = TypeVar("Model", bound=nn.Module)
Order = npt.NDArray[np.integer[Any]]

# By module, by side ("in" or "out"): the new place of each channel.
Moves = dict[str, dict[str, tuple[int, ...]]]

_RELATIVE = 1e-3


@dataclass(frozen=True, eq=False)
class Side:
    """Where a module holds the channels of a group: on its "in" or "out" side, channel i at places[i], shape (n, w)."""

    module: str
    side: str
    places: Order


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels whose order is one and the same in several modules, as on a residual stream."""

    channels: int
    sides: tuple[Side, ...]


def channel_groups(model: nn.Module, example_inputs: Tensor | tuple[Any, ...]) -> tuple[ChannelGroup, ...]:
    """The groups of channels that can be given another order while the network computes the same function.

    Torch-Pruning's dependency graph finds them: G. Fang and others, DepGraph: towards any structural pruning,
    CVPR 2023. Each is tried: a group is left out if a random order of its channels changes what the network
    answers to the example inputs, as that of the answers themselves does.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    probe = _shaken(model)
    groups = tuple(group for group in _traced(model, inputs) if any(side.side == "in" for side in group.sides))
    if _same_function(probe, inputs, groups):
        return groups
    return tuple(group for group in groups if _same_function(probe, inputs, (group,)))


def moves_of(groups: Iterable[ChannelGroup], orders: Iterable[Order], model: nn.Module) -> Moves:
    """What becomes of each module if channel i of each group moves to the place of channel order[i]."""
    found: dict[tuple[str, str], Order] = {}
    for group, order in zip(groups, orders, strict=True):
        for side in group.sides:
            key = side.module, side.side
            if key not in found:
                found[key] = np.arange(_width(model.get_submodule(side.module), side.side))
            found[key][side.places] = side.places[order]
    moves: Moves = {}
    for (name, side_name), places in found.items():
        moves.setdefault(name, {})[side_name] = tuple(places.tolist())
    return moves


@torch.no_grad()
def permute_(model: Model, moves: Mapping[str, Mapping[str, Iterable[int]]]) -> Model:
    """Give channels new places, in place: channel i of a side of a module goes to place moves[module][side][i].

    With moves that `moves_of` made, the network computes the same function.

    Raises
    ------
    InvalidArgument
        If a module is not there, is of no kind that can be permuted, or its order is no permutation of its channels;
        nothing is changed then.
    """
    steps = []
    for name, sides in moves.items():
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            raise InvalidArgument(f"Argument 'moves' names a module {name!r} that the model does not have.") from error
        for side, places in sides.items():
            order = np.asarray(tuple(places))
            width = _width(module, side)
            if not np.array_equal(np.sort(order), np.arange(width)):
                raise InvalidArgument(f"Argument 'moves' must permute the {width} channels of {name!r} ({side}).")
            steps += [(tensor, axis, np.argsort(order)) for tensor, axis in _tensors(module, side)]
    for tensor, axis, came_from in steps:
        tensor.copy_(tensor.index_select(axis, torch.from_numpy(came_from).to(tensor.device)))
    return model


def _traced(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[ChannelGroup, ...]:
    """The groups by Torch-Pruning's graph, without those that hold what cannot be permuted."""
    import torch_pruning

    twin = copy.deepcopy(model).requires_grad_(True)
    names = {module: name for name, module in twin.named_modules()}
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(twin, inputs if len(inputs) > 1 else inputs[0])
        found = list(graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]))
    groups = []
    taken: set[tuple[str, str, int]] = set()
    for group in found:
        channels = len(group[0].idxs)
        sides = []
        for item in group:
            module = item.dep.target.module
            if isinstance(module, nn.Parameter):
                break
            if module in names and any(True for _ in (*module.parameters(), *module.buffers())):
                side = "out" if graph.is_out_channel_pruning_fn(item.dep.handler) else "in"
                places = _places(channels, item.idxs, item.root_idxs)
                used = {(names[module], side, place) for place in item.idxs}
                if places is None or not _tensors(module, side) or used & taken:
                    break
                sides.append(Side(names[module], side, places))
        else:
            taken |= {(side.module, side.side, place) for side in sides for place in side.places.ravel().tolist()}
            groups.append(ChannelGroup(channels, tuple(sides)))
    return tuple(groups)


def _places(channels: int, places: list[int], roots: list[int]) -> Order | None:
    """Where each channel stands, shape (channels, width); None if not all of them stand equally often."""
    by_root: list[list[int]] = [[] for _ in range(channels)]
    for place, root in zip(places, roots, strict=True):
        if root is None or root >= channels:
            return None
        by_root[root].append(place)
    if len({len(found) for found in by_root}) != 1:
        return None
    return np.array([sorted(found) for found in by_root])


def _tensors(module: nn.Module, side: str) -> list[tuple[Tensor, int]]:
    """Tensors of a module with the axis on which they hold the channels of a side; none if that is not known."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        groups = getattr(module, "groups", 1)
        if groups == 1 and side == "in":
            return [(module.weight, 1)]
        if groups == 1 or groups == module.weight.shape[0] == module.in_channels:
            return [(tensor, 0) for tensor in (module.weight, module.bias) if tensor is not None]
    elif isinstance(module, _NormBase | nn.PReLU) or (
        isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1
    ):
        return [(tensor, 0) for tensor in (*module.parameters(), *module.buffers()) if tensor.ndim == 1 < len(tensor)]
    return []


def _width(module: nn.Module, side: str) -> int:
    tensors = _tensors(module, side)
    if not tensors:
        raise InvalidArgument(f"Argument 'moves' must name modules that can be permuted, not {type(module).__name__}.")
    tensor, axis = tensors[0]
    return tensor.shape[axis]


def _shaken(model: nn.Module) -> nn.Module:
    """A copy with other weights: zeros, as many a fresh network has them, would hide what depends on what."""
    twin = copy.deepcopy(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in twin.parameters():
            noise = torch.randn(parameter.shape).to(parameter)
            parameter.add_(noise * (0.1 * parameter.square().mean().sqrt() + 0.01))
    return twin


def _same_function(model: nn.Module, inputs: tuple[Any, ...], groups: tuple[ChannelGroup, ...]) -> bool:
    generator = np.random.default_rng(0)
    twin = copy.deepcopy(model)
    permute_(twin, moves_of(groups, [generator.permutation(group.channels) for group in groups], model))
    with in_eval_mode(model, twin), torch.no_grad():
        answers, others = (
            [leaf for leaf in tree_leaves(net(*inputs)) if isinstance(leaf, Tensor)] for net in (model, twin)
        )
    return all(
        (answer - other).abs().max() <= _RELATIVE * answer.abs().max()
        for answer, other in zip(answers, others, strict=True)
    )
