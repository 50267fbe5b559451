"""The density is reached in steps: every step an exact design, the last one that asked for."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

from iddl_prune import InvalidArgument, compress, pattern_layers
from iddl_prune.checkpoint import from_pretrained
from iddl_prune.data import load
from iddl_prune.densify import densities, gradually
from iddl_prune.pipeline import Settings, run
from iddl_prune.run import TrainConfig


def test_the_cubic_schedule_falls_to_the_density():
    assert densities(0.2, 1) == (0.2,)
    assert densities(0.2, 2) == pytest.approx((0.3, 0.2))
    falling = densities(0.1, 5)
    assert list(falling) == sorted(falling, reverse=True)
    with pytest.raises(InvalidArgument, match="'steps' must be at least 1, not 0"):
        densities(0.2, 0)
    with pytest.raises(InvalidArgument, match=r"'density' must lie between 0 and 1, not 1.5"):
        densities(1.5, 2)


def test_every_step_is_a_design_and_only_what_was_kept_goes_on():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(64, 52), nn.ReLU(), nn.Linear(52, 40), nn.ReLU(), nn.Linear(40, 10))
    x = torch.randn(32, 64)
    before = {key: t.clone() for key, t in dense.state_dict().items()}
    seen, told, asked = [], [], []

    def cut(model: nn.Module, density: float) -> nn.Module:
        asked.append(density)
        seen.append([round((layer.weight != 0).float().mean().item(), 2) for layer in (model[0], model[2])])
        return compress(model, x[:2], density=density, edge=1, repair=False)

    def tune(model: nn.Module, step: int) -> None:
        told.append(step)
        assert all(layer.pattern.verify().holds for layer in pattern_layers(model).values())

    sparse = gradually(dense, 0.2, 3, compress=cut, tune=tune)
    assert told == [1, 2]
    assert tuple(asked) == densities(0.2, 3)
    assert seen[0] == [1, 1]
    assert seen[1] == pytest.approx([0.44, 0.44], abs=0.06)
    assert all(0.12 < share < 0.27 for share in seen[2])  # the second pattern has some of the places cut by the first
    assert [layer.pattern.density for layer in pattern_layers(sparse).values()] == pytest.approx([0.2, 0.2], abs=0.03)
    assert all(torch.equal(before[key], t) for key, t in dense.state_dict().items())


def test_the_whole_way_with_steps_refits_and_average_is_resumed_and_read_back(tmp_path):
    settings = Settings(
        "mlp",
        design="random",
        training=TrainConfig(epochs=2, refit_every=4, ema=0.9),
        dense_epochs=1,
        steps=2,
        output=tmp_path / "run",
        timing_seconds=0.05,
    )
    console = Console(file=io.StringIO())
    first = run(settings, console)["random"]
    state = {path.name for path in (tmp_path / "run" / "state").iterdir()}
    assert {"random-step1.pt", "random.pt"} <= state
    again = run(replace(settings, resume=True), console)["random"]
    assert again.measurement.accuracy == first.measurement.accuracy
    model = from_pretrained(tmp_path / "run" / "random")
    test = load("digits").test
    right = (model(test.prepare(test.images)).argmax(1) == test.labels).double().mean().item()
    assert right == pytest.approx(first.measurement.accuracy)
