"""A model made for this machine answers as before, and every choice is told."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import iddl_prune.optimize
from iddl_prune import InvalidArgument, PruneError, optimize_, pattern_layers, plan, prune_
from iddl_prune.fold import fold_norms_, fuse_ends_, traced
from iddl_prune.ops import KERNELS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IDDL_CACHE", str(tmp_path))
    return tmp_path / "choices.json"


class Residual(nn.Module):
    """A block as ResNets have it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.conv1 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.hidden = nn.Linear(16, 32)
        self.classes = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        out = self.relu(out).mean((2, 3))
        return self.classes(torch.relu(self.hidden(out)))


@pytest.fixture
def sparse() -> nn.Module:
    torch.manual_seed(0)
    model = Residual()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
    return prune_(model, plan(model, torch.zeros(1, 3, 8, 8), density=0.5, fit=False)).eval()


X = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kernel", ["reference", "gather", "vector"])
def test_folding_and_fusing_change_no_answer(sparse: nn.Module, kernel: str) -> None:
    with torch.no_grad():
        before = sparse(X)
        graph = traced(sparse)
        assert graph is not None
        assert fold_norms_(graph) == 2
        assert not any(isinstance(module, nn.BatchNorm2d) for module in graph.modules())
        torch.testing.assert_close(graph(X), before, rtol=1e-4, atol=1e-5)
        for layer in pattern_layers(graph).values():
            layer.use_kernel(kernel)
        assert fuse_ends_(graph) == 4
        torch.testing.assert_close(graph(X), before, rtol=1e-4, atol=1e-5)


def test_a_norm_that_another_reads_past_is_left() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return self.norm(x) + x

    graph = traced(Split().eval())
    assert graph is not None
    assert fold_norms_(graph) == 0


def force(monkeypatch: pytest.MonkeyPatch, *fastest: str) -> None:
    """Have the clock prefer kernels or nets by their names."""

    def times(calls, seconds, rounds=500):
        for call in calls.values():
            call()
        return {name: 1.0 if any(part in name for part in fastest) else 2.0 for name in calls}

    monkeypatch.setattr(iddl_prune.optimize, "taking_turns", times)


@pytest.mark.parametrize("fastest", ["gather", "vector", "dense"])
def test_the_fastest_is_kept_and_the_answer_too(
    sparse: nn.Module, fastest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        before = sparse(X)
    force(monkeypatch, fastest, "sparse")
    deployed = optimize_(sparse, X, batch_sizes=(1, 2))
    assert {choice.kernel for choice in deployed.layers.values()} == {fastest}
    assert {layer.kernel for layer in pattern_layers(deployed.model).values()} == {fastest} - {"dense"}
    with torch.no_grad():
        torch.testing.assert_close(deployed.model(X), before, rtol=1e-4, atol=1e-5)
    assert deployed.difference < 1e-4
    table = str(deployed)
    assert ("kept dense: sparse is 0.5x here" in table) == (fastest == "dense")
    assert "the net, batch 2" in table


def test_no_net_is_slower_than_dense(sparse: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, "dense channels-last")
    deployed = optimize_(sparse, X)
    assert not pattern_layers(deployed.model)
    assert deployed.layout == "channels-last"


def test_times_are_measured_once_a_machine_and_shape(
    sparse: nn.Module, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = copy.deepcopy(sparse)
    force(monkeypatch, "gather")
    optimize_(sparse, X, batch_sizes=(2,))
    assert len(json.loads(cache.read_text())) == 2  # both convolutions are alike
    force(monkeypatch, "vector")
    assert {choice.kernel for choice in optimize_(twin, X, batch_sizes=(2,)).layers.values()} == {"gather"}


def test_times_are_measured_again_where_asked(sparse: nn.Module, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin, other = copy.deepcopy(sparse), copy.deepcopy(sparse)
    force(monkeypatch, "gather")
    optimize_(other, X, batch_sizes=(1,))
    optimize_(sparse, X, batch_sizes=(2,))
    force(monkeypatch, "vector")
    again = optimize_(twin, X, batch_sizes=(2,), again=True)
    assert {choice.kernel for choice in again.layers.values()} == {"vector"}
    assert len(json.loads(cache.read_text())) == 4  # those of the other batch size are not lost


@pytest.mark.parametrize("wrong", [1.1, float("nan")])
def test_a_form_that_answers_otherwise_is_refused(
    sparse: nn.Module, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    right = KERNELS["vector"].conv2d
    monkeypatch.setattr(KERNELS["vector"], "conv2d", lambda *arguments: wrong * right(*arguments))
    force(monkeypatch, "vector", "sparse")
    with pytest.raises(PruneError, match="does not answer as the model did"):
        optimize_(sparse, X, batch_sizes=(2,))


@pytest.mark.parametrize("written", ["[]", "null", "3", "{", '{"a": 3}', '{"a": {"vector": 1.0}}'])
def test_a_cache_of_something_else_is_measured_anew(
    sparse: nn.Module, cache: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    cache.write_text(written)
    force(monkeypatch, "gather")
    assert {choice.kernel for choice in optimize_(sparse, X, batch_sizes=(2,)).layers.values()} == {"gather"}
    assert len(json.loads(cache.read_text())) == 2


def test_a_cache_that_cannot_be_written_hinders_nothing(
    sparse: nn.Module, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.touch()
    monkeypatch.setenv("IDDL_CACHE", str(cache))
    force(monkeypatch, "gather")
    assert {choice.kernel for choice in optimize_(sparse, X, batch_sizes=(2,)).layers.values()} == {"gather"}


def test_a_model_whose_course_depends_on_its_input_keeps_its_norms(sparse: nn.Module) -> None:
    class Wavering(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) if x.sum() > -1e9 else x

    with torch.no_grad():
        before = sparse(X)
    deployed = optimize_(Wavering(sparse), X, batch_sizes=(2,), seconds=0.001)
    assert deployed.folded == 0
    with torch.no_grad():
        torch.testing.assert_close(deployed.model(X), before, rtol=1e-4, atol=1e-5)


def test_bad_arguments_are_named(sparse: nn.Module) -> None:
    for wrong in ((0,), (), (1.5,), 3):
        with pytest.raises(InvalidArgument, match="batch_sizes"):
            optimize_(sparse, X, batch_sizes=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="example_inputs"):
        optimize_(sparse, X[:0])
    with pytest.raises(InvalidArgument, match="model"):
        optimize_(nn.Linear(3, 3), torch.zeros(1, 3))


def test_every_kernel_says_where_it_runs() -> None:
    assert all(isinstance(kernel.available("cpu", torch.float32), bool) for kernel in KERNELS.values())


def test_answers_that_are_infinite_or_no_floats_are_compared(sparse: nn.Module) -> None:
    class Masked(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            out = self.inner(x)
            return out.masked_fill(torch.tensor([True, False, False, False]), float("-inf")), out > 1e9

    assert optimize_(Masked(sparse), X, batch_sizes=(2,), seconds=0.001).difference < 1e-4
