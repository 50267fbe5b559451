"""The law: a pattern layer equals the masked dense layer, in value and in every gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import bibdlib
from iddl_prune import BIBDConv2d, BIBDLinear, InvalidArgument, SparsePattern
from iddl_prune.ops import KERNELS
from tests.iddl_prune.strategies import patterns

HERE = sorted(name for name, kernel in KERNELS.items() if kernel.available("cpu", torch.float32))
kernels = st.sampled_from(HERE)
FANO = bibdlib.construct(7, 3, 1)


def masked(layer: nn.Linear | nn.Conv2d, pattern: SparsePattern) -> torch.Tensor:
    mask = torch.from_numpy(pattern.mask()).to(layer.weight.dtype)
    return layer.weight * mask.view(*mask.shape, *[1] * (layer.weight.ndim - 2))


def agree(sparse_out, dense_out, sparse_inputs, dense_inputs, tolerance: float) -> None:
    """Value, and the gradients by a random direction, within a relative tolerance."""
    torch.testing.assert_close(sparse_out, dense_out, rtol=tolerance, atol=tolerance * dense_out.abs().max().item())
    direction = torch.randn_like(dense_out)
    mine = torch.autograd.grad(sparse_out, sparse_inputs, direction)
    theirs = torch.autograd.grad(dense_out, dense_inputs, direction)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


@given(patterns(), kernels, st.booleans(), st.sampled_from([(), (1,), (5,), (2, 3), (40,)]), st.integers(0, 99))
def test_linear_equals_the_masked_dense_layer(pattern, kernel, bias, batch, seed) -> None:
    torch.manual_seed(seed)
    dense = nn.Linear(pattern.in_features, pattern.out_features, bias)
    sparse = BIBDLinear.from_dense(dense, pattern, kernel=kernel)
    x = torch.randn(*batch, pattern.in_features, requires_grad=True)
    full = masked(dense, pattern)
    biases = [[sparse.bias], [dense.bias]] if bias else [[], []]
    agree(sparse(x), F.linear(x, full, dense.bias), [x, *biases[0]], [x, *biases[1]], 1e-5)
    (mine,) = torch.autograd.grad(sparse(x).square().sum(), sparse.weight)
    (theirs,) = torch.autograd.grad(F.linear(x, full, dense.bias).square().sum(), dense.weight)
    theirs = theirs.flatten()[torch.from_numpy(pattern.positions)]
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@settings(max_examples=60)
@given(
    patterns(),
    kernels,
    st.booleans(),
    st.sampled_from([1, 3, (1, 3), (2, 2)]),
    st.sampled_from([1, 2, (2, 1)]),
    st.sampled_from([0, 1, (1, 0), "valid", "same"]),
    st.sampled_from([1, 2]),
    st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    st.integers(0, 99),
)
def test_conv2d_equals_the_masked_dense_layer(
    pattern, kernel, bias, kernel_size, stride, padding, dilation, padding_mode, seed
) -> None:
    torch.manual_seed(seed)
    if padding == "same":
        stride = 1
        kernel_size = 3 if kernel_size == (2, 2) else kernel_size
    dense = nn.Conv2d(
        pattern.in_features,
        pattern.out_features,
        kernel_size,
        stride,
        padding,
        dilation,
        bias=bias,
        padding_mode=padding_mode,
    )
    sparse = BIBDConv2d.from_dense(dense, pattern, kernel=kernel)
    twin = copy.deepcopy(dense)
    with torch.no_grad():
        twin.weight.copy_(masked(dense, pattern))
    x = torch.randn(2, pattern.in_features, 7, 6, requires_grad=True)
    biases = [[sparse.bias], [twin.bias]] if bias else [[], []]
    agree(sparse(x), twin(x), [x, *biases[0]], [x, *biases[1]], 1e-5)
    (mine,) = torch.autograd.grad(sparse(x).square().sum(), sparse.weight)
    (theirs,) = torch.autograd.grad(twin(x).square().sum(), twin.weight)
    theirs = theirs.flatten(0, 1)[torch.from_numpy(pattern.positions)]
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parametrize("kernel", [name for name in HERE if KERNELS[name].available("cpu", torch.float64)])
def test_gradcheck_in_double_precision(kernel: str) -> None:
    pattern = SparsePattern.from_design(9, 8, FANO)
    linear = BIBDLinear(9, 8, dtype=torch.float64, pattern=pattern, kernel=kernel)
    conv = BIBDConv2d(9, 8, 3, 2, 1, dtype=torch.float64, pattern=pattern, kernel=kernel)
    for layer, shape in ((linear, (3, 9)), (conv, (2, 9, 4, 5))):
        x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)

        def f(x, weight, bias, layer=layer):
            return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

        assert torch.autograd.gradcheck(f, (x, layer.weight, layer.bias))


@given(patterns(), kernels)
def test_to_dense_and_back(pattern, kernel) -> None:
    sparse = BIBDLinear(pattern.in_features, pattern.out_features, pattern=pattern, kernel=kernel)
    dense = sparse.to_dense()
    x = torch.randn(3, pattern.in_features)
    torch.testing.assert_close(sparse(x), dense(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(BIBDLinear.from_dense(dense, pattern).weight, sparse.weight)
    assert int((dense.weight != 0).sum()) <= pattern.kept == sparse.weight.numel()


def test_only_kept_weights_are_stored_and_saved() -> None:
    pattern = SparsePattern.from_design(28, 21, FANO)
    layer = BIBDConv2d(28, 21, 3, pattern=pattern)
    assert layer.weight.shape == (pattern.kept, 3, 3)
    assert set(layer.state_dict()) == {"weight", "bias"}
    twin = BIBDConv2d(28, 21, 3, pattern=pattern)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(1, 28, 5, 5)
    assert torch.equal(twin(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    layer.use_kernel("gather")
    torch.testing.assert_close(layer(x), twin(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer(x[0]), twin(x)[0], rtol=1e-5, atol=1e-5)


def test_layers_show_torchs_attributes() -> None:
    dense = nn.Conv2d(7, 14, 3, stride=2, padding=1, dilation=2, bias=False, padding_mode="circular").eval()
    sparse = BIBDConv2d.from_dense(dense, SparsePattern.from_design(7, 14, FANO))
    names = ["in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"]
    names += ["padding_mode", "bias", "training"]
    assert [getattr(sparse, name) for name in names] == [getattr(dense, name) for name in names]
    assert [getattr(sparse.to_dense(), name) for name in names] == [getattr(dense, name) for name in names]
    assert "(7, 3, 1)" in repr(sparse)


def test_bad_arguments_are_named() -> None:
    pattern = SparsePattern.from_design(7, 7, FANO)
    with pytest.raises(InvalidArgument, match="pattern"):
        BIBDLinear(8, 7, pattern=pattern)
    with pytest.raises(InvalidArgument, match="kernel"):
        BIBDLinear(7, 7, pattern=pattern, kernel="magic")
    with pytest.raises(InvalidArgument, match="groups"):
        BIBDConv2d.from_dense(nn.Conv2d(7, 7, 3, groups=7), pattern)
