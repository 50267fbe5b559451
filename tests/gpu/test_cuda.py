"""What only a card can show: CUDA graphs, `torch.compile`, no waiting, TF32, sizes that fill it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bibdlib
from iddl_prune import BIBDConv2d, BIBDLinear, SparsePattern

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),  # advice on precision, when torch compiles
]

PLANE = bibdlib.construct(57, 8, 1)


class Mean(nn.Module):
    """Over the pixels; torch's own pooling has no deterministic gradient on a card."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    fano = SparsePattern.from_design(112, 112, bibdlib.construct(7, 3, 1), edge=16)
    return nn.Sequential(
        BIBDConv2d(112, 112, 3, 2, 1, pattern=fano, kernel="triton"),
        nn.ReLU(),
        Mean(),
        BIBDLinear(112, 112, pattern=fano, kernel="triton"),
    ).to("cuda", memory_format=torch.channels_last)


def inputs(batch: int = 5) -> torch.Tensor:
    return torch.randn(batch, 112, 9, 8, device="cuda").to(memory_format=torch.channels_last)


def slopes(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(model(x).square().sum(), tuple(model.parameters()))


def test_a_cuda_graph_replays_forward_and_backward(network) -> None:
    x = inputs()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        slopes(network, x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out, taken = network(x), slopes(network, x)
    fresh = inputs()
    x.copy_(fresh)
    graph.replay()
    assert torch.equal(out, network(fresh))
    assert all(torch.equal(a, b) for a, b in zip(taken, slopes(network, fresh), strict=True))


def test_torch_compile_takes_it_whole(network) -> None:
    compiled = torch.compile(network, fullgraph=True)
    for batch in (5, 3):
        x = inputs(batch)
        torch.testing.assert_close(compiled(x), network(x))
        for a, b in zip(slopes(compiled, x), slopes(network, x), strict=True):
            torch.testing.assert_close(a, b)


def test_nothing_waits_for_the_card(network) -> None:
    x = inputs()
    slopes(network, x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        slopes(network, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("dtype", "rounded", "tolerance"), [
    (torch.float32, False, 1e-5), (torch.float32, True, 2e-3),
    (torch.bfloat16, True, 1e-2), (torch.float16, True, 2e-3),
])  # fmt: skip
@pytest.mark.parametrize("batch", [1, 2, 17, 300])
def test_a_wide_layer_agrees_with_float64(dtype, rounded, tolerance, batch) -> None:
    torch.set_float32_matmul_precision("high" if rounded else "highest")
    pattern = SparsePattern.from_design(4096, 4096, PLANE, edge=64)
    layer = BIBDLinear(4096, 4096, pattern=pattern, kernel="triton", device="cuda", dtype=dtype)
    x = torch.randn(batch, 4096, device="cuda", dtype=dtype)
    wanted = x.double() @ layer.dense_weight().detach().double().T + layer.bias.detach().double()
    assert (layer(x).double() - wanted).norm() <= tolerance * wanted.norm()


def test_another_device_type_computes_by_gather(network) -> None:
    x = inputs()
    expected = network(x)
    with pytest.warns(UserWarning, match="does not run on cpu"):
        found = network.cpu()(x.cpu())
    torch.testing.assert_close(found, expected.cpu(), rtol=1e-4, atol=1e-5)
