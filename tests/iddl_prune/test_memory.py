"""What sparse layers hold and what a pass takes beside the dense net, counted by torch's own record of allocations."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from iddl_prune import pattern_layers, plan, prune_
from iddl_prune.models import build

DENSITY = 0.125
NETS = {"mlp": ((1, 28, 28), 256), "resnet18": ((3, 32, 32), 4)}
# Tile 1 is where indices are most, cells are what is planned by default.
PLANS = {"default": {}, "tiles of 1": {"edge": 1}, "one design": {"cells": False}}


def most_at_once(call: Callable[[], object]) -> int:
    """Bytes that torch's allocator gave out beyond those it held before, at the worst moment."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        call()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    assert most
    return most


def resident(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


@pytest.fixture(params=[(net, options) for net in NETS for options in PLANS], ids=" ".join)
def sides(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """Dense, sparse, and a batch."""
    name, options = request.param
    shape, batch = NETS[name]
    torch.manual_seed(0)
    dense = build(name, num_classes=10, input_shape=shape)
    decided = plan(dense, torch.zeros(1, *shape), density=DENSITY, fit=False, **PLANS[options])
    sparse = prune_(copy.deepcopy(dense), decided)
    for layer in pattern_layers(sparse).values():
        layer.use_kernel("vector")
    return dense, sparse, torch.randn(batch, *shape)


def test_a_forward_pass_takes_no_more_than_dense(sides: tuple[nn.Module, nn.Module, torch.Tensor]) -> None:
    *models, x = sides
    taken = []
    with torch.no_grad():
        for model in models:
            model.eval()(x)  # code is made and tables are laid out
            taken.append(resident(model) + most_at_once(lambda model=model: model(x)))
    dense, sparse = taken
    assert sparse <= dense


def test_a_training_step_takes_little_more_than_dense(sides: tuple[nn.Module, nn.Module, torch.Tensor]) -> None:
    *models, x = sides
    taken = []
    for model in models:
        optimizer = torch.optim.Adam(model.parameters())

        def step(model: nn.Module = model, optimizer: torch.optim.Optimizer = optimizer) -> None:
            F.cross_entropy(model(x), torch.zeros(len(x), dtype=torch.long)).backward()
            optimizer.step()

        step()
        optimizer.zero_grad()
        state = sum(value.nbytes for state in optimizer.state.values() for value in state.values())
        taken.append(resident(model) + state + most_at_once(step))
    dense, sparse = taken
    assert sparse <= 1.3 * dense


def test_what_is_trained_scales_with_the_density(sides: tuple[nn.Module, nn.Module, torch.Tensor]) -> None:
    dense, sparse, x = sides
    names = list(pattern_layers(sparse))
    density = sum(layer.weight.numel() for layer in pattern_layers(sparse).values()) / sum(
        dense.get_submodule(name).weight.numel() for name in names
    )
    assert density == pytest.approx(DENSITY, rel=0.15)
    held = []
    for model in (dense, sparse):
        layers = [model.get_submodule(name) for name in names]
        parameters = [parameter for layer in layers for parameter in layer.parameters()]
        optimizer = torch.optim.Adam(parameters)
        F.cross_entropy(model(x), torch.zeros(len(x), dtype=torch.long)).backward()
        optimizer.step()
        states = [value for parameter in parameters for value in optimizer.state[parameter].values() if value.ndim]
        held.append([sum(t.nbytes for t in kind) for kind in (parameters, [p.grad for p in parameters], states)])
    for whole, kept in zip(*held, strict=True):
        assert kept <= 1.05 * density * whole
