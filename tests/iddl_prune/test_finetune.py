"""Training: it learns, it is settled by its seed, it stops and goes on, it spreads over processes."""

import io
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import chain

import pytest
import torch
from rich.console import Console
from torch import nn

import bibdlib
from iddl_prune import InvalidArgument, PruneError, SparsePattern
from iddl_prune import run as run_module
from iddl_prune.data import Dataset, Split, load
from iddl_prune.finetune import TrainConfig, evaluate, train
from iddl_prune.layers import BIBDLinear

QUIET = Console(file=io.StringIO())
CONFIG = TrainConfig(epochs=3, batch_size=32, lr=0.05, warmup=0.2)


class Interrupting(Split):
    """Sends Ctrl-C while the batch of one step is being prepared."""

    at = -1
    prepared = 0

    def prepare(self, images, generator=None):
        if generator is not None:
            Interrupting.prepared += 1
            if Interrupting.prepared == Interrupting.at:
                os.kill(os.getpid(), signal.SIGINT)
        return super().prepare(images, generator)


def small(kind=Split) -> Dataset:
    digits = load("digits")
    sides = [
        kind(s.images[:n], s.labels[:n], s.input_shape, s.mean, s.std, padding=p)
        for s, n, p in ((digits.train, 200, 1), (digits.test, 101, 0))
    ]
    return Dataset("small", *sides, num_classes=10)


def network(seed=0) -> nn.Module:
    """Batch norm and dropout: statistics and random numbers that a resumed run must not lose."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 10)
    )


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def without_times(history):
    return [replace(epoch, seconds=0.0) for epoch in history.epochs]


@pytest.mark.parametrize(("precision", "kernel"), [("32-true", "vector"), ("bf16-mixed", "reference")])
def test_it_computes_by_the_kernel_that_trains_fastest_and_gives_back_the_own(precision, kernel):
    layer = BIBDLinear(64, 48, pattern=SparsePattern.from_design(64, 48, bibdlib.construct(7, 3, 1)), kernel="gather")
    model = nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(48, 10))
    seen = []

    def stop(epoch):
        seen.append(layer.kernel)
        if len(seen) == 2:
            raise RuntimeError

    config = replace(CONFIG, precision=precision)
    with pytest.raises(RuntimeError):
        train(model, small(), config, on_epoch=stop, console=QUIET)
    assert seen == [kernel, kernel]
    assert layer.kernel == "gather"


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "lr": 0.003}, {"precision": "bf16-mixed"}])
def test_it_learns_the_digits(changes):
    data, model = load("digits"), network()
    history = train(model, data, replace(CONFIG, epochs=5, **changes), console=QUIET)
    assert history.accuracy > 0.8
    assert history.epochs[-1].loss < 0.7 * history.epochs[0].loss
    assert [epoch.number for epoch in history.epochs] == [1, 2, 3, 4, 5]
    assert 0 < history.seconds < math.inf
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_accuracy_told_is_the_accuracy_counted():
    data, model = small(), network()
    history = train(model, data, CONFIG, console=QUIET)
    model.eval()
    counted = (model(data.test.prepare(data.test.images)).argmax(1) == data.test.labels).double().mean().item()
    assert history.accuracy == pytest.approx(counted)
    assert evaluate(model, data.test, batch_size=7) == pytest.approx(counted)
    model.train()
    evaluate(model, data.test)
    assert model.training


def test_the_seed_settles_every_bit():
    models = [network() for _ in range(3)]
    histories = [
        train(model, small(), replace(CONFIG, seed=seed), console=QUIET)
        for model, seed in zip(models, (1, 1, 2), strict=True)
    ]
    assert same(models[0], models[1])
    assert without_times(histories[0]) == without_times(histories[1])
    assert not same(models[0], models[2])


def test_a_sparse_layer_trains_as_any_other():
    from bibdlib import construct
    from iddl_prune import SparsePattern

    torch.manual_seed(0)
    pattern = SparsePattern.from_design(64, 91, construct(13, 4, 1))
    model = nn.Sequential(nn.Flatten(), BIBDLinear(64, 91, pattern=pattern), nn.ReLU(), nn.Linear(91, 10))
    before = model[1].weight.detach().clone()
    assert train(model, load("digits"), replace(CONFIG, epochs=4), console=QUIET).accuracy > 0.8
    assert not torch.equal(model[1].weight, before)


@pytest.mark.parametrize("step", [1, 4, 6, 7, 17, 18])
def test_stopped_and_resumed_equals_not_stopped(step, tmp_path, monkeypatch):
    whole = network()
    expected = train(whole, small(), CONFIG, console=QUIET)
    monkeypatch.setattr(Interrupting, "at", step)
    monkeypatch.setattr(Interrupting, "prepared", 0)
    stopped, handler = network(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {step}; .*state.pt holds its state"):
        train(stopped, small(Interrupting), CONFIG, checkpoint=tmp_path / "state.pt", console=QUIET)
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.setattr(Interrupting, "at", -1)
    torch.manual_seed(99)
    resumed = network(seed=5)
    history = train(resumed, small(), CONFIG, checkpoint=tmp_path / "state.pt", resume=True, console=QUIET)
    assert without_times(history) == without_times(expected)
    assert same(resumed, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_a_finished_run_is_not_run_again(tmp_path):
    path = tmp_path / "deep" / "state.pt"
    first = network()
    expected = train(first, small(), CONFIG, checkpoint=path, console=QUIET)
    again = network(seed=5)
    assert train(again, small(), CONFIG, checkpoint=path, resume=True, console=QUIET) == expected
    assert same(again, first)
    assert train(network(), small(), CONFIG, checkpoint=path, console=QUIET).epochs[0].seconds != 0


def test_the_state_is_saved_as_time_goes_by(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "_SAVE_EVERY_SECONDS", 0.0)
    saved = []
    replace_file = os.replace
    monkeypatch.setattr(run_module.os, "replace", lambda *paths: (saved.append(paths), replace_file(*paths)))
    train(network(), small(), replace(CONFIG, epochs=1), checkpoint=tmp_path / "state.pt", console=QUIET)
    assert len(saved) == 6 + 1 + 1


def test_a_second_interrupt_stops_at_once_and_the_handler_before_comes_back():
    def own(*_):
        raise AssertionError

    before = signal.signal(signal.SIGINT, own)
    try:
        with run_module.Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.requested
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_cannot_be_resumed_says_why(tmp_path):
    path = tmp_path / "state.pt"
    train(network(), small(), CONFIG, checkpoint=path, console=QUIET)

    def refused(message, config=CONFIG, model=None):
        with pytest.raises(PruneError, match=message):
            train(model or network(), small(), config, checkpoint=path, resume=True, console=QUIET)

    refused(r"was written with lr = 0.05; it cannot go on with 0.1", replace(CONFIG, lr=0.1))
    refused(r"holds the state of another model", model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(r"may be cut short")
    torch.save({"weight": torch.zeros(2)}, path)
    refused(r"is no state of a training run")


def test_resuming_where_nothing_was_saved_begins(tmp_path):
    history = train(
        network(), small(), replace(CONFIG, epochs=1), checkpoint=tmp_path / "x.pt", resume=True, console=QUIET
    )
    assert len(history.epochs) == 1


def test_a_teacher_is_followed_and_left_alone():
    data, teacher = load("digits"), network(seed=3)
    train(teacher, data, replace(CONFIG, epochs=6), console=QUIET)
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    wrong = replace(data, train=replace(data.train, labels=torch.zeros_like(data.train.labels)))
    follower, alone = network(), network()
    config = replace(CONFIG, epochs=6, distillation=1.0)
    assert train(follower, wrong, config, teacher=teacher, console=QUIET).accuracy > 0.8
    assert train(alone, wrong, config, console=QUIET).accuracy < 0.15
    assert all(torch.equal(before[key], tensor) for key, tensor in teacher.state_dict().items())


def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    config = TrainConfig(lr=2.0, warmup=0.25)
    rates = [config.lr_at(step, 8) for step in range(8)]
    assert rates[:3] == [1.0, 2.0, 2.0]
    assert rates[5] == pytest.approx(1.0)
    assert rates == [*rates[:2], *sorted(rates[2:], reverse=True)]
    assert TrainConfig(lr=2.0, warmup=0).lr_at(0, 8) == 2.0
    assert config.lr_at(7, 8) == pytest.approx(1 + math.cos(math.pi * 5 / 6))


def test_every_example_is_seen_once_an_epoch_in_another_order_each_time():
    seen = []

    class Watching(Split):
        def __getitems__(self, indices):
            if len(self) == 200:
                seen.append(indices)
            return super().__getitems__(indices)

    train(network(), small(Watching), replace(CONFIG, epochs=2, batch_size=40), console=QUIET)
    first, second = ([*chain(*batches)] for batches in (seen[:5], seen[5:]))
    assert sorted(first) == sorted(second) == list(range(200))
    assert first != second


def test_a_batch_larger_than_the_data_is_the_data():
    assert len(train(network(), small(), replace(CONFIG, batch_size=1000), console=QUIET).epochs) == 3


def test_a_loss_that_runs_away_is_told():
    with pytest.raises(
        PruneError, match=r"The loss of epoch \d is (nan|inf); a lower lr than 1000000000000.0 may help"
    ):
        train(network(), small(), replace(CONFIG, lr=1e12), console=QUIET)


def test_a_line_is_printed_each_epoch_and_a_bar_on_a_terminal_only():
    plain, terminal = io.StringIO(), io.StringIO()
    train(network(), small(), CONFIG, console=Console(file=plain, width=100))
    lines = plain.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    seen = []
    console = Console(file=terminal, width=100, force_terminal=True)
    train(network(), small(), CONFIG, console=console, on_epoch=seen.append)
    assert "training" in terminal.getvalue()
    assert [epoch.number for epoch in seen] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": -1}, r"'epochs' must be an integer of at least 0, not -1"),
        ({"batch_size": 0}, r"'batch_size' must be an integer of at least 1, not 0"),
        ({"seed": 1.0}, r"'seed' must be an integer of at least 0, not 1.0"),
        ({"lr": 0}, r"'lr' must be positive, not 0"),
        ({"lr": math.nan}, r"'lr' must be positive, not nan"),
        ({"weight_decay": -1}, r"'weight_decay' must not be negative, not -1"),
        ({"warmup": 1.5}, r"'warmup' must lie between 0 and 1, not 1.5"),
        ({"ema": 1.0}, r"'ema' must be at least 0 and less than 1, not 1.0"),
        ({"schedule": "steps"}, r"'schedule' must be one of \('cosine', 'linear', 'constant'\), not 'steps'"),
        ({"refit_every": 2, "precision": "16-mixed"}, r"'precision' must not be '16-mixed' where 'refit_every' is set"),
        ({"optimizer": "lion"}, r"'optimizer' must be one of \('sgd', 'adamw'\), not 'lion'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        TrainConfig(**arguments)


SCRIPT = """
import io, sys, torch
from rich.console import Console
from iddl_prune.data import load
from iddl_prune.finetune import TrainConfig, train

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
config = TrainConfig(epochs=2, batch_size=64, devices=int(sys.argv[1]), accelerator="cpu")
train(model, load("digits", augment=False), config, checkpoint=sys.argv[2], console=Console(file=io.StringIO()))
count = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
print(f"processes: {count}")  # in one piece: both processes print
"""


def test_two_processes_take_the_steps_of_one(tmp_path, monkeypatch):
    script, two, one = (tmp_path / name for name in ("script.py", "two.pt", "one.pt"))
    script.write_text(SCRIPT)
    told = subprocess.run([sys.executable, script, "2", two], check=True, capture_output=True, text=True, timeout=300)
    assert "processes: 2" in told.stdout
    monkeypatch.setattr(sys, "argv", ["script.py", "1", str(one)])
    exec(SCRIPT, {})
    mine, theirs = (torch.load(path, weights_only=True) for path in (one, two))
    for key, tensor in mine["model"].items():
        torch.testing.assert_close(theirs["model"][key], tensor)
    for my_epoch, their_epoch in zip(mine["epochs"], theirs["epochs"], strict=True):
        assert their_epoch["accuracy"] == my_epoch["accuracy"]
        assert their_epoch["loss"] == pytest.approx(my_epoch["loss"])
