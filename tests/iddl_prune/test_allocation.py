"""Shares that add up: to the density asked, in the unit asked, and never below what a design can have."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, randn

import bibdlib
from iddl_prune import InvalidArgument, Override, Plan, plan
from iddl_prune.allocation import ALLOCATIONS, BUDGETS, allocate
from iddl_prune.choice import TOLERANCE, alternatives, choose, nearest, refusal
from iddl_prune.survey import Surveyed, survey
from tests.iddl_prune.test_plan import cifar_resnet18, mlp


@st.composite
def surveys(draw: st.DrawFn) -> dict[str, Surveyed]:
    """Linear layers and convolutions of moderate widths, used several times or once."""
    width = st.sampled_from((24, 32, 48, 64, 100, 128, 192))
    taps = st.sampled_from(((), (1, 1), (3, 3)))
    layer = st.builds(Surveyed, st.just("Conv2d"), width, width, taps, st.sampled_from((1, 16, 256)), st.none())
    return {str(i): one for i, one in enumerate(draw(st.lists(layer, min_size=2, max_size=6)))}


def some_worth(layers: dict[str, Surveyed]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {name: generator.random((x.out_features, x.in_features)) ** 4 for name, x in layers.items()}


@given(surveys(), st.sampled_from((0.3, 0.4)), st.sampled_from(BUDGETS), st.sampled_from(ALLOCATIONS))
def test_the_total_is_met_in_either_unit(layers, density: float, budget: str, allocation: str) -> None:
    found = allocate(layers, density, budget=budget, allocation=allocation, worth=some_worth(layers))
    cost = {name: layer.weights if budget == "weights" else layer.multiply_adds for name, layer in layers.items()}
    total = sum(cost[name] for name in found.densities)
    told = sum(cost[name] * share for name, share in found.densities.items())
    assert told == pytest.approx(density * total, rel=0.01)
    got = sum(cost[name] * (found.choices[name].density if name in found.choices else 1) for name in found.densities)
    assert got == pytest.approx(density * total, rel=2 * TOLERANCE)
    for name, choice in found.choices.items():
        p = choice.parameters
        assert p.v * choice.edge < layers[name].in_features + choice.edge
        assert p.b * choice.edge < layers[name].out_features + choice.edge
    assert found.choices.keys() | found.refused.keys() == layers.keys()


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("density", [0.25, 0.125])
def test_resnet18_reaches_what_is_asked(budget: str, allocation: str, density: float) -> None:
    decided = plan(
        cifar_resnet18(), randn(1, 3, 32, 32), density=density, budget=budget, allocation=allocation, fit=False
    )
    assert decided.reached() == pytest.approx(density, rel=0.035)
    assert decided.reached(budget) == decided.reached()
    assert Plan.from_dict(decided.to_dict()) == decided


def test_costs_are_those_of_the_layers() -> None:
    model, inputs = cifar_resnet18(), randn(2, 3, 32, 32)
    found = survey(model, inputs)
    assert found["layer2.0.conv1"].multiply_adds == 128 * 64 * 9 * 16 * 16
    assert found["conv1"].multiply_adds == 64 * 3 * 9 * 32 * 32
    assert found["fc"].multiply_adds == found["fc"].weights == 5120
    assert survey(nn.Sequential(nn.Linear(8, 9), nn.Linear(9, 8)), randn(3, 5, 8))["0"].places == 5
    decided = plan(model, inputs, density=0.25, fit=False)
    layer = decided.layers["layer2.0.conv1"]
    assert decided.kept("layer2.0.conv1") == (layer.pattern().kept * 9, layer.pattern().kept * 9 * 256)
    assert "25.0% of weights" in str(decided)


def test_erk_is_proportional_to_the_fans_over_the_weights() -> None:
    layers = {"narrow": Surveyed("Linear", 64, 64, (), 1, None), "wide": Surveyed("Linear", 256, 256, (), 1, None)}
    erk = allocate(layers, 0.2, allocation="erk").densities
    assert erk["narrow"] / erk["wide"] == pytest.approx(4, rel=1e-6)
    layers = {name: replace(layer, kind="Conv2d", taps=(3, 5)) for name, layer in layers.items()}
    erk = allocate(layers, 0.2, allocation="erk").densities
    assert erk["narrow"] / erk["wide"] == pytest.approx(16 * (64 + 64 + 3 + 5) / (256 + 256 + 3 + 5), rel=1e-6)


@given(surveys(), st.sampled_from(BUDGETS), st.integers(0, 99))
def test_no_other_allotment_loses_less_worth_than_sensitivity(layers, budget: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    powers, scales = generator.uniform(1, 8, len(layers)), 10 ** generator.uniform(-3, 3, len(layers))
    worth = {
        name: scale * values**power
        for (name, values), power, scale in zip(some_worth(layers).items(), powers, scales, strict=True)
    }

    def kept(allocation: str) -> float:
        shares = allocate(layers, 0.4, budget=budget, allocation=allocation, worth=worth).densities
        best = {name: np.sort(worth[name], axis=None)[::-1] for name in shares}
        return sum(
            best[name][: round(share * best[name].size)].sum() / best[name].sum() for name, share in shares.items()
        )

    assert kept("sensitivity") >= max(kept("uniform"), kept("erk")) * (1 - 1e-3)


SHORTCUTS = {f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)}


def test_overrides_are_kept_and_the_others_make_up_for_them() -> None:
    model, inputs = cifar_resnet18(), randn(1, 3, 32, 32)
    told = {"layer1.*": 0.5, "layer4.1.conv2": Override(0.25, 4), "layer2.0.conv1": 1, "layer3.*": Override(edge=4)}
    told |= {"*downsample*": 1}
    decided = plan(model, inputs, density=0.25, overrides=told, fit=False)
    assert decided.reached() == pytest.approx(0.25, rel=0.02)
    assert decided.layers["layer1.0.conv1"].density == pytest.approx(0.5, rel=TOLERANCE)
    assert set(decided.skipped) == {"conv1", "fc", "layer2.0.conv1", *SHORTCUTS}
    assert decided.layers["layer4.1.conv2"].edge == decided.layers["layer3.0.conv1"].edge == 4
    assert decided.skipped["layer2.0.conv1"] == "given all its weights"
    assert decided.allotted["layer4.0.conv1"] < 0.25
    with pytest.raises(InvalidArgument, match=r"'overrides' must name layers .*conv9"):
        plan(model, inputs, density=0.25, overrides={"conv9": 0.5})
    with pytest.raises(InvalidArgument, match=r"'overrides' must give 'layer1.0.conv1' .*3 / 64"):
        plan(model, inputs, density=0.25, overrides={"layer1.0.conv1": 0.02})
    with pytest.raises(InvalidArgument, match=r"'overrides' must leave .* not take 0.37"):
        plan(model, inputs, density=0.1, overrides={"layer4.*": 0.5})
    with pytest.raises(InvalidArgument, match=r"'overrides', '\*': .*between 0 and 1"):
        plan(model, inputs, density=0.1, overrides={"*": 1.5})


@pytest.mark.parametrize("change", [{"budget": "bytes"}, {"allocation": "fair"}])
def test_bad_arguments_are_named(change: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(change))):
        plan(mlp(), randn(2, 1, 12, 12), density=0.25, **change)


@given(st.integers(3, 90), st.integers(3, 90))
def test_no_design_is_sparser_than_the_bound(in_features: int, out_features: int) -> None:
    for cells, bound in ((False, 1 / sqrt(out_features)), (True, 3 / out_features - 1e-9)):
        sparsest = nearest(in_features, out_features, 1e-6, cells=cells)
        if sparsest is not None:
            assert sparsest.density > bound
            assert bibdlib.find(sparsest.parameters)
            assert choose(in_features, out_features, sparsest.density, 1, cells) is not None


def test_a_refusal_names_the_bound_and_the_nearest_design() -> None:
    assert choose(512, 512, 0.04, 1, cells=False) is None
    told = refusal(512, 512, 0.04, 1, cells=False)
    assert "1 / sqrt(512) = 0.0442" in told
    assert "(101, 5, 1), density 0.0495" in told
    assert "sqrt" not in refusal(3, 3, 0.9, cells=False)
    assert "3 blocks, and so keeps at least 3 / 64" in refusal(64, 64, 0.02)
    decided = plan(mlp(), randn(2, 1, 12, 12), density=0.04, cells=False)
    assert "sqrt(96)" in decided.skipped["1"]
    assert "1" in plan(mlp(), randn(2, 1, 12, 12), density=0.04, fit=False).layers


def test_alternatives_ascend_and_stay_near() -> None:
    found = alternatives(128, 128, 0.2)
    densities = [choice.density for choice in found]
    assert densities == sorted(set(densities))
    assert len(found) > 3
    assert all(0.2 * (1 - TOLERANCE) <= density <= 0.2 * (1 + TOLERANCE) for density in densities)
