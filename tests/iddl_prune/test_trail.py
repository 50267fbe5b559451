"""The trail of a layer's answer, and what repair makes of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from iddl_prune import compress, pattern_layers, plan, prune_
from iddl_prune.least_squares import LeastSquares, rows_of
from iddl_prune.recover import renew_norms_, repair_
from iddl_prune.trail import Trail


class Block(nn.Module):
    """A residual block; in place or not, the branch as the first term or the second, then ReLU or nothing."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.conv1, self.norm1 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, bias=kind == "biased"), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 4)
        for norm in (self.norm1, self.norm2):
            nn.init.uniform_(norm.weight, -1, 1)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        out = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu_()))
        if self.kind == "in place":
            out += x
        elif self.kind == "second term":
            out = x + out
        else:
            out = out + x
        return self.head((out if self.kind == "no relu" else out.relu()).mean((2, 3)))


INPUTS = torch.randn(150, 3, 6, 6, generator=torch.Generator().manual_seed(1))
KINDS = ["in place", "second term", "biased", "no relu"]


def sparse_twin(dense: Block) -> Block:
    renew_norms_(dense.eval(), INPUTS)
    return prune_(copy.deepcopy(dense), plan(dense, INPUTS[:2], density=0.4))


class Diary(Trail):
    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, {name: model.get_submodule(name) for name in ("conv1", "conv2")})
        self.lines: list[str] = []

    def after_layer(self, name: str, answer: Tensor) -> None:
        self.lines.append(f"{name} answers")

    def after_norm(self, norm: nn.Module, answer: Tensor, name: str) -> None:
        self.lines.append(f"{name} is normalised")

    def before_sum(self, terms: dict[str, tuple[Tensor, Tensor]]) -> str:
        (name,) = terms
        return name

    def after_sum(self, name: str, result: Tensor) -> None:
        self.lines.append(f"{name} is added")

    def at_relu(self, name: str) -> None:
        self.lines.append(f"{name} is rectified")


@pytest.mark.parametrize("kind", KINDS)
def test_the_trail_leads_through_norm_sum_and_relu(kind: str) -> None:
    diary = Diary(Block(kind))
    diary.follow(INPUTS)
    expected = [f"conv1 {what}" for what in ("answers", "is normalised", "is rectified")]
    expected += [f"conv2 {what}" for what in ("answers", "is normalised", "is added", "is rectified")]
    assert diary.lines == (expected[:-1] if kind == "no relu" else expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_branch_makes_up_for_what_it_is_added_to(kind: str) -> None:
    dense = Block(kind)
    model = sparse_twin(dense)
    with torch.no_grad():
        model.stem.weight.mul_(0.8)
    wanted = dense(INPUTS)

    def loss(model: nn.Module) -> Tensor:
        return (model(INPUTS) - wanted).square().mean()

    without = copy.deepcopy(model)
    twin = copy.deepcopy(dense)
    for network in (without, twin):  # a product with one hides the sum from the trail
        network.norm2 = nn.Sequential(network.norm2, Scaled())
    repair_(without, twin, INPUTS)
    repair_(model, dense, INPUTS)
    assert loss(model) < 0.8 * loss(without)


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_answers_what_was_solved_in_either_mode(kind: str) -> None:
    dense = Block(kind)
    model = sparse_twin(dense)
    repair_(model, dense, INPUTS)
    with torch.no_grad():
        in_eval_mode, in_training = model(INPUTS), model.train()(INPUTS)
    torch.testing.assert_close(in_eval_mode, in_training, rtol=1e-2, atol=1e-3)


def test_a_solution_has_the_least_squares() -> None:
    torch.manual_seed(2)
    dense = Block("in place")
    layer = pattern_layers(sparse_twin(dense))["conv1"]
    x, wanted, other = torch.randn(40, 16, 6, 6), torch.randn(1440, 16), torch.randn(1440, 16)
    equations = LeastSquares(layer, x, torch.arange(1440), scale=torch.ones(16), ridge=1e-6, offset=True)
    weight, constant = equations.solve(wanted)
    mask = layer.dense_weight().flatten(1) != 0
    assert (weight[~mask] == 0).all()
    best = (equations.answers(weight, constant) - wanted).square().sum(0)
    for _ in range(5):
        nearby = weight + 0.01 * torch.randn_like(weight) * mask
        assert ((equations.answers(nearby, constant) - wanted).square().sum(0) > best).all()
    assert ((equations.answers(weight, constant + 0.01) - wanted).square().sum(0) > best).all()
    with torch.no_grad():
        layer.weight.copy_(weight.view(16 * 16, 3, 3)[torch.from_numpy(layer.pattern.positions)])
        torch.testing.assert_close(
            rows_of(layer, layer(x), torch.arange(1440)) + constant, equations.answers(weight, constant)
        )

    def missed(solution: tuple[Tensor, Tensor]) -> Tensor:
        given = equations.answers(*solution) + other
        return torch.where(wanted > 0, given - wanted, given.clamp_min(0)).square().sum()

    losses = [missed(equations.rectified(wanted, other, rounds)) for rounds in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.98 * losses[0]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (1, 3), "dilation": (1, 2), "padding": "same"},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (2, 1)},
        {"kernel_size": 3, "padding": (1, 2), "padding_mode": "circular", "stride": 2},
    ],
)
def test_equations_read_what_the_layer_reads(options: dict[str, Any]) -> None:
    torch.manual_seed(4)
    dense = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, bias=False, **options))
    layer = pattern_layers(prune_(dense, plan(dense, INPUTS[:2], density=0.4)))["1"]
    x = torch.randn(3, 16, 7, 5)
    out = layer(x).detach()
    rows = torch.randperm(out.numel() // 16)
    equations = LeastSquares(layer, x, rows, scale=torch.ones(16), ridge=1e-3, offset=False)
    answers = equations.answers(equations.before, torch.zeros(16))
    torch.testing.assert_close(answers.detach(), rows_of(layer, out, rows), rtol=1e-4, atol=1e-5)


def test_renewed_statistics_are_those_of_the_inputs() -> None:
    dense = Block("in place")
    renew_norms_(dense.eval(), INPUTS)
    reached = dense.conv1(dense.stem(INPUTS).relu()).detach()
    torch.testing.assert_close(dense.norm1.running_mean, reached.mean((0, 2, 3)))
    torch.testing.assert_close(dense.norm1.running_var, reached.var((0, 2, 3)))


def test_norms_that_learn_nothing_are_only_renewed() -> None:
    torch.manual_seed(3)
    dense = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.Conv2d(16, 16, 3),
        nn.BatchNorm2d(16, affine=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 3),
    ).eval()
    renew_norms_(dense, INPUTS)
    model = compress(dense, INPUTS[:2], density=0.4, calibration=INPUTS)
    reached = model[:2](INPUTS)
    torch.testing.assert_close(model[2].running_var, reached.var((0, 2, 3)))
    assert (model(INPUTS) - dense(INPUTS)).square().mean() < dense(INPUTS).var()
