"""The operators: what torch asks of one, their fused ends, short floats, layouts, memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import bibdlib
from iddl_prune import BIBDConv2d, BIBDLinear, InvalidArgument, SparsePattern
from iddl_prune.ops import KERNELS, conv2d, emit, linear

HERE = sorted(name for name, kernel in KERNELS.items() if kernel.available("cpu", torch.float32))
PATTERN = SparsePattern.from_design(23, 20, bibdlib.construct(7, 3, 1), edge=2)
WIDE = SparsePattern.from_design(1024, 1024, bibdlib.construct(73, 9, 1), edge=8)


def arguments(layer: BIBDLinear | BIBDConv2d, x: torch.Tensor, *, relu: bool) -> tuple[object, ...]:
    """What the layer hands its operator, with a fused end."""
    indices = [getattr(layer, name) for name in layer._buffer_names]
    if isinstance(layer, BIBDLinear):
        return x, layer.weight, layer.bias, indices, layer.out_features, relu, layer.kernel
    residual = torch.randn_like(layer(x)).requires_grad_()
    how = layer.stride, layer.padding, layer.dilation
    return x, layer.weight, layer.bias, residual, indices, layer.out_channels, *how, relu, layer.kernel


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # opcheck looks at its own copies
@pytest.mark.parametrize("kernel", HERE)
def test_torch_accepts_the_operators(kernel: str) -> None:
    torch.manual_seed(0)
    layer = BIBDLinear(23, 20, pattern=PATTERN, kernel=kernel)
    torch.library.opcheck(linear, arguments(layer, torch.randn(3, 23, requires_grad=True), relu=True))
    window = BIBDConv2d(23, 20, 3, padding=1, pattern=PATTERN, kernel=kernel)
    torch.library.opcheck(conv2d, arguments(window, torch.randn(2, 23, 4, 5, requires_grad=True), relu=True))


@pytest.mark.parametrize("kernel", HERE)
@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (1, 0), (2, 0), (1, 2)])
def test_residual_and_relu_may_be_fused(kernel: str, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = BIBDConv2d(23, 20, 3, stride, padding, pattern=PATTERN, kernel=kernel)
    x, weight, bias, residual, *rest = arguments(layer, torch.randn(2, 23, 7, 6, requires_grad=True), relu=True)
    fused = conv2d(x, weight, bias, residual, *rest)
    apart = torch.relu(layer.to_dense()(x) + residual)
    torch.testing.assert_close(fused, apart, rtol=1e-4, atol=1e-5)
    direction = torch.randn_like(fused)
    mine = torch.autograd.grad(fused, [x, residual], direction)
    theirs = torch.autograd.grad(apart, [x, residual], direction)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", HERE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_agree_to_their_precision(kernel: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = BIBDConv2d(23, 20, 3, padding=1, pattern=PATTERN, kernel=kernel)
    x = torch.randn(2, 23, 6, 6)
    exact, short = layer(x), copy.deepcopy(layer).to(dtype)(x.to(dtype))
    assert short.dtype == dtype
    torch.testing.assert_close(short.float(), exact, rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype):
        assert layer(x).dtype == dtype
        torch.testing.assert_close(layer(x).float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kernel", HERE)
def test_channels_last_stays_channels_last(kernel: str) -> None:
    layer = BIBDConv2d(23, 20, 3, padding=1, pattern=PATTERN, kernel=kernel)
    x = torch.randn(2, 23, 6, 6)
    last = x.contiguous(memory_format=torch.channels_last)
    assert layer(last).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(last), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", HERE)
def test_empty_batches_pass_and_have_gradients(kernel: str) -> None:
    layer = BIBDConv2d(23, 20, 3, padding=1, pattern=PATTERN, kernel=kernel)
    x = torch.randn(0, 23, 6, 6, requires_grad=True)
    out = layer(x)
    assert out.shape == (0, 20, 6, 6)
    out.sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


@pytest.mark.parametrize("kernel", HERE)
def test_parameters_gradients_and_optimizer_state_scale_with_the_density(kernel: str) -> None:
    pattern = SparsePattern.from_design(56, 56, bibdlib.construct(7, 3, 1), edge=8)
    layer = BIBDConv2d(56, 56, 3, bias=False, pattern=pattern, kernel=kernel)
    dense = nn.Conv2d(56, 56, 3, bias=False)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.randn(1, 56, 5, 5)).sum().backward()
    optimizer.step()
    state = sum(value.numel() for value in optimizer.state[layer.weight].values() if value.ndim)
    assert layer.weight.grad is not None
    for numbers, whole in ((layer.weight.numel(), 1), (layer.weight.grad.numel(), 1), (state, 2)):
        assert numbers == pattern.density * whole * dense.weight.numel()


def test_the_vector_kernel_refuses_what_it_cannot_compute() -> None:
    layer = BIBDLinear(23, 20, pattern=PATTERN, kernel="vector", dtype=torch.float64)
    with pytest.raises(InvalidArgument, match="float64"):
        layer(torch.randn(2, 23, dtype=torch.float64))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 17, 100])
def test_every_number_of_rows_and_the_relu(rows: int) -> None:
    layer = BIBDLinear(23, 20, pattern=PATTERN, kernel="vector")
    x = torch.randn(rows, 23)
    torch.testing.assert_close(layer(x, relu=True), layer.to_dense()(x).relu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch", "size"), [(2, (33, 41)), (1, (9, 1500)), (150, (9, 6)), (5, (7, 5)), (1, (5, 5))])
@pytest.mark.parametrize(
    "geometry", [(3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 0, 1), (2, 2, 1, 1), (3, 1, 2, 2), (3, 2, 3, 3)]
)
def test_the_gradient_of_weights_in_large_images_and_in_small_ones(
    batch: int, size: tuple[int, int], geometry: tuple[int, int, int, int]
) -> None:
    """Large ones are read as they lie, small ones with the images side by side; taps may fall off on every side."""
    torch.manual_seed(0)
    layer = BIBDConv2d(23, 20, *geometry, bias=False, pattern=PATTERN, kernel="vector")
    twin, x = layer.to_dense().double(), torch.randn(batch, 23, *size)
    (mine,) = torch.autograd.grad(layer(x).square().sum(), layer.weight)
    (theirs,) = torch.autograd.grad(twin(x.double()).square().sum(), twin.weight)
    theirs = theirs.flatten(0, 1)[torch.from_numpy(PATTERN.positions)].float()
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [3, 40])
def test_one_thread_does_the_shares_of_those_that_did_not_come(
    rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    come = emit._threads()
    if come is None:
        pytest.skip("torch brings no OpenMP here")

    def alone(address: int, values: object, *_: int) -> None:
        emit._FUNCTION(address)(values)

    monkeypatch.setattr(emit, "_threads", lambda: come._replace(parallel=alone))
    layer = BIBDLinear(1024, 1024, pattern=WIDE, kernel="vector")
    x = torch.randn(rows, 1024)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.to_dense()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 16, 40, 130])
def test_wide_layers_whoever_shares_the_work(rows: int, threads: int) -> None:
    """Weights outside the caches, rows for one thread and for two, strips for two: a million of them."""
    torch.manual_seed(0)
    pattern = SparsePattern.from_design(1536, 1540, bibdlib.construct(7, 3, 1), edge=24)
    layer = BIBDLinear(1536, 1540, pattern=pattern, kernel="vector")
    x = torch.randn(rows, 1536)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, relu=True), layer.to_dense()(x).relu(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", HERE)
@pytest.mark.parametrize("wrong", [5, 46])
def test_an_input_of_another_width_is_refused(kernel: str, wrong: int) -> None:
    layer = BIBDLinear(23, 20, pattern=PATTERN, kernel=kernel)
    window = BIBDConv2d(23, 20, 3, padding=1, pattern=PATTERN, kernel=kernel)
    for module, x in ((layer, torch.randn(4, wrong)), (window, torch.randn(2, wrong, 6, 6))):
        with torch.no_grad(), pytest.raises(InvalidArgument, match=f"23 channels.*{wrong}"):
            module(x)


@pytest.mark.parametrize("kernel", HERE)
def test_an_input_of_another_dtype_or_number_of_axes_is_refused(kernel: str) -> None:
    layer = BIBDLinear(23, 20, pattern=PATTERN, kernel=kernel)
    window = BIBDConv2d(23, 20, 3, pattern=PATTERN, kernel=kernel)
    with torch.no_grad():
        for module, x in ((layer, torch.randn(4, 23)), (window, torch.randn(2, 23, 6, 6))):
            with pytest.raises(InvalidArgument, match=r"float32 as the weights are, not torch\.bfloat16"):
                module(x.bfloat16())
        with pytest.raises(InvalidArgument, match="3 or 4 axes"):
            window(torch.randn(1, 2, 23, 6, 6))


def test_an_image_smaller_than_the_window_is_refused() -> None:
    window = BIBDConv2d(23, 20, 3, pattern=PATTERN, kernel="vector")
    with torch.no_grad(), pytest.raises(InvalidArgument, match=r"no smaller than the window, not \(2, 5\)"):
        window(torch.randn(1, 23, 2, 5))


@pytest.mark.parametrize("kernel", HERE)
@pytest.mark.parametrize("shape", [(20, 1, 1), (1, 20, 6, 6), (2, 20, 1, 6), (2, 1, 6, 6), (2, 20, 6, 6)])
def test_a_residual_may_be_broadcast(kernel: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = BIBDConv2d(23, 20, 3, padding=1, pattern=PATTERN, kernel=kernel)
    x, residual = torch.randn(2, 23, 6, 6), torch.randn(shape)
    with torch.no_grad():
        wanted = (layer.to_dense()(x) + residual).relu()
        torch.testing.assert_close(layer(x, residual, relu=True), wanted, rtol=1e-4, atol=1e-5)
        many = torch.randn(4, 20, 6, 6)
        torch.testing.assert_close(layer(x[:1], many), layer.to_dense()(x[:1]) + many, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", HERE)
def test_answers_lie_in_one_piece(kernel: str) -> None:
    layer = BIBDConv2d(23, 20, 3, pattern=PATTERN, kernel=kernel)
    with torch.no_grad():
        assert layer(torch.randn(2, 23, 7, 7)).is_contiguous()
