"""Repair: what can be recovered is, and the sparse model answers more like the dense one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from iddl_prune import InvalidArgument, compress, pattern_layers, plan, prune_
from iddl_prune.importance import calibration_inputs, input_power, worth
from iddl_prune.recover import repair_


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 18, 3, stride=2, padding=1, padding_mode="circular", bias=False),
        nn.BatchNorm2d(18),
        nn.ReLU(),
        nn.Conv2d(18, 17, (1, 3), dilation=(1, 2), padding="same"),
        nn.Flatten(),
        nn.Linear(17 * 16, 32),
        nn.ReLU(),
        nn.Linear(32, 5),
    ).eval()


INPUTS = torch.randn(200, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_weights_that_fit_the_pattern_are_found_again() -> None:
    dense = network()
    model = prune_(copy.deepcopy(dense), plan(dense, INPUTS[:2], density=0.4, fit=False))
    teacher = copy.deepcopy(dense)
    for name, layer in pattern_layers(model).items():
        parent, _, attribute = name.rpartition(".")
        setattr(teacher.get_submodule(parent), attribute, layer.to_dense())
    with torch.no_grad():
        for layer in pattern_layers(model).values():
            layer.weight.add_(0.3 * torch.randn_like(layer.weight))
            if layer.bias is not None:
                layer.bias.add_(1)
    repaired = copy.deepcopy(model)
    repair_(repaired, teacher, INPUTS, ridge=1e-7)
    torch.testing.assert_close(repaired[:4](INPUTS), teacher[:4](INPUTS), rtol=1e-3, atol=1e-3)
    answers, norm = repaired[:3](INPUTS).detach(), repaired[3]
    torch.testing.assert_close(norm.running_mean, answers.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.running_var, answers.var((0, 2, 3)), rtol=1e-3, atol=1e-3)
    found, before = repaired[2].dense_weight().flatten(1), model[2].dense_weight().flatten(1)
    torch.testing.assert_close(F.normalize(found), F.normalize(teacher[2].weight.flatten(1)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.norm(dim=1), before.norm(dim=1))


def test_repair_brings_the_answers_nearer() -> None:
    dense = network()
    model = prune_(copy.deepcopy(dense), plan(dense, INPUTS[:2], density=0.4))
    wanted = dense(INPUTS)
    before = (model(INPUTS) - wanted).square().mean()
    repair_(model, dense, INPUTS)
    after = (model(INPUTS) - wanted).square().mean()
    assert after < 0.7 * before
    assert not model.training


def test_power_and_worth() -> None:
    dense = network()
    power = input_power(dense, ["2", "7"], INPUTS)
    reached = dense[:2](INPUTS)
    torch.testing.assert_close(power["2"], reached.square().mean((0, 2, 3)))
    torch.testing.assert_close(power["7"], dense[:7](INPUTS).square().mean(0))
    by_hand = dense[2].weight.detach().double().square().sum((2, 3)) * power["2"].double()
    torch.testing.assert_close(torch.from_numpy(worth(dense[2], power["2"])), by_hand)
    decided = plan(dense, INPUTS[:2], density=0.4, calibration=[(INPUTS[:100], None), (INPUTS[100:], None)])
    assert decided == plan(dense, INPUTS[:2], density=0.4, calibration=INPUTS)
    assert decided != plan(dense, INPUTS[:2], density=0.4)


def test_bad_arguments_are_named() -> None:
    dense = network()
    model = prune_(copy.deepcopy(dense), plan(dense, INPUTS[:2], density=0.4))
    with pytest.raises(InvalidArgument, match="ridge"):
        repair_(model, dense, INPUTS, ridge=0)
    with pytest.raises(InvalidArgument, match="rows"):
        repair_(model, dense, INPUTS, rows=0)
    with pytest.raises(InvalidArgument, match="dense"):
        repair_(model, nn.Sequential(nn.Flatten()), INPUTS)
    with pytest.raises(InvalidArgument, match="calibration"):
        calibration_inputs([])


def test_compress_is_plan_convert_repair_and_leaves_the_dense_model_alone() -> None:
    dense = network()
    before = copy.deepcopy(dense.state_dict())
    sparse = compress(dense, INPUTS[:2], density=0.4, calibration=[(INPUTS, None)])
    by_steps = prune_(copy.deepcopy(dense), plan(dense, INPUTS[:2], density=0.4, calibration=INPUTS))
    repair_(by_steps, dense, INPUTS)
    assert sparse.plan == plan(dense, INPUTS[:2], density=0.4, calibration=INPUTS)
    assert all(torch.equal(value, by_steps.state_dict()[name]) for name, value in sparse.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())


def test_compress_refuses_a_density_that_leaves_nothing_to_convert() -> None:
    with pytest.raises(InvalidArgument, match=r"'density'.*(\n.*)*too narrow"):
        compress(network(), INPUTS[:2], density=0.01)


def test_compress_refuses_a_model_that_is_sparse_already() -> None:
    sparse = compress(network(), INPUTS[:2], density=0.25)
    with pytest.raises(InvalidArgument, match=r"'model' must be dense.*to_dense"):
        compress(sparse, INPUTS[:2], density=0.2)


@pytest.mark.parametrize(("calibration", "message"), [(1000, "iterable of batches, not 1000"), ([{}], "not dict")])
def test_compress_names_what_calibration_must_hold(calibration: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'calibration'.*{message}"):
        compress(network(), INPUTS[:2], density=0.25, calibration=calibration)
