"""Every kernel against the masked dense product in float64, on a card or in Triton's interpreter."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bibdlib
from iddl_prune import BIBDConv2d, BIBDLinear, SparsePattern
from iddl_prune.ops.convolution import Places
from iddl_prune.ops.geometry import Geometry
from iddl_prune.ops.reference import dense_weight
from iddl_prune.ops.triton import searching

pytest.importorskip("triton", reason="Triton is not installed; it is there on Linux only")

from iddl_prune.ops import triton_tuning
from iddl_prune.ops.triton_launch import Epilogue, Settings, input_gradient, product, weight_gradient

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
FANO = bibdlib.construct(7, 3, 1)
PAIRS = bibdlib.construct(4, 3, 2)

# A pattern in whole tiles; ragged groups of a few channels; any permutation; blocks of one output.
PATTERNS = {
    "tiles": SparsePattern.from_design(7 * 16, 7 * 16, FANO, edge=16),
    "ragged": SparsePattern.from_design(43, 38, FANO, edge=5),
    "permuted": SparsePattern.from_design(71, 50, PAIRS).permuted(
        np.random.default_rng(1).permutation(71), np.random.default_rng(2).permutation(50)
    ),
    "narrow": SparsePattern.from_design(9, 7, FANO),
}
patterns = pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype).removeprefix("torch."))


@dataclass
class Case:
    """A product in one type, and the same in float64."""

    x: Tensor
    weight: Tensor
    slope: Tensor
    pattern: SparsePattern
    device: str

    def dense(self) -> Tensor:
        positions = torch.from_numpy(self.pattern.positions)
        weight = self.weight.double().cpu()
        return dense_weight(weight, positions, self.pattern.out_features, self.pattern.in_features)

    def kept(self, dense: Tensor) -> Tensor:
        return dense.flatten(0, 1)[torch.from_numpy(self.pattern.positions)]

    def check(self, mine: Tensor, wanted: Tensor) -> None:
        mine = mine.double().cpu()
        assert mine.shape == wanted.shape
        assert (mine - wanted).norm() <= TOLERANCE[self.x.dtype] * wanted.norm()


def draw(pattern: SparsePattern, dtype: torch.dtype, device: str, *shape: int, taps: tuple[int, ...] = ()) -> Case:
    generator = torch.Generator().manual_seed(hash((pattern.kept, shape, taps)) % 2**32)
    x, weight = (torch.randn(s, generator=generator).to(device, dtype) for s in (shape, (pattern.kept, *taps)))
    slope = torch.randn(shape[0], pattern.out_features, generator=generator).to(device, dtype)
    return Case(x, weight, slope, pattern, device)


@patterns
@dtypes
@pytest.mark.parametrize(("rows", "settings"), [(1, Settings(16, 16, 16)), (23, Settings(16, 32, 16, shares=3))])
def test_linear_and_its_gradients(pattern, dtype, rows, settings, device) -> None:
    case = draw(pattern, dtype, device, rows, pattern.in_features)
    x, slope, dense = case.x.double().cpu(), case.slope.double().cpu(), case.dense()
    case.check(product(case.x, case.weight, pattern, settings), x @ dense.T)
    case.check(input_gradient(case.slope, case.weight, pattern, settings), slope @ dense)
    case.check(weight_gradient(case.x, case.slope, pattern, settings), case.kept(slope.T @ x))


@pytest.mark.parametrize("taps", [(), (1, 1)])
def test_columns_put_in_order_first(taps, device) -> None:
    pattern, settings = PATTERNS["permuted"], Settings(16, 16, 16, in_order=True)
    case = draw(pattern, torch.float32, device, 19, pattern.in_features)
    places = Places(19, (1, 1), taps, Geometry((1, 1), (0, 0), (1, 1))) if taps else None
    weight = case.weight[None] if taps else case.weight
    x, slope, dense = case.x.double().cpu(), case.slope.double().cpu(), case.dense()
    case.check(product(case.x, weight, pattern, settings, places=places), x @ dense.T)
    case.check(input_gradient(case.slope, weight, pattern, settings, places=places), slope @ dense)
    by_weight = weight_gradient(case.x, case.slope, pattern, settings, places=places)
    case.check(by_weight[0] if taps else by_weight, case.kept(slope.T @ x))


@patterns
@dtypes
def test_vector_kernel(pattern, dtype, device) -> None:
    case = draw(pattern, dtype, device, 2, pattern.in_features)
    scale, shift = (torch.randn(pattern.out_features).to(device, dtype) for _ in range(2))
    epilogue = Epilogue(scale, shift, None, True)
    mine = product(case.x, case.weight, pattern, Settings(1, 4, 32, stages=1), epilogue=epilogue)
    wanted = case.x.double().cpu() @ case.dense().T * scale.double().cpu() + shift.double().cpu()
    case.check(mine, wanted.relu())


WINDOWS = {
    "1x1": ((1, 1), Geometry((1, 1), (0, 0), (1, 1))),
    "1x1 of stride 2": ((1, 1), Geometry((2, 2), (0, 0), (1, 1))),
    "3x3": ((3, 3), Geometry((1, 1), (1, 1), (1, 1))),
    "3x3 of stride 2": ((3, 3), Geometry((2, 2), (1, 1), (1, 1))),
    "2x3, uneven": ((2, 3), Geometry((2, 1), (0, 2), (1, 2))),
}


@pytest.mark.parametrize("name", ["ragged", "permuted", "narrow"])
@pytest.mark.parametrize(("taps", "geometry"), WINDOWS.values(), ids=WINDOWS)
def test_conv2d_and_its_gradients(name, taps, geometry, device) -> None:
    pattern = PATTERNS[name]
    dtype = {"ragged": torch.float32, "permuted": torch.bfloat16, "narrow": torch.float16}[name]
    case = draw(pattern, dtype, device, 2, pattern.in_features, 5, 4, taps=taps)
    places, settings = Places(2, (5, 4), taps, geometry), Settings(64, 32, 32, shares=2)
    x, dense = case.x.double().cpu().requires_grad_(), case.dense().requires_grad_()
    wanted = F.conv2d(x, dense, None, *geometry)
    slope = torch.randn(wanted.shape, dtype=torch.float64).to(dtype)
    by_x, by_weight = torch.autograd.grad(wanted, (x, dense), slope.double())
    weight = case.weight.flatten(1).t().contiguous()
    residual = torch.randn(wanted.shape).to(dtype)
    epilogue = Epilogue(added=pixels(residual).to(device), relu=True)
    mine = product(pixels(case.x), weight, pattern, settings, places=places, epilogue=epilogue)
    case.check(mine, pixels((wanted.detach() + residual.double()).relu()))
    mine = input_gradient(pixels(slope).to(device), weight, pattern, settings, places=places)
    case.check(mine, pixels(by_x))
    mine = weight_gradient(pixels(case.x), pixels(slope).to(device), pattern, settings, places=places)
    case.check(mine.t(), case.kept(by_weight).flatten(1))


def pixels(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1]).contiguous()


@dtypes
def test_layers_compute_by_it(dtype, device) -> None:
    torch.manual_seed(0)
    pattern = PATTERNS["ragged"]
    layers = nn.Linear(43, 38), nn.Conv2d(43, 38, 3, 2, 1)
    for dense, sparse_type, shape in zip(layers, (BIBDLinear, BIBDConv2d), ((3, 2, 43), (2, 43, 4, 5)), strict=True):
        sparse = sparse_type.from_dense(dense, pattern, kernel="triton").to(device, dtype)
        exact = copy.deepcopy(sparse).to("cpu", torch.float64)
        exact.use_kernel("reference")
        x = torch.randn(shape).to(device, dtype).requires_grad_()
        twin = x.detach().double().cpu().requires_grad_()
        mine, wanted = sparse(x), exact(twin)
        direction = torch.randn(wanted.shape).to(dtype)
        mine_slopes = torch.autograd.grad(mine, (x, sparse.weight, sparse.bias), direction.to(device))
        slopes = torch.autograd.grad(wanted, (twin, exact.weight, exact.bias), direction.double())
        for a, b in zip((mine, *mine_slopes), (wanted, *slopes), strict=True):
            assert (a.double().cpu() - b).norm() <= TOLERANCE[dtype] * b.norm()


def test_equal_inputs_give_equal_bits(device) -> None:
    pattern = PATTERNS["ragged"]
    case = draw(pattern, torch.float32, device, 37, pattern.in_features)
    settings = Settings(16, 16, 16, shares=4)
    for run in (
        lambda: product(case.x, case.weight, pattern, settings),
        lambda: input_gradient(case.slope, case.weight, pattern, settings),
        lambda: weight_gradient(case.x, case.slope, pattern, settings),
    ):
        assert torch.equal(run(), run())


def test_what_the_search_finds_is_kept_and_used(device, monkeypatch) -> None:
    pattern = PATTERNS["narrow"]
    case = draw(pattern, torch.float32, device, 20, pattern.in_features)
    triton_tuning.forget()
    taken = {16: 3.0, 32: 1.0, 64: 2.0}
    monkeypatch.setattr(triton_tuning, "_time", lambda run, candidate: taken.get(candidate.rows, 9.0))
    found = triton_tuning.search("forward", pattern, case.x, None, lambda settings: None)
    assert found.rows == 32
    triton_tuning.forget()
    layer = BIBDLinear(9, 7, pattern=pattern, kernel="triton", device=device)
    with searching(1.0):
        layer(case.x).sum().backward()
    assert triton_tuning.settings("gradient", pattern, case.x, None).rows == 32
    triton_tuning.forget()
    assert triton_tuning.settings("forward", pattern, case.x, None) == found
    assert triton_tuning.settings("forward", pattern, case.x[:18], None) == found
    assert triton_tuning.settings("backward", pattern, case.slope, None).rows != 1
    triton_tuning.forget()
