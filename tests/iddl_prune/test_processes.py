"""Two processes train as one does, on one machine or on two; they must begin alike, and may die."""

import io
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import distributed

from iddl_prune import PruneError, compress, run
from iddl_prune.data import Split, load
from iddl_prune.finetune import TrainConfig, train
from iddl_prune.models import build
from iddl_prune.processes import check_agreement, is_first, of_torchrun


class Deadly(Split):
    """Kills the second process while it prepares the batch of one step."""

    prepared = 0

    def prepare(self, images, generator=None):
        if generator is not None:
            Deadly.prepared += 1
            if str(Deadly.prepared) == os.environ.get("KILL_AT") and os.environ.get("LOCAL_RANK") == "1":
                os.kill(os.getpid(), signal.SIGKILL)
        return super().prepare(images, generator)


def work(state: str | Path, devices: int, unequal: str = "") -> None:
    """What every process does; in an unequal run each draws the design by its rank."""
    run._SAVE_EVERY_SECONDS = 0.0
    digits = load("digits")
    side = digits.train
    deadly = Deadly(side.images, side.labels, side.input_shape, side.mean, side.std)
    torch.manual_seed(0)
    dense = build("mlp", num_classes=10, input_shape=(1, 8, 8), hidden=(91, 80))
    inputs = side.sample(64, seed=0)
    seed = int(os.environ.get("LOCAL_RANK", "0")) if unequal else 0
    sparse = compress(dense, inputs[:2], density=0.2, calibration=inputs, design="random", repair=False, seed=seed)
    config = TrainConfig(epochs=3, batch_size=128, devices=devices, accelerator="cpu")
    quiet = Console(file=io.StringIO())
    train(sparse, replace(digits, train=deadly), config, teacher=dense, checkpoint=state, resume=True, console=quiet)


def two(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | environment)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("alone") / "state.pt"
    work(state, 1)
    return state


def assert_same_training(state: Path, alone: Path) -> None:
    """The same weights and the same curve, up to the order in which sums are taken."""
    mine, theirs = (torch.load(path, weights_only=True) for path in (state, alone))
    assert len(mine["epochs"]) == 3
    for key, tensor in theirs["model"].items():
        torch.testing.assert_close(mine["model"][key], tensor, rtol=1e-4, atol=1e-5)
    for my_epoch, their_epoch in zip(mine["epochs"], theirs["epochs"], strict=True):
        assert my_epoch["loss"] == pytest.approx(their_epoch["loss"], rel=1e-4)
        assert my_epoch["accuracy"] == pytest.approx(their_epoch["accuracy"], abs=0.005)


def test_a_killed_process_ends_the_run_and_the_next_one_goes_on(alone, tmp_path):
    state = tmp_path / "state.pt"
    killed = two(state, 2, KILL_AT="14")
    assert killed.returncode != 0
    assert torch.load(state, weights_only=True)["step"] == 13
    resumed = two(state, 2)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_training(state, alone)


def test_processes_that_drew_other_designs_are_told(tmp_path):
    told = two(tmp_path / "state.pt", 2, "unequal")
    assert told.returncode != 0
    assert "The model of process 1 is not that of process 0: the pattern of '1' differs. Build it" in told.stderr
    assert not (tmp_path / "state.pt").exists()


def test_the_tensor_that_differs_is_named(monkeypatch):
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    other.load_state_dict(one.state_dict())
    sent: list[dict[str, str]] = []

    def all_gather_object(everyone, mine):
        sent.append(mine)
        everyone[:] = [sent[0], mine]

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_gather_object", all_gather_object)
    check_agreement(one)
    check_agreement(other)
    with torch.no_grad():
        other.bias[1] += 1e-7
    with pytest.raises(PruneError, match=r"The teacher of process 1 is not that of process 0: 'bias' \(2,\) differs"):
        check_agreement(other, "teacher")


def test_two_machines_train_as_one(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    state = tmp_path / "state.pt"
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1",
             "--master-addr=127.0.0.1", f"--master-port={port}", __file__, str(state), "1"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    assert_same_training(state, alone)


def test_one_process_agrees_with_itself_and_is_the_first():
    check_agreement(torch.nn.Linear(2, 2))
    assert is_first()
    assert of_torchrun() == {}


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
