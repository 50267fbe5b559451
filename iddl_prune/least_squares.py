"""Least squares of a sparse layer: what the kept weights must be so that the layer answers as wanted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iddl_prune.layers import BIBDConv2d, BIBDLinear, PatternLayer

__all__ = ["LeastSquares", "rows_of"]

_COLUMNS = 1024


class LeastSquares:
    """Equations of a layer, factored once: the outputs of a block of the design read the same inputs.

    Parameters
    ----------
    layer
        Its weights are what the solutions are pulled towards.
    x
        What reaches it.
    rows
        The equations, numbers as in `rows_of`; they and their Gram matrix of in_features x taps are held in float32.
    scale
        The solutions are those of the layer whose output is multiplied by it, shape (out_features,).
    ridge
        Strength of the pull, relative to the mean square of the inputs.
    offset
        Whether a constant is solved too, for every output.
    """

    def __init__(
        self, layer: PatternLayer, x: Tensor, rows: Tensor, *, scale: Tensor, ridge: float, offset: bool
    ) -> None:
        seen = _seen(layer, x, rows).float()
        self.taps = seen.shape[2]
        seen = seen.flatten(1)
        self.means = seen.mean(0) if offset else seen.new_zeros(seen.shape[1])
        self.seen = seen.sub_(self.means)
        self.offset = offset
        gram = _gram(self.seen)
        self.pull = (ridge * gram.diagonal().mean()).clamp_min(torch.finfo(torch.float32).tiny)
        gram.diagonal().add_(self.pull)
        self.blocks = []
        tap = torch.arange(self.taps, device=x.device)
        for inputs, outputs in zip(layer.pattern.inputs, layer.pattern.outputs, strict=True):
            read = (torch.as_tensor(inputs, device=x.device)[:, None] * self.taps + tap).flatten()
            give = torch.as_tensor(outputs, device=x.device)
            self.blocks.append((read, give, torch.linalg.cholesky(gram[read[:, None], read])))
        self.before = layer.dense_weight().flatten(1).float() * scale[:, None]

    def solve(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (out_features, in_features x taps) and constants (out_features,) for answers (rows, out_features)."""
        centre = wanted.mean(0) if self.offset else wanted.new_zeros(wanted.shape[1])
        moments = self.seen.T @ (wanted - centre)
        weight = torch.zeros_like(self.before)
        for read, give, factor in self.blocks:
            before = self.before[give[:, None], read].T
            after = torch.cholesky_solve(moments[read[:, None], give] + self.pull * before, factor)
            weight[give[:, None], read] = after.T
        return weight, centre - weight @ self.means

    def answers(self, weight: Tensor, constant: Tensor) -> Tensor:
        """What a solution answers, shape (rows, out_features)."""
        return self.seen @ weight.T + (constant + weight @ self.means)

    def rectified(self, wanted: Tensor, other: Tensor | float, rounds: int) -> tuple[Tensor, Tensor]:
        """The solution for answers that `other` is added to and a ReLU follows, as `solve`.

        Where both sums are negative the ReLU makes them equal, so nothing is asked there: the wanted sum is replaced
        by what the last solution gives, `rounds` times.
        """
        weight, constant = self.solve(wanted - other)
        for _ in range(rounds):
            given = (self.answers(weight, constant) + other).clamp_max_(0)
            weight, constant = self.solve(torch.where(wanted > 0, wanted, given) - other)
        return weight, constant


def rows_of(layer: PatternLayer, out: Tensor, rows: Tensor) -> Tensor:
    """Some rows of what a layer gives, or takes, as a matrix: a row is an input, or a place of an image."""
    last = out.movedim(-3, -1) if isinstance(layer, BIBDConv2d) else out
    return last[torch.unravel_index(rows, last.shape[:-1])]


def _gram(rows: Tensor) -> Tensor:
    """rows.T @ rows: half of it computed, the other half mirrored."""
    width = rows.shape[1]
    gram = rows.new_empty(width, width)
    for start in range(0, width, _COLUMNS):
        stop = start + _COLUMNS
        gram[start:stop, start:] = rows[:, start:stop].T @ rows[:, start:]
        gram[stop:, start:stop] = gram[start:stop, stop:].T
    return gram


def _seen(layer: PatternLayer, x: Tensor, rows: Tensor) -> Tensor:
    """What the layer reads at some rows, shape (rows, in_features, taps)."""
    if isinstance(layer, BIBDLinear):
        return rows_of(layer, x, rows)[..., None]
    assert isinstance(layer, BIBDConv2d)
    images, (left, _, top, _) = x if x.ndim == 4 else x[None], layer.wrapped_padding
    if layer.padding_mode != "zeros":
        images, left, top = F.pad(images, layer.wrapped_padding, mode=layer.padding_mode), 0, 0
    image, row, column = torch.unravel_index(rows, (len(images), *_places(layer, x)))
    height, width = images.shape[2:]
    channels_last = images.movedim(1, -1)
    taps = []
    for i in range(layer.kernel_size[0]):
        for j in range(layer.kernel_size[1]):
            y = row * layer.stride[0] + i * layer.dilation[0] - top
            z = column * layer.stride[1] + j * layer.dilation[1] - left
            inside = (y >= 0) & (y < height) & (z >= 0) & (z < width)
            taps.append(channels_last[image, y.clamp(0, height - 1), z.clamp(0, width - 1)] * inside[:, None])
    return torch.stack(taps, dim=-1)


def _places(layer: BIBDConv2d, x: Tensor) -> tuple[int, int]:
    """Height and width of what the layer makes of an image."""
    left, right, top, bottom = layer.wrapped_padding
    sizes = x.shape[-2] + top + bottom, x.shape[-1] + left + right
    height, width = (
        (size - (kernel - 1) * dilation - 1) // stride + 1
        for size, kernel, dilation, stride in zip(sizes, layer.kernel_size, layer.dilation, layer.stride, strict=True)
    )
    return height, width
