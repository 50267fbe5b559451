"""Worths by hand, by every name, by a function; and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from iddl_prune import InvalidArgument, compress, plan
from iddl_prune.importance import IMPORTANCES, worths


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 14, 3), nn.Flatten(), nn.Linear(56, 5)
    )


def labelled(batches: int = 3, size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 2, 6, 6, generator=generator), torch.randint(5, (size,), generator=generator))
        for _ in range(batches)
    ]


def test_the_worth_of_a_pair_is_the_loss_that_its_absence_costs() -> None:
    """To first order, by the difference quotient of the loss itself."""
    model, batches = net().double().eval(), [(x.double(), y) for x, y in labelled(2)]
    found = worths(model, ["3"], "taylor", batches)["3"]
    step = 1e-6
    for out, into in ((0, 0), (5, 7), (13, 11)):
        squares = []
        for inputs, labels in batches:
            before = F.cross_entropy(model(inputs), labels)
            with torch.no_grad():
                kept = model[3].weight[out, into].clone()
                model[3].weight[out, into] *= 1 - step
                after = F.cross_entropy(model(inputs), labels)
                model[3].weight[out, into] = kept
            squares.append(((after - before).item() / step) ** 2)
        assert found[out, into] == pytest.approx(np.mean(squares), rel=1e-3)


def test_hessian_is_the_squared_weight_times_the_mean_squared_gradient_of_single_examples() -> None:
    model, batches = net().double().eval(), [(x.double(), y) for x, y in labelled()]
    found = worths(model, ["5"], "hessian", batches)["5"]
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    features = model[:5](inputs).detach()
    error = model[5](features).softmax(1) - F.one_hot(labels, 5)
    fisher = error.square().T @ features.square() / len(labels)
    np.testing.assert_allclose(found, (model[5].weight.square() * fisher).detach().numpy())


@pytest.mark.parametrize("importance", [None, *IMPORTANCES])
def test_nothing_is_left_behind(importance: str | None) -> None:
    model = net()
    model[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = worths(model, ["0", "3"], importance, labelled())
    assert all(values.shape == model.get_submodule(name).weight.shape[:2] for name, values in found.items())
    assert all((values > 0).all() for values in found.values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model[3].weight.requires_grad
    assert model.training


def test_by_default_what_is_known_is_used() -> None:
    model, batches = net(), labelled()
    assert np.array_equal(worths(model, ["3"])["3"], worths(model, ["3"], "magnitude", batches)["3"])
    assert np.array_equal(worths(model, ["3"], None, batches)["3"], worths(model, ["3"], "activation", batches)["3"])
    assert not np.array_equal(worths(model, ["3"], None, batches)["3"], worths(model, ["3"])["3"])


def test_a_function_of_ones_own_settles_what_is_kept() -> None:
    seen = {}

    def first_inputs(name: str, module: nn.Module, power: torch.Tensor | None) -> torch.Tensor:
        seen[name] = power
        out, into = module.weight.shape[:2]
        return torch.linspace(1, 0, into).pow(8).expand(out, into)

    model, batches = net(), labelled()
    sparse = compress(
        model, batches[0][0], density=0.3, edge=1, calibration=batches, importance=first_inputs, repair=False
    )
    assert seen.keys() == {"3"}
    assert seen["3"] is not None
    assert seen["3"].shape == (12,)
    layer = sparse.plan.layers["3"]
    assert layer.worth == plan(model, batches[0][0], density=0.3, edge=1, importance=first_inputs).layers["3"].worth
    assert seen["3"] is None


@pytest.mark.parametrize(
    ("importance", "calibration", "message"),
    [
        ("size", None, "'importance' must be one of magnitude"),
        ("activation", None, "'calibration' must be given"),
        ("taylor", None, r"'calibration' must hold batches of \(inputs, labels\)"),
        ("hessian", torch.randn(4, 2, 6, 6), r"'calibration' must hold batches of \(inputs, labels\)"),
        ("taylor", [torch.randn(4, 2, 6, 6)], r"'calibration' must hold batches of \(inputs, labels\)"),
        (lambda *_: np.ones((2, 2)), None, r"'importance' must give '3' shape \(14, 12\), not \(2, 2\)"),
        (lambda *_: -np.ones((14, 12)), None, "not negative"),
    ],
)
def test_what_is_missing_or_wrong_is_named(importance: object, calibration: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        plan(net(), torch.randn(1, 2, 6, 6), density=0.3, importance=importance, calibration=calibration)
