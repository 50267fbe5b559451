"""What is counted agrees with a count by hand; what is timed is timed in turns, and nothing is changed."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bibdlib import construct
from iddl_prune import BIBDConv2d, BIBDLinear, InvalidArgument, SparsePattern
from iddl_prune.data import load
from iddl_prune.finetune import evaluate
from iddl_prune.measure import count_multiply_adds, count_weights, machine, measure, time_models
from iddl_prune.models import build, load_checkpoint


def fano(inputs: int, outputs: int) -> SparsePattern:
    return SparsePattern.from_design(inputs, outputs, construct(7, 3, 1))


def sparse_network() -> nn.Module:
    """Two inputs a point and one output a block in the convolution; one input a point, two outputs a block after."""
    return nn.Sequential(
        BIBDConv2d(14, 7, 3, stride=2, padding=1, pattern=fano(14, 7)),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        BIBDLinear(7, 14, pattern=fano(7, 14)),
        nn.Linear(14, 5),
    )


def test_kept_weights_and_their_uses_counted_by_hand():
    model = sparse_network()
    convolution, linear, classifier = 7 * (3 * 2) * 9, 14 * 3, 14 * 5
    assert count_weights(model) == (convolution + 7) + (linear + 14) + (classifier + 5)
    places = 5 * 4  # of a 10 x 8 image at stride 2
    assert count_multiply_adds(model, (14, 10, 8)) == convolution * places + linear + classifier


def test_a_linear_layer_over_many_positions_is_used_at_each():
    model = nn.Sequential(BIBDLinear(7, 14, pattern=fano(7, 14)))
    assert count_multiply_adds(model, (6, 7)) == 6 * 14 * 3


def test_a_dense_network_counted_by_hand():
    mlp = build("mlp", num_classes=10, input_shape=(1, 28, 28))
    products = 784 * 512 + 512 * 512 + 512 * 10
    assert count_multiply_adds(mlp, (1, 28, 28)) == products
    assert count_weights(mlp) == products + 512 + 512 + 10


def test_a_shared_weight_counts_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert count_weights(model) == 16 + 8


def test_measuring_changes_nothing():
    model = sparse_network()
    model[0].eval()
    modes = [module.training for module in model.modules()]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    measure({"sparse": model}, (14, 10, 8), seconds=0.0)
    assert [module.training for module in model.modules()] == modes
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_models_are_measured_side_by_side(tmp_path):
    digits = load("digits")
    sizes = {"small": (4,), "large": (400, 400)}
    models = {n: build("mlp", num_classes=10, input_shape=(1, 8, 8), hidden=h) for n, h in sizes.items()}
    found = measure(models, (1, 8, 8), test=digits.test, batch_sizes=(1, 16), seconds=0.2)
    assert list(found) == ["small", "large"]
    for name, measurement in found.items():
        assert measurement.accuracy == evaluate(models[name], digits.test)
        assert measurement.flops == 2 * measurement.multiply_adds
        assert measurement.weights == count_weights(models[name])
        save_file(models[name].state_dict(), tmp_path / "net.safetensors")
        assert measurement.size_bytes == (tmp_path / "net.safetensors").stat().st_size
        assert set(measurement.latency) == {1, 16}
        for latency in measurement.latency.values():
            assert 0 < latency.median_ms <= latency.p95_ms
            assert latency.rounds >= 5
        assert json.loads(json.dumps(measurement.to_dict()))["flops"] == measurement.flops
    assert found["large"].latency[1].rounds == found["small"].latency[1].rounds
    assert measure(models, (1, 8, 8), batch_sizes=())["small"].accuracy is None


class Recorder(nn.Module):
    """Writes down who is called, with what, in which mode."""

    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, x):
        self.calls.append((self.name, tuple(x.shape), self.training, torch.is_grad_enabled()))
        return x


def test_models_take_turns_warm_in_eval_mode_without_gradients():
    calls = []
    models = {name: Recorder(name, calls) for name in "abc"}
    latency = time_models(models, (2, 3), seconds=60.0, rounds=6)
    assert {call[1:] for call in calls} == {((2, 3), False, False)}
    names = "".join(call[0] for call in calls)
    assert names == "abcabc" + "abcbcacab" * 2
    assert {found.rounds for found in latency.values()} == {6}
    assert all(model.training for model in models.values())
    assert time_models({}, (2, 3)) == {}


def test_timing_ends_when_its_time_is_up_but_not_before_five_rounds():
    calls = []
    assert time_models({"a": Recorder("a", calls)}, (1, 1), seconds=0.0)["a"].rounds == 5
    with pytest.raises(InvalidArgument, match="'rounds' must be at least 5, not 4"):
        time_models({"a": Recorder("a", calls)}, (1, 1), rounds=4)


def test_the_machine_is_described():
    described = machine()
    assert described["torch"] == torch.__version__
    assert json.loads(json.dumps(described)) == described


def test_the_trained_resnet18_costs_what_its_makers_counted(shared):
    path = shared / "models" / "resnet18_cifar10.safetensors"
    model, _ = load_checkpoint(path, "resnet18", input_shape=(3, 32, 32))
    assert count_multiply_adds(model, (3, 32, 32)) == 557_889_024
    assert count_weights(model) == 11_173_962
    assert not any("total_ops" in name for name in copy.deepcopy(model).state_dict())
