"""Torch-Pruning's users change one line: same arguments, same step, and a refusal with its reason for the rest."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn
from torch.nn import functional as F

from iddl_prune import BIBDPruner, InvalidArgument, pattern_layers
from iddl_prune.pruner import _REFUSED
from tests.iddl_prune.test_plan import cifar_resnet18, mlp

IMAGES = torch.randn(16, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def test_the_one_line_that_changes() -> None:
    model, inputs = cifar_resnet18(), torch.randn(2, 3, 32, 32)
    arguments = {
        "importance": torch_pruning.importance.MagnitudeImportance(p=2),
        "pruning_ratio": 0.75,
        "ignored_layers": [model.fc, model.layer1],
        "pruning_ratio_dict": {model.layer2: 0.5, (model.layer3[1].conv1, model.layer3[1].conv2): 0},
    }
    torch_pruning.pruner.BasePruner(copy.deepcopy(model), inputs, arguments["importance"], pruning_ratio=0.75)
    pruner = BIBDPruner(model, inputs, **arguments, fit=False)
    pruner.step()
    layers = pattern_layers(model)
    assert pruner.plan is not None
    assert pruner.plan.reached() == pytest.approx(0.25, rel=0.05)
    assert not [name for name in layers if name.startswith(("layer1", "layer3.1", "fc"))]
    assert all(layers[name].pattern.density == pytest.approx(0.5, rel=0.16) for name in layers if "layer2" in name)
    model(inputs).sum().backward()
    with pytest.raises(InvalidArgument, match="'iterative_steps' allows 1"):
        pruner.step()


def test_every_argument_of_torch_pruning_is_taken_or_refused() -> None:
    theirs = set(inspect.signature(torch_pruning.pruner.BasePruner.__init__).parameters)
    ours = set(inspect.signature(BIBDPruner.__init__).parameters) | set(_REFUSED)
    assert theirs <= ours
    for name in _REFUSED:
        with pytest.raises(InvalidArgument, match=f"'{name}' has no meaning here: "):
            BIBDPruner(mlp(), IMAGES, **{name: None})


def test_steps_leave_less_and_less() -> None:
    model = mlp().eval()
    expected = model(IMAGES)
    pruner = BIBDPruner(
        model, IMAGES[:2], "activation", pruning_ratio=0.7, iterative_steps=2, calibration=IMAGES, permutation="groups"
    )
    densities = []
    for _ in range(2):
        pruner.step()
        densities.append(pruner.plan.reached())
        assert all(layer.pattern.verify() for layer in pattern_layers(model).values())
        assert (model(IMAGES) - expected).square().mean() < 0.5 * expected.square().mean()
    assert densities == pytest.approx([0.65, 0.3], rel=0.1)


def test_taylor_takes_the_gradients_that_backward_left_step_after_step() -> None:
    model = mlp()
    importance = torch_pruning.importance.TaylorImportance()
    pruner = BIBDPruner(model, IMAGES, importance, pruning_ratio=0.7, iterative_steps=2)
    with pytest.raises(InvalidArgument, match=r"needs gradients of '1': call loss.backward\(\)"):
        pruner.step()
    worth = np.ones(0)
    for _ in range(2):
        model.zero_grad()
        F.cross_entropy(model(IMAGES), torch.arange(16) % 10).backward()
        change = (model[1].weight * model[1].weight.grad).detach().double().square()
        if hasattr(model[1], "pattern"):
            worth = np.zeros((96, 144))
            worth.ravel()[model[1].pattern.positions] = change.numpy()
        else:
            worth = change.numpy()
        pruner.step()
        share = worth[model[1].pattern.mask()].sum() / worth.sum()
        assert pruner.plan.layers["1"].worth[0] == pytest.approx(share, rel=1e-4)


def test_hessian_takes_what_was_accumulated() -> None:
    model, importance = mlp(), torch_pruning.importance.HessianImportance()
    for loss in F.cross_entropy(model(IMAGES), torch.arange(16) % 10, reduction="none"):
        model.zero_grad()
        loss.backward(retain_graph=True)
        importance.accumulate_grad(model)
    worth = (model[3].weight.square() * importance._accu_grad[model[3].weight]).detach().double().numpy()
    pruner = BIBDPruner(model, IMAGES, importance, pruning_ratio=0.7)
    pruner.step()
    share = worth[model[3].pattern.mask()].sum() / worth.sum()
    assert pruner.plan.layers["3"].worth[0] == pytest.approx(share, rel=1e-4)
    assert np.isfinite(share)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pruning_ratio": 1.0}, "'pruning_ratio' must hold shares"),
        ({"iterative_steps": 0}, "'iterative_steps' must be at least 1"),
        ({"ignored_layers": [nn.Linear(2, 2)]}, "'ignored_layers' must hold modules of the model"),
        ({"ignored_layers": [nn.Linear]}, "'ignored_layers' must hold modules of the model"),
        ({"importance": torch_pruning.importance.LAMPImportance()}, "not LAMPImportance"),
        ({"importance": "size"}, "'importance' must be one of"),
        ({"pruning_ratio": 0.99}, "'pruning_ratio' must leave a layer to convert"),
    ],
)
def test_what_breaks_a_rule_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        BIBDPruner(mlp(), IMAGES, **change).step()
