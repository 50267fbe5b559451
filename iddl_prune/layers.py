"""Linear and Conv2d that store only the weights their pattern keeps."""

from __future__ import annotations

from math import sqrt
from typing import Any, Literal, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iddl_prune.errors import InvalidArgument
from iddl_prune.ops import KERNELS, Geometry, conv2d, linear
from iddl_prune.ops.reference import dense_weight
from iddl_prune.pattern import SparsePattern

__all__ = ["BIBDConv2d", "BIBDLinear", "PatternLayer"]

Dense = TypeVar("Dense", nn.Linear, nn.Conv2d)
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class PatternLayer(nn.Module):
    """What both layers share: packed weights of shape (kept, ...), a pattern, a kernel.

    The law: equal to the dense layer whose weight is masked by the pattern, in value and in every gradient.
    The index tensors are rebuilt from the pattern, so `state_dict` holds weight and bias alone.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def _set_up(
        self, pattern: SparsePattern, taps: tuple[int, ...], bias: bool, device: Any, dtype: Any, kernel: str
    ) -> None:
        self.pattern = pattern
        self.weight = nn.Parameter(torch.empty(pattern.kept, *taps, device=device, dtype=dtype))
        if bias:
            self.bias = nn.Parameter(torch.empty(pattern.out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self._buffer_names: tuple[str, ...] = ()
        self.use_kernel(kernel)
        self.reset_parameters()

    def use_kernel(self, kernel: str) -> None:
        """Compute with another kernel from now on; values and gradients stay what they are.

        Raises
        ------
        InvalidArgument
            If there is no kernel of that name.
        """
        if kernel not in KERNELS:
            raise InvalidArgument(f"Argument 'kernel' must be one of {', '.join(KERNELS)}, not {kernel!r}.")
        for name in self._buffer_names:
            delattr(self, name)
        buffers = KERNELS[kernel].buffers(self.pattern)
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor.to(self.weight.device), persistent=False)
        self.kernel = kernel
        self._buffer_names = tuple(buffers)

    def _arguments(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None, list[Tensor]]:
        """Input, weight, bias, each in the dtype of an autocast that is on, and the kernel's indices."""
        indices: list[Any] = [self._buffers[name] for name in self._buffer_names]
        own: dict[str, Any] = self._parameters  # attributes take torch ten times as long, a tenth of a small product
        is_own = "weight" in own and "bias" in own
        weight, bias = (own["weight"], own["bias"]) if is_own else (self.weight, self.bias)
        device = "cpu" if x.is_cpu else x.device.type
        if not torch.is_autocast_enabled(device):
            if x.dtype is not weight.dtype:
                raise InvalidArgument(f"Argument 'x' must be of {weight.dtype} as the weights are, not {x.dtype}.")
            return x, weight, bias, indices
        dtype = torch.get_autocast_dtype(device)
        return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), indices

    def _is_direct(self, x: Tensor) -> bool:
        """Whether the kernel is called itself, not torch's operator of it.

        While a graph is exported that is to hold torch's own operators, as far as the kernel does; where torch finds
        the gradients; and where nobody watches, since the operator costs some 20 microseconds.
        """
        kernel = KERNELS[self.kernel]
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            return kernel.COMPOSITE
        is_watched = torch.is_grad_enabled() or torch.compiler.is_compiling() or type(x) is not Tensor
        return (kernel.AUTOGRAD or not is_watched) and x.numel() > 0

    def _check(self, x: Tensor, axis: int) -> None:
        """Raise InvalidArgument unless the input is as wide as the pattern: kernels read where it says."""
        if torch.jit.is_tracing():
            return
        if x.ndim < -axis or x.shape[axis] != self.pattern.in_features:
            raise InvalidArgument(
                f"Argument 'x' must have {self.pattern.in_features} channels on axis {axis}, "
                f"not shape {tuple(x.shape)}."
            )

    def reset_parameters(self) -> None:
        """Draw weights and bias as torch's own layers do, from the fan-in that is left."""
        fan_in = self.weight.numel() / self.pattern.out_features
        with torch.no_grad():
            for parameter in (self.weight, self.bias):
                if parameter is not None:
                    parameter.uniform_(-1 / sqrt(fan_in), 1 / sqrt(fan_in))

    def dense_weight(self) -> Tensor:
        """The masked dense weight, of the shape of torch's own layer."""
        positions = torch.from_numpy(self.pattern.positions).to(self.weight.device)
        return dense_weight(self.weight, positions, self.pattern.out_features, self.pattern.in_features)

    @torch.no_grad()
    def _take(self, weight: Tensor, bias: Tensor | None) -> Self:
        positions = torch.from_numpy(self.pattern.positions).to(weight.device)
        self.weight.copy_(weight.flatten(0, 1).index_select(0, positions))
        if self.bias is not None and bias is not None:
            self.bias.copy_(bias)
        return self

    @torch.no_grad()
    def _give(self, dense: Dense) -> Dense:
        dense.weight.copy_(self.dense_weight())
        if self.bias is not None and dense.bias is not None:
            dense.bias.copy_(self.bias)
        return dense.train(self.training)


class BIBDLinear(PatternLayer):
    """`torch.nn.Linear` whose outputs read only the inputs their block holds.

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        As in `torch.nn.Linear`.
    pattern
        Which output reads which input; its widths are those of the layer.
    kernel
        Name of the kernel that computes it, one of `iddl_prune.ops.KERNELS`.

    Raises
    ------
    InvalidArgument
        If the pattern's widths differ from the layer's, or there is no such kernel.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        pattern: SparsePattern,
        kernel: str = "gather",
    ) -> None:
        super().__init__()
        _check_widths(pattern, in_features, out_features)
        self.in_features, self.out_features = in_features, out_features
        self._set_up(pattern, (), bias, device, dtype, kernel)

    @classmethod
    def from_dense(cls, layer: nn.Linear, pattern: SparsePattern, *, kernel: str = "gather") -> BIBDLinear:
        """The sparse layer that keeps the weights of a dense one where the pattern has them."""
        sparse = cls(
            layer.in_features,
            layer.out_features,
            layer.bias is not None,
            layer.weight.device,
            layer.weight.dtype,
            pattern=pattern,
            kernel=kernel,
        )
        return sparse._take(layer.weight, layer.bias).train(layer.training)

    def to_dense(self) -> nn.Linear:
        """An ordinary `torch.nn.Linear` of equal outputs, zeros where the pattern has no weight."""
        has_bias = self.bias is not None
        return self._give(
            nn.Linear(self.in_features, self.out_features, has_bias, self.weight.device, self.weight.dtype)
        )

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """x (..., in_features) -> (..., out_features); `relu` takes the positive part in the same pass.

        Raises
        ------
        InvalidArgument
            If x has another width, or another dtype than the weights while no autocast is on.
        """
        self._check(x, -1)
        is_matrix = x.ndim == 2
        rows, weight, bias, indices = self._arguments(x if is_matrix else x.reshape(-1, self.in_features))
        if self._is_direct(rows):
            out: Tensor = KERNELS[self.kernel].linear(rows, weight, bias, indices, self.out_features, relu)
        else:
            out = linear(rows, weight, bias, indices, self.out_features, relu, self.kernel)
        return out if is_matrix else out.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """As torch's, and the pattern."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"pattern={self.pattern}, kernel={self.kernel!r}"
        )


class BIBDConv2d(PatternLayer):
    """`torch.nn.Conv2d` whose output channels read only the input channels their block holds, with every tap.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, bias, padding_mode, device, dtype
        As in `torch.nn.Conv2d` with groups = 1.
    pattern, kernel
        As in `BIBDLinear`.

    Raises
    ------
    InvalidArgument
        If the pattern's widths differ from the layer's, or there is no such kernel or padding mode.
    """

    groups = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        pattern: SparsePattern,
        kernel: str = "reference",
    ) -> None:
        super().__init__()
        _check_widths(pattern, in_channels, out_channels)
        # A dense twin without storage: torch's own checks of the arguments, and its attributes.
        twin = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 1, bias, padding_mode, device="meta"
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.dilation = twin.kernel_size, twin.stride, twin.dilation
        self.padding, self.padding_mode = twin.padding, padding_mode
        self.wrapped_padding = twin._reversed_padding_repeated_twice
        left, right, top, bottom = self.wrapped_padding
        is_even = padding_mode == "zeros" and (left, top) == (right, bottom)
        self._zeros = (top, left) if is_even else None
        self._set_up(pattern, self.kernel_size, bias, device, dtype, kernel)

    @classmethod
    def from_dense(cls, layer: nn.Conv2d, pattern: SparsePattern, *, kernel: str = "reference") -> BIBDConv2d:
        """The sparse layer that keeps the weights of a dense one (groups = 1) where the pattern has them."""
        if layer.groups != 1:
            raise InvalidArgument(f"Argument 'layer' must have groups = 1, not {layer.groups}.")
        sparse = cls(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            bias=layer.bias is not None,
            device=layer.weight.device,
            dtype=layer.weight.dtype,
            pattern=pattern,
            kernel=kernel,
            **_geometry(layer),
        )
        return sparse._take(layer.weight, layer.bias).train(layer.training)

    def to_dense(self) -> nn.Conv2d:
        """An ordinary `torch.nn.Conv2d` of equal outputs, zeros where the pattern has no weight."""
        dense = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            bias=self.bias is not None,
            device=self.weight.device,
            dtype=self.weight.dtype,
            **_geometry(self),
        )
        return self._give(dense)

    def forward(self, x: Tensor, residual: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """x (N, in_channels, H, W) or (in_channels, H, W) -> the same with out_channels and the new H, W.

        A `residual` of the output's shape is added, and `relu` takes the positive part, in the same pass. A residual
        of another shape is added as torch broadcasts.

        Raises
        ------
        InvalidArgument
            If x has another number of axes or channels, or another dtype than the weights while no autocast is on.
        """
        self._check(x, -3)
        if x.ndim > 4:
            raise InvalidArgument(f"Argument 'x' must have 3 or 4 axes, not shape {tuple(x.shape)}.")
        batch = x if x.ndim == 4 else x[None]
        padding = self._zeros
        if padding is None:
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            batch, padding = F.pad(batch, self.wrapped_padding, mode=mode), (0, 0)
        batch, weight, bias, indices = self._arguments(batch)
        geometry = Geometry.of(self.stride, padding, self.dilation)
        if residual is not None:
            places = geometry.output((batch.shape[2], batch.shape[3]), (weight.shape[1], weight.shape[2]))
            if residual.shape != (*x.shape[:-3], self.out_channels, *places):
                total = self.forward(x) + residual
                return total.relu() if relu else total
            residual = residual if x.ndim == 4 else residual[None]
        residual = residual if residual is None else residual.to(weight.dtype)
        end = residual, indices, self.out_channels
        if self._is_direct(batch):
            out: Tensor = KERNELS[self.kernel].conv2d(batch, weight, bias, *end, geometry, relu)
        else:
            out = conv2d(batch, weight, bias, *end, *geometry, relu, self.kernel)
        return out if x.ndim == 4 else out[0]

    def extra_repr(self) -> str:
        """As torch's, and the pattern."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, bias={self.bias is not None}, "
            f"padding_mode={self.padding_mode!r}, pattern={self.pattern}, kernel={self.kernel!r}"
        )


def _geometry(layer: nn.Conv2d | BIBDConv2d) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "padding_mode")}


def _check_widths(pattern: SparsePattern, inputs: int, outputs: int) -> None:
    if (pattern.in_features, pattern.out_features) != (inputs, outputs):
        raise InvalidArgument(
            f"Argument 'pattern' must lead from {inputs} to {outputs} channels, "
            f"not from {pattern.in_features} to {pattern.out_features}."
        )
