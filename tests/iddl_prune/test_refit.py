"""Channels change places: the design stays exact, what is kept stays kept, a resumed run has the same bits."""

import io
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

from bibdlib import construct
from iddl_prune import BIBDConv2d, BIBDLinear, InvalidArgument, SparsePattern, pattern_layers, plan, prune_
from iddl_prune.data import Dataset, load
from iddl_prune.finetune import TrainConfig, evaluate, train
from iddl_prune.refit import connect_anew_, hearing, places, plan_after, put_back_, refit_, swapped
from tests.iddl_prune.strategies import patterns

QUIET = Console(file=io.StringIO())
CONFIG = TrainConfig(epochs=3, batch_size=32, refit_every=4, refit_window=3, refit_share=0.5, ema=0.9)
FABRIC = Fabric(accelerator="cpu", devices=1)


def small() -> Dataset:
    digits = load("digits")
    sides = [
        replace(side, images=side.images[:n], labels=side.labels[:n])
        for side, n in ((digits.train, 200), (digits.test, 101))
    ]
    return Dataset("small", *sides, num_classes=10)


def network(seed=0) -> nn.Module:
    torch.manual_seed(seed)
    first = SparsePattern.from_design(64, 39, construct(13, 4, 1), edge=2)
    second = SparsePattern.from_design(39, 30, construct(7, 3, 1))
    return nn.Sequential(
        nn.Flatten(),
        BIBDLinear(64, 39, pattern=first),
        nn.BatchNorm1d(39),
        nn.ReLU(),
        BIBDLinear(39, 30, pattern=second, kernel="reference"),
        nn.ReLU(),
        nn.Linear(30, 10),
    )


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def digests(model: nn.Module) -> list[str]:
    return [layer.pattern.digest for layer in pattern_layers(model).values()]


@given(patterns(), st.floats(0, 1), st.integers(0, 9))
def test_swaps_gain_worth_and_leave_a_design(pattern, share, seed):
    worth = np.random.default_rng(seed).random((pattern.out_features, pattern.in_features))
    found, swaps = swapped(worth, pattern, share)
    assert found.verify().holds
    assert found.kept == pattern.kept
    gained = worth[found.mask()].sum() - worth[pattern.mask()].sum()
    assert gained > 0 if swaps else found.digest == pattern.digest
    for side in ("in_groups", "out_groups"):
        moved = (getattr(found, side) != getattr(pattern, side)).sum()
        assert moved <= share * len(getattr(pattern, side))
    if share == 1:
        again, _ = swapped(worth, found, share)
        assert worth[again.mask()].sum() >= worth[found.mask()].sum() - 1e-9


def test_the_best_pair_changes_places_first():
    pattern = SparsePattern.from_design(7, 7, construct(7, 3, 1))
    worth = pattern.permuted([0, 1, 5, 3, 4, 2, 6], range(7)).mask().astype(float)
    found, swaps = swapped(worth, pattern, 0.3)
    assert swaps == 1
    assert worth[found.mask()].sum() == 21


@pytest.mark.parametrize("kernel", ["reference", "gather"])
def test_what_both_patterns_connect_stays_and_the_rest_begins_at_zero(kernel):
    before = SparsePattern.from_design(20, 14, construct(7, 3, 1))
    after = before.permuted([1, 0, *range(2, 18), 19, 18], [13, *range(1, 13), 0])
    layer = BIBDConv2d(20, 14, 3, pattern=before, kernel=kernel)
    dense, moments = layer.to_dense(), [torch.rand_like(layer.weight), torch.tensor(3.0)]
    old = moments[0].clone()
    connect_anew_(layer, after, moments)
    common = torch.from_numpy(before.mask() & after.mask())
    weight = layer.to_dense().weight
    torch.testing.assert_close(weight, dense.weight * common[..., None, None])
    new = torch.from_numpy(~np.isin(after.positions, before.positions))
    assert new.any()
    assert (moments[0][new] == 0).all()
    assert sorted(moments[0][~new].sum((1, 2)).tolist()) == sorted(
        old[torch.from_numpy(np.isin(before.positions, after.positions))].sum((1, 2)).tolist()
    )
    assert moments[1] == 3
    x = torch.randn(2, 20, 5, 5)
    torch.testing.assert_close(layer(x), layer.to_dense()(x))


def test_a_pattern_of_another_size_is_refused():
    layer = BIBDLinear(7, 7, pattern=SparsePattern.from_design(7, 7, construct(7, 3, 1)))
    with pytest.raises(InvalidArgument, match=r"'pattern' must keep 21 connections as the layer does, not 28"):
        connect_anew_(layer, SparsePattern.from_design(7, 7, construct(7, 4, 2)))


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_connection_that_the_data_ask_for_is_found(kind):
    """The answers depend on one input that no output reads with any use; swapping it in is what lowers the loss."""
    torch.manual_seed(0)
    pattern = SparsePattern.from_design(7, 7, construct(7, 3, 1))
    taps = () if kind == "linear" else (3, 3)
    layer = (
        BIBDLinear(7, 7, bias=False, pattern=pattern)
        if kind == "linear"
        else BIBDConv2d(7, 7, 3, padding=1, bias=False, pattern=pattern)
    )
    with torch.no_grad():
        layer.weight.mul_(0.01)
    wanted_pattern = pattern.permuted([3, 1, 2, 0, 4, 5, 6], range(7))
    wanted = torch.from_numpy(wanted_pattern.mask()).float().view(7, 7, *(1,) * len(taps)) * torch.randn(7, 7, *taps)
    x = torch.randn(64, 7, *((6, 6) if taps else ()))
    answers = nn.functional.conv2d(x, wanted, padding=1) if taps else x @ wanted.T
    model = nn.Sequential(layer)
    heard = {}
    with hearing(model, heard, FABRIC):
        ((model(x) - answers).square().sum() / len(x)).backward()
    assert refit_(model, heard, 0.3) == 1
    assert layer.pattern.digest == wanted_pattern.digest
    assert model(x).shape == answers.shape


def test_every_pattern_of_a_training_is_a_design(monkeypatch):
    seen = []

    def watching(model, *arguments, **options):
        swaps = refit_(model, *arguments, **options)
        seen.append((swaps, [layer.pattern.verify().holds for layer in pattern_layers(model).values()]))
        assert digests(model) == digests(options["average"])
        return swaps

    monkeypatch.setattr("iddl_prune.finetune.refit_", watching)
    model = network()
    before = digests(model)
    train(model, small(), CONFIG, console=QUIET)
    assert len(seen) == 3  # every fourth of 18 steps, the last quarter without
    assert all(holds == [True, True] for _, holds in seen)
    assert sum(swaps for swaps, _ in seen) > 0
    assert digests(model) != before


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_stopped_and_resumed_equals_not_stopped(epoch, optimizer, tmp_path):
    config = replace(CONFIG, optimizer=optimizer, lr=0.01)
    whole = network()
    expected = train(whole, small(), config, console=QUIET)
    with pytest.raises(KeyboardInterrupt):
        train(
            network(),
            small(),
            config,
            checkpoint=tmp_path / "state.pt",
            console=QUIET,
            on_epoch=lambda e: _interrupt(e.number == epoch),
        )
    resumed = network(seed=5)
    history = train(resumed, small(), config, checkpoint=tmp_path / "state.pt", resume=True, console=QUIET)
    assert [e.loss for e in history.epochs] == [e.loss for e in expected.epochs]
    assert [e.accuracy for e in history.epochs] == [e.accuracy for e in expected.epochs]
    assert digests(resumed) == digests(whole)
    assert same(resumed, whole)


def _interrupt(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGINT)


def test_the_average_is_what_is_tested_and_what_comes_out():
    data, averaged, last = small(), network(), network()
    config = replace(CONFIG, refit_every=0)
    history = train(averaged, data, config, console=QUIET)
    train(last, data, replace(config, ema=0.0), console=QUIET)
    assert history.accuracy == evaluate(averaged, data.test)
    assert not same(averaged, last)
    now = []
    follower = network()
    train(
        follower,
        data,
        replace(config, epochs=1, ema=0.0, batch_size=200),
        console=QUIET,
        on_epoch=lambda _: now.append(follower[1].weight.detach().clone()),
    )
    one_step = network()
    train(one_step, data, replace(config, epochs=1, batch_size=200), console=QUIET)
    torch.testing.assert_close(one_step[1].weight.detach(), now[0])


def test_the_share_falls_and_ends():
    config = TrainConfig(refit_every=3, refit_share=0.2, refit_until=0.5)
    shares = [config.refit_share_at(step, 40) for step in range(40)]
    assert [step for step, share in enumerate(shares) if share] == [2, 5, 8, 11, 14, 17]
    assert 0.2 > shares[2] > shares[8] > shares[17] > 0
    heard = [step for step in range(40) if replace(config, refit_window=2).hears_at(step, 40)]
    assert heard == [1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17]
    assert not any(TrainConfig().hears_at(step, 40) for step in range(40))
    assert not any(TrainConfig().refit_share_at(step, 40) for step in range(40))


def test_places_go_back_and_plans_follow():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(64, 52), nn.ReLU(), nn.Linear(52, 40), nn.ReLU(), nn.Linear(40, 10))
    x = torch.randn(512, 64)
    decided = plan(dense, x, density=0.3, edge=1, calibration=x)
    model, other = (prune_(nn.Sequential(*dense), decided) for _ in range(2))
    heard = {}
    with hearing(model, heard, FABRIC):
        ((model(x) - dense(x)).square().sum() / len(x)).backward()
    assert refit_(model, heard, 0.5) > 0
    followed = plan_after(decided, model)
    assert followed != decided
    assert [layer.pattern().digest for layer in followed.layers.values()] == digests(model)
    assert plan_after(followed, model) == followed
    put_back_(other, places(model))
    assert digests(other) == digests(model)
    with pytest.raises(InvalidArgument, match=r"must be of the layers \['0', '2'\], not \['0'\]"):
        put_back_(other, {"0": places(model)["0"]})
    wrong = places(model)
    wrong["0"]["in_groups"][:] = 0
    with pytest.raises(InvalidArgument, match="must have groups of the sizes that the layer has"):
        put_back_(other, wrong)
