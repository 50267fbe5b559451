"""Torch takes a sparse layer for one of its own: copies, states, compilers, exporters, parallel training."""

import copy
import io
import shutil

import pytest
import torch
from torch import distributed, nn

import bibdlib
from iddl_prune import SparsePattern, pattern_layers, plan, prune_
from iddl_prune.layers import BIBDConv2d, BIBDLinear
from iddl_prune.models import build


def linear() -> tuple[nn.Module, tuple[int, ...]]:
    return BIBDLinear(20, 31, pattern=SparsePattern.from_design(20, 31, bibdlib.construct(13, 4, 1))), (20,)


def conv2d() -> tuple[nn.Module, tuple[int, ...]]:
    pattern = SparsePattern.from_design(20, 31, bibdlib.construct(13, 4, 1))
    return BIBDConv2d(20, 31, 3, stride=2, padding=1, pattern=pattern), (20, 7, 6)


def resnet() -> tuple[nn.Module, tuple[int, ...]]:
    model = build("resnet18", num_classes=4, input_shape=(3, 8, 8))
    sparse = prune_(model, plan(model, torch.zeros(1, 3, 8, 8), density=0.125, fit=False))
    assert len(pattern_layers(sparse)) > 10
    return sparse, (3, 8, 8)


@pytest.fixture(params=[linear, conv2d, resnet], ids=lambda make: make.__name__)
def made(request) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model, shape = request.param()
    return model.eval(), torch.randn(3, *shape)


def gradients(model: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    model(inputs).square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_a_copy_is_equal_and_apart(made):
    model, inputs = made
    expected = model(inputs)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(twin(inputs), expected)


def test_a_state_goes_through_a_file_into_another_model(made):
    model, inputs = made
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(inputs), model(inputs))


def test_it_compiles_to_one_graph_forward_and_back(made):
    model, inputs = made
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs), model(inputs))
    for mine, theirs in zip(gradients(compiled, inputs), gradients(model, inputs), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_torch_s_own_compiler_takes_it():
    torch.manual_seed(0)
    model, shape = linear()
    compiled = torch.compile(nn.Sequential(model, nn.ReLU()), fullgraph=True)
    inputs = torch.randn(3, *shape)
    torch.testing.assert_close(compiled(inputs), model(inputs).relu())


def test_torch_exports_it_in_torch_s_own_operators(made):
    model, inputs = made
    program = torch.export.export(model, (inputs,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert names
    assert all(name.startswith("aten.") for name in names), names
    for batch in (inputs, inputs[:2], torch.cat([inputs] * 3)):
        torch.testing.assert_close(program.module()(batch), model(batch))


def test_parallel_training_takes_its_gradients(made, tmp_path):
    model, inputs = made
    expected = gradients(model, inputs)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        found = gradients(nn.parallel.DistributedDataParallel(model), inputs)
    finally:
        distributed.destroy_process_group()
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
