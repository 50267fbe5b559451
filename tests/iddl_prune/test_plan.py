"""Plans change nothing, say why, and are carried out whole or not at all."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from iddl_prune import BIBDConv2d, BIBDLinear, InvalidArgument, Plan, pattern_layers, plan, prune_


def cifar_resnet18() -> nn.Module:
    model = resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 96), nn.ReLU(), nn.Linear(96, 80), nn.ReLU(), nn.Linear(80, 10))


class Mixed(nn.Module):
    """Everything the rules speak of, in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3)
        self.depthwise = nn.Conv2d(32, 32, 3, groups=32)
        self.body = nn.Conv2d(32, 32, 3)
        self.narrow = nn.Linear(32, 3)
        self.tied = nn.Linear(32, 32)
        self.twin = nn.Linear(32, 32)
        self.twin.weight = self.tied.weight
        self.idle = nn.Linear(32, 32)
        self.attention = nn.MultiheadAttention(32, 4)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(self.depthwise(self.stem(x))).mean((2, 3))
        return self.head(self.narrow(self.twin(self.tied(x))))


def test_rules_and_their_reasons() -> None:
    decided = plan(Mixed(), torch.randn(1, 3, 12, 12), density=0.4)
    assert set(decided.layers) == {"body"}
    reasons = {
        "stem": "first convolution",
        "depthwise": "depthwise",
        "narrow": "too narrow",
        "tied": "shares",
        "twin": "shares",
        "idle": "not reached",
        "attention.out_proj": "NonDynamicallyQuantizableLinear",
        "head": "classifier",
    }
    assert set(decided.skipped) == set(reasons)
    for name, reason in reasons.items():
        assert reason in decided.skipped[name]
        assert reason in str(decided)


def test_filter_overrides_the_rules() -> None:
    wishes = {"1": False, "5": True}
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.ReLU(), nn.Linear(36, 36), nn.ReLU(), nn.Linear(36, 21))
    decided = plan(model, torch.randn(2, 36), density=0.4, filter_fn=lambda name, module: wishes.get(name))
    assert set(decided.layers) == {"3", "5"}
    assert decided.skipped == {"1": "left dense by the filter"}


@pytest.mark.parametrize(
    ("model", "inputs", "converted"),
    [
        (resnet18(num_classes=10), torch.randn(1, 3, 64, 64), 19),
        (cifar_resnet18(), torch.randn(1, 3, 32, 32), 19),
        (mlp(), torch.randn(2, 1, 12, 12), 2),
    ],
    ids=["imagenet-stem", "cifar-stem", "mlp"],
)
def test_models_convert_and_still_run(model: nn.Module, inputs: torch.Tensor, converted: int) -> None:
    before = copy.deepcopy(model.state_dict())
    model.train()
    decided = plan(model, inputs, density=0.25)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert len(decided.layers) == converted
    prune_(model, decided)
    layers = pattern_layers(model)
    assert set(layers) == set(decided.layers)
    for name, layer in layers.items():
        assert layer.pattern.verify()
        dense = before[f"{name}.weight"]
        assert layer.weight.numel() == pytest.approx(0.25 * dense.numel(), rel=0.35)
        kept = dense * (layer.dense_weight() != 0)
        assert torch.equal(layer.dense_weight(), kept)
    out = model(inputs.repeat(2, *[1] * (inputs.ndim - 1)))
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_random_plan_has_the_same_degrees_and_no_design() -> None:
    inputs = torch.randn(2, 1, 12, 12)
    exact = plan(mlp(), inputs, density=0.25, fit=False)
    control = plan(mlp(), inputs, density=0.25, design="random", fit=False, seed=3)
    for name, layer in control.layers.items():
        pattern, twin = layer.pattern(), exact.layers[name].pattern()
        assert pattern.blocks.shape == twin.blocks.shape
        assert pattern.kept == pytest.approx(twin.kept, rel=0.03)  # ragged groups weigh a little unequally
        assert not pattern.is_design
    model = prune_(mlp(), control)
    assert isinstance(model[1], BIBDLinear)


def test_every_layer_and_every_seed_draws_its_own_random_pattern() -> None:
    layers = [nn.Linear(36, 36) for _ in range(4)]
    model = nn.Sequential(*layers)
    digests = {
        layer.pattern().digest
        for seed in (0, 1)
        for layer in plan(
            model, torch.randn(2, 36), density=0.4, edge=1, design="random", fit=False, seed=seed
        ).layers.values()
    }
    assert len(digests) == 2 * (len(layers) - 1)


def test_plan_survives_json() -> None:
    decided = plan(cifar_resnet18(), torch.randn(1, 3, 32, 32), density=0.125, design="random", starts=1)
    assert Plan.from_dict(json.loads(json.dumps(decided.to_dict()))) == decided
    with pytest.raises(InvalidArgument, match="format"):
        Plan.from_dict({**decided.to_dict(), "format": 99})
    with pytest.raises(InvalidArgument, match="every field"):
        Plan.from_dict({"format": 1})


def test_a_plan_that_does_not_fit_changes_nothing() -> None:
    inputs = torch.randn(2, 1, 12, 12)
    decided = plan(mlp(), inputs, density=0.25)
    other = nn.Sequential(nn.Flatten(), nn.Linear(144, 96), nn.ReLU(), nn.Linear(96, 81))
    with pytest.raises(InvalidArgument, match="'3'"):
        prune_(other, decided)
    with pytest.raises(InvalidArgument, match="'3'"):
        prune_(nn.Sequential(nn.Flatten(), nn.Linear(144, 96)), decided)
    assert isinstance(other[1], nn.Linear)


def test_a_lone_layer_cannot_be_replaced_in_place() -> None:
    decided = plan(nn.Linear(32, 32), torch.randn(1, 32), density=0.4)
    assert "nn.Sequential" in decided.skipped[""]


@pytest.mark.parametrize("change", [{"density": 0.0}, {"density": 1.5}, {"design": "magic"}, {"edge": 0}])
def test_bad_arguments_are_named(change: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(change))):
        plan(mlp(), torch.randn(2, 1, 12, 12), **{"density": 0.25, **change})


def test_convolutions_stay_convolutions() -> None:
    model = prune_(cifar_resnet18(), plan(cifar_resnet18(), torch.randn(1, 3, 32, 32), density=0.125))
    assert isinstance(model.layer1[0].conv1, BIBDConv2d)
    assert isinstance(model.conv1, nn.Conv2d)


def test_fitted_channels_keep_more_and_stay_a_design() -> None:
    model, inputs = mlp(), torch.randn(2, 1, 12, 12)
    decided = plan(model, inputs, density=0.25)
    for name, layer in decided.layers.items():
        assert layer.worth is not None
        kept, unfitted, ceiling = layer.worth
        assert unfitted < kept < ceiling
        pattern = layer.pattern()
        assert pattern.verify()
        weight = model.get_submodule(name).weight.detach().double()
        share = weight.square()[torch.from_numpy(pattern.mask())].sum() / weight.square().sum()
        assert share.item() == pytest.approx(kept)


def test_a_plan_tells_what_its_fit_took_and_kept() -> None:
    inputs = torch.randn(2, 1, 12, 12)
    model = mlp()
    free, groups, unfitted = (
        plan(model, inputs, density=0.25, **change) for change in ({}, {"permutation": "groups"}, {"fit": False})
    )
    assert free.seconds.keys() == free.layers.keys()
    assert groups.seconds.keys() == {"all layers"}
    assert not unfitted.seconds
    for decided in (free, groups):
        header, *rows = decided.rows()
        assert {len(row) for row in rows} == {len(header)}
        total = dict(zip(header, rows[-1], strict=True))
        assert total["fit"] == f"{sum(decided.seconds.values()):.1f} s"
        mean = sum(layer.worth[0] for layer in decided.layers.values() if layer.worth) / len(decided.layers)
        assert total["worth kept"].startswith(f"mean {mean:.0%} (as it falls")
    assert "mean" not in str(unfitted)


def test_how_long_a_fit_took_makes_no_other_plan() -> None:
    decided = plan(mlp(), torch.randn(2, 1, 12, 12), density=0.25)
    assert replace(decided, seconds={}) == decided
    assert Plan.from_dict(decided.to_dict()).seconds == decided.seconds
    older = {name: value for name, value in decided.to_dict().items() if name != "seconds"}
    assert Plan.from_dict(older) == decided
