"""What a design is compared with: other patterns, free choice of weights, fewer channels.

The random control of equal degrees is `iddl_prune.compress` with ``design="random"``; the rest is here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import bibdlib
from iddl_prune.assign import fit
from iddl_prune.errors import InvalidArgument
from iddl_prune.pattern import SparsePattern

__all__ = ["balanced", "balanced_tiles", "draw_anew_", "fewer_channels", "largest_weights", "mask_", "truncated_plane"]

Model = TypeVar("Model", bound=nn.Module)
Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]

_ROUNDS = 10
_HALVINGS = 12


def balanced(worth: Floats, fan_in: int) -> npt.NDArray[np.int64]:
    """The blocks of most worth of all that hold `fan_in` points each, every point in equally many, or one more.

    A transportation problem (F. L. Hitchcock, J. Math. Phys. 20 (1941) 224) of a totally unimodular matrix: the
    vertex at which the simplex method ends is whole, and optimal.

    Parameters
    ----------
    worth
        What each block has from each point, shape (b, v).

    Returns
    -------
    The points of each block, shape (b, fan_in), rows ascending.

    Raises
    ------
    InvalidArgument
        If fan_in is not between 1 and v.
    """
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import eye_array, kron

    b, v = worth.shape
    if not 1 <= fan_in <= v:
        raise InvalidArgument(f"Argument 'fan_in' must lie between 1 and {v}, not {fan_in}.")
    blocks, points = kron(eye_array(b), np.ones((1, v))), kron(np.ones((1, b)), eye_array(v))
    fan_out = b * fan_in // v
    solution = milp(
        -worth.ravel() / (worth.max() or 1.0),
        constraints=[
            LinearConstraint(blocks.tocsr(), fan_in, fan_in),
            LinearConstraint(points.tocsr(), fan_out, -(-b * fan_in // v)),
        ],
        bounds=(0, 1),
    )
    chosen = np.rint(solution.x).astype(bool).reshape(b, v)
    return np.nonzero(chosen)[1].reshape(b, fan_in)


def balanced_tiles(worth: Floats, pattern: SparsePattern) -> SparsePattern:
    """The ceiling of patterns of these degrees: blocks chosen freely, channels placed anew, in turns.

    Where each channel is a point and each output a block of its own nothing is to be placed, and the ceiling is exact;
    with tiles it is a local optimum.

    Parameters
    ----------
    worth
        What each (output, input) pair is worth, shape (out_features, in_features), not negative.
    pattern
        Gives the points, the blocks, their channels and the degrees; best fitted to the same worth.
    """
    kept = float(worth[pattern.mask()].sum())
    for _ in range(_ROUNDS):
        by_block = np.stack([worth[outputs].sum(0) for outputs in pattern.outputs])
        by_point = np.stack(
            [by_block[:, pattern.in_groups == point].sum(1) for point in range(pattern.reads.shape[1])], axis=1
        )
        blocks = balanced(by_point, pattern.blocks.shape[1])
        freed = SparsePattern(blocks, pattern.in_groups, pattern.out_groups)
        found = freed if by_point.shape == worth.shape else fit(worth, freed, starts=1).pattern
        before, kept = kept, float(worth[found.mask()].sum())
        pattern = found
        if kept <= before * (1 + 1e-4):
            break
    return pattern


def largest_weights(
    model: nn.Module, kept: Mapping[str, int], *, together: bool = False, whole: bool = False
) -> dict[str, Tensor]:
    """Masks of the weights largest in magnitude, of the shape of each named layer's weight: unstructured pruning.

    Parameters
    ----------
    kept
        How many weights each layer keeps; with `together` only their sum counts, and one threshold serves all layers.
    whole
        Whether all taps of an input and an output are kept or none, by their mean square.
    """
    sizes = {name: model.get_submodule(name).weight.detach().abs() for name in kept}  # type: ignore[operator]
    if whole:
        filters = {name: size.square().mean((2, 3), keepdim=True) for name, size in sizes.items() if size.ndim == 4}
        sizes |= {name: square.sqrt().expand_as(sizes[name]) for name, square in filters.items()}
    if together:
        everything = torch.cat([size.flatten() for size in sizes.values()])
        threshold = everything.kthvalue(len(everything) - sum(kept.values()) + 1).values
        return {name: size >= threshold for name, size in sizes.items()}
    masks = {}
    for name, size in sizes.items():
        chosen = size.flatten().topk(kept[name]).indices
        masks[name] = torch.zeros(size.numel(), dtype=torch.bool).index_fill(0, chosen.cpu(), True).view(size.shape)
    return masks


def truncated_plane(in_features: int, out_features: int) -> Mask:
    """The mask that the first iddl project laid over a layer: a projective plane's incidences, cut off to its shape.

    The plane is the smallest of prime power order with as many points as the wider side; once cut it is no design.

    Returns
    -------
    Which output reads which input, shape (out_features, in_features).
    """
    for order in count(2):
        v = order * order + order + 1
        plane = bibdlib.Parameters(v, order + 1, 1)
        if v >= max(in_features, out_features) and bibdlib.find(plane) is not None:
            break
    lines = bibdlib.construct(plane.v, plane.k, plane.lam).blocks
    mask = np.zeros((v, v), dtype=bool)
    np.put_along_axis(mask, lines, True, axis=1)
    return mask[:out_features, :in_features]


class _Masked(nn.Module):
    """Zero outside the mask, in value and in gradient, whatever the optimizer does."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def mask_(model: Model, masks: Mapping[str, Tensor]) -> Model:
    """Keep the weights of each named layer zero outside its mask, from now on and while it is trained.

    A mask has the shape of the weight, or (out, in) for all taps alike.
    """
    for name, mask in masks.items():
        layer = model.get_submodule(name)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        shaped = mask.to(weight.device).view(*mask.shape, *(1,) * (weight.ndim - mask.ndim)).expand_as(weight)
        parametrize.register_parametrization(layer, "weight", _Masked(shaped.contiguous()))
    return model


def fewer_channels(
    model: Model, example_inputs: Tensor | tuple[Any, ...], cost: Callable[[nn.Module], float], target: float
) -> Model:
    """A copy with the weakest channels taken out by Torch-Pruning, the same share of each layer, to come near a cost.

    Its grouped magnitude importance (G. Fang and others, DepGraph: towards any structural pruning, CVPR 2023)
    decides; the classifier keeps its outputs, the first layer its inputs. The share is found by bisection.

    Parameters
    ----------
    cost, target
        What is to be brought down, as `iddl_prune.measure.count_weights`, and to how much.

    Returns
    -------
    Of the copies tried, the one whose cost is nearest to the target.
    """
    low, high = 0.0, 1.0
    tried = []
    for _ in range(_HALVINGS):
        ratio = (low + high) / 2
        copied = _without_channels(model, example_inputs, ratio)
        tried.append(copied)
        low, high = (ratio, high) if cost(copied) > target else (low, ratio)
    return min(tried, key=lambda copied: abs(cost(copied) - target))


def draw_anew_(model: Model) -> Model:
    """New weights for every layer, from torch's random state: with `fewer_channels`, a narrower network to train."""
    for module in model.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return model


def _without_channels(model: Model, example_inputs: Tensor | tuple[Any, ...], ratio: float) -> Model:
    import torch_pruning

    copied = copy.deepcopy(model).requires_grad_(True)
    linears = [module for module in copied.modules() if isinstance(module, nn.Linear)]
    torch_pruning.pruner.BasePruner(
        copied,
        example_inputs,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=linears[-1:],
    ).step()
    return copied
