"""Channels change places while they are trained: the pattern follows the weights, and stays the design it is.

Dynamic sparse training drops weak connections and grows those with large gradients (U. Evci and others, Rigging
the lottery, ICML 2020). Here two input channels swap their points, or two outputs their blocks: some
connections go, as many come, and what is left is the same design under other names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from iddl_prune.convert import pattern_layers
from iddl_prune.errors import InvalidArgument
from iddl_prune.layers import BIBDConv2d, BIBDLinear, PatternLayer
from iddl_prune.pattern import SparsePattern
from iddl_prune.plan import Plan

__all__ = ["Heard", "connect_anew_", "hearing", "places", "plan_after", "put_back_", "refit_", "swapped"]

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]

# Of each sparse layer: sums over the steps heard of the dense weight's gradient and of its Fisher information
# (out, in), and how many steps and examples these are.
Heard = dict[str, dict[str, Tensor]]


@contextmanager
def hearing(model: nn.Module, heard: Heard, fabric: Fabric) -> Iterator[None]:
    """Add to `heard` what the forward and the backward pass of a mean loss, within the block, tell of every pair."""
    noted: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def listen(name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...], out: Tensor) -> None:
            x = arguments[0].detach()
            out.register_hook(lambda gradient: noted.setdefault(name, []).append((x, gradient.detach())))

        return hook

    layers = pattern_layers(model)
    hooks = [layer.register_forward_hook(listen(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for name, calls in noted.items():
        told = _told(layers[name], calls, fabric)
        heard[name] = {key: t + heard[name][key] for key, t in told.items()} if name in heard else told


@torch.no_grad()
def refit_(
    model: nn.Module,
    heard: Heard,
    share: float,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
) -> int:
    """Let the channels of each sparse layer change places where that promises a lower loss.

    Kept connections keep their weights, the optimizer's moments and their average; new ones begin at zero.

    Parameters
    ----------
    heard
        What `hearing` gathered in the steps before.
    share
        At most this share of the inputs of a layer, and of its outputs, change places.
    average
        A model of the same layers that follows this one, or this one itself.

    Returns
    -------
    The number of swaps.
    """
    swaps = 0
    twins = {} if average is None else pattern_layers(average)
    for name, layer in pattern_layers(model).items():
        if name not in heard:
            continue
        pattern, made = swapped(_worth(layer, **heard[name]), layer.pattern, share)
        swaps += made
        if made:
            moments = optimizer.state[layer.weight].values() if optimizer is not None else ()
            connect_anew_(layer, pattern, moments)
            if (twin := twins.get(name, layer)) is not layer:
                connect_anew_(twin, pattern)
    return swaps


def swapped(worth: Floats, pattern: SparsePattern, share: float) -> tuple[SparsePattern, int]:
    """Swap the places of pairs of channels, those first that gain most worth, inputs before outputs.

    Parameters
    ----------
    worth
        What each (output, input) pair is worth if it is connected, shape (out_features, in_features).
    share
        At most this share of either side changes places.

    Returns
    -------
    The pattern, a permutation of the one given, and the number of swaps.
    """
    by_block = _summed(worth.T, pattern.out_groups, len(pattern.reads))
    in_groups, inputs = _swap(by_block @ pattern.reads, pattern.in_groups, share)
    by_point = _summed(worth, in_groups, pattern.reads.shape[1])
    out_groups, outputs = _swap(by_point @ pattern.reads.T, pattern.out_groups, share)
    return replace(pattern, in_groups=in_groups, out_groups=out_groups), inputs + outputs


@torch.no_grad()
def connect_anew_(layer: PatternLayer, pattern: SparsePattern, moments: Iterable[Any] = ()) -> None:
    """Give a layer another pattern of as many connections; weights that both have stay, the others begin at zero.

    Parameters
    ----------
    moments
        The optimizer's, of which the tensors of the weight's shape do the same.
    """
    if pattern.kept != layer.pattern.kept:
        raise InvalidArgument(
            f"Argument 'pattern' must keep {layer.pattern.kept} connections as the layer does, not {pattern.kept}."
        )
    slot = np.full(pattern.in_features * pattern.out_features, -1)
    slot[layer.pattern.positions] = np.arange(pattern.kept)
    origin = torch.from_numpy(slot[pattern.positions]).to(layer.weight.device)
    new = (origin < 0).view(-1, *(1,) * (layer.weight.ndim - 1))
    for packed in (layer.weight, *moments):
        if isinstance(packed, Tensor) and packed.shape == layer.weight.shape:
            packed.copy_(packed[origin].masked_fill(new, 0))
    layer.pattern = pattern
    layer.use_kernel(layer.kernel)


def places(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """The point of each input and the block of each output, of every sparse layer."""
    return {
        name: {
            "in_groups": torch.from_numpy(layer.pattern.in_groups.copy()),
            "out_groups": torch.from_numpy(layer.pattern.out_groups.copy()),
        }
        for name, layer in pattern_layers(model).items()
    }


def put_back_(model: nn.Module, where: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Put the channels where `places` found them; the weights are left to the caller.

    Raises
    ------
    InvalidArgument
        If the model has other sparse layers, or a layer other groups.
    """
    layers = pattern_layers(model)
    if layers.keys() != where.keys():
        raise InvalidArgument(f"Argument 'where' must be of the layers {sorted(layers)}, not {sorted(where)}.")
    for name, layer in layers.items():
        in_groups, out_groups = (where[name][side].numpy() for side in ("in_groups", "out_groups"))
        pattern = layer.pattern.permuted(
            _order(layer.pattern.in_groups, in_groups), _order(layer.pattern.out_groups, out_groups)
        )
        if pattern.digest != layer.pattern.digest:
            connect_anew_(layer, pattern)


def plan_after(plan: Plan, model: nn.Module) -> Plan:
    """The plan that leads to the patterns that a model has after its channels have changed places."""
    layers = dict(plan.layers)
    for name, layer in pattern_layers(model).items():
        planned = plan.layers[name]
        if planned.pattern().digest == layer.pattern.digest:
            continue
        falls = replace(planned, in_order=(), out_order=()).pattern()
        layers[name] = replace(
            planned,
            in_order=tuple(_order(falls.in_groups, layer.pattern.in_groups).tolist()),
            out_order=tuple(_order(falls.out_groups, layer.pattern.out_groups).tolist()),
            worth=None,
        )
    return replace(plan, layers=layers)


@torch.no_grad()
def _told(layer: PatternLayer, calls: list[tuple[Tensor, Tensor]], fabric: Fabric) -> dict[str, Tensor]:
    """What one step, with these inputs and output gradients, adds to `Heard`; over all processes."""
    assert isinstance(layer, BIBDLinear | BIBDConv2d)
    dense = layer.to_dense().float()
    weight = dense.weight.requires_grad_()
    gradient = torch.zeros_like(weight)
    fisher = weight.new_zeros(weight.shape[:2])
    channel = -3 if weight.ndim > 2 else -1
    for x, out_gradient in ((x.float(), out_gradient.float()) for x, out_gradient in calls):
        with torch.enable_grad():
            out = dense(x)
        gradient += torch.autograd.grad(out, weight, out_gradient)[0]
        spots = out[0].numel() / out.shape[channel]
        fisher += spots * torch.outer(_power(out_gradient * len(x), channel), _power(x, channel))
    examples = fisher.new_tensor(len(calls[0][0]) * fabric.world_size)
    means = (_mean(t, fabric) for t in (gradient, fisher))
    return {**dict(zip(("gradient", "fisher"), means, strict=True)), "steps": fisher.new_ones(()), "examples": examples}


def _worth(layer: PatternLayer, gradient: Tensor, fisher: Tensor, steps: Tensor, examples: Tensor) -> Floats:
    """By how much the loss is lower if a pair is connected, shape (out, in), by its second-order expansion.

    From zero to the best value, w - G / F, it is F (w - G / F)^2 / 2 for a weight w of gradient G and curvature F: Y.
    LeCun, J. Denker, S. Solla, Optimal brain damage, NIPS 1989, where G is taken for zero. F is the diagonal of the
    Fisher information of inputs and output gradients that are not correlated. Chance alone shows a G^2 of F / n over n
    examples: of a pair that is not connected only what exceeds four times that counts, two standard deviations.
    """
    assert isinstance(layer, BIBDLinear | BIBDConv2d)
    weight, gradient = layer.dense_weight().float(), gradient / steps
    curvature = (
        (fisher / steps).clamp_min(torch.finfo(torch.float32).tiny).view(*fisher.shape, *(1,) * (weight.ndim - 2))
    )
    worth = (curvature * weight - gradient).square() / (2 * curvature)
    connected = torch.from_numpy(layer.pattern.mask()).to(weight.device).view_as(curvature)
    worth = torch.where(connected, worth, worth - 2 / examples).clamp_min(0)
    return worth.reshape(*fisher.shape, -1).sum(-1).double().cpu().numpy()


def _power(t: Tensor, channel: int) -> Tensor:
    """Mean square of each channel."""
    return t.square().movedim(channel, -1).flatten(0, -2).mean(0)


def _mean(t: Tensor, fabric: Fabric) -> Tensor:
    """Over all processes."""
    mean = fabric.all_reduce(t, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return mean


def _swap(scores: Floats, groups: Integers, share: float) -> tuple[Integers, int]:
    """Swap pairs of channels, no channel twice; scores (channels, groups) say what each gains in each group."""
    here = scores[:, groups]
    gain = here - here.diagonal()[:, None]
    gain = gain + gain.T
    groups, at_most = groups.copy(), int(share * len(groups) / 2)
    for swaps in range(at_most):
        one, other = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[one, other] <= 0:
            return groups, swaps
        groups[[one, other]] = groups[[other, one]]
        gain[[one, other]], gain[:, [one, other]] = 0, 0
    return groups, at_most


def _summed(worth: Floats, groups: Integers, count: int) -> Floats:
    """Sums of the columns of each group, shape (rows, count)."""
    member = np.zeros((len(groups), count), dtype=worth.dtype)
    member[np.arange(len(groups)), groups] = 1
    return worth @ member


def _order(before: Integers, after: Integers) -> Integers:
    """An order in which the groups of `before` become those of `after`."""
    order = np.empty(len(before), dtype=np.int64)
    order[np.argsort(after, kind="stable")] = np.argsort(before, kind="stable")
    if not np.array_equal(before[order], after):
        raise InvalidArgument("Argument 'where' must have groups of the sizes that the layer has.")
    return order
