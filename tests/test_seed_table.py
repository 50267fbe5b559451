"""The benchmark that makes the seeds' table anew, on a few digits: rows, resumption, what it prints."""

import json
from dataclasses import replace
from functools import partial

import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from iddl_prune import PruneError
from iddl_prune.data import load
from iddl_prune.models import ModelSpec
from tests.scripts import benchmark_module


@pytest.fixture
def bench(monkeypatch):
    module = benchmark_module("seed_table", monkeypatch)

    def few(name, *_, augment, **__):
        digits = load("digits", augment=augment)
        sides = (
            replace(side, images=side.images[:300], labels=side.labels[:300]) for side in (digits.train, digits.test)
        )
        train, test = sides
        return replace(digits, train=train, test=test).with_channels(3 if name == "cifar10" else 1)

    monkeypatch.setattr(module, "load", few)
    return module


@pytest.fixture
def call(bench, tmp_path):
    def call(*arguments):
        places = ["--output", str(tmp_path / "out.json"), "--state-dir", str(tmp_path / "state")]
        epochs = ["--mnist-epochs", "2", "--cifar-epochs", "1", "--fitted-epochs", "2"]
        return CliRunner(env={"COLUMNS": "160"}).invoke(bench.app, [*places, *epochs, *arguments])

    return call


def rows(tmp_path):
    return json.loads((tmp_path / "out.json").read_text())["rows"]


def test_the_mlp_rows(call, tmp_path):
    result = call("--seed", "3")
    assert result.exit_code == 0, result.output
    made = {(row["run"]["model"], row["run"]["data"]): row for row in rows(tmp_path).values()}
    assert set(made) == {(m, d) for m in ("mlp", "mlp_bibd", "mlp_random", "mlp_fitted") for d in ("mnist", "cifar10")}
    dense, bibd, random = (made[model, "mnist"] for model in ("mlp", "mlp_bibd", "mlp_random"))
    assert dense["weights"] == 64 * 100 + 100 + 100 * 10 + 10
    assert bibd["weights"] < dense["weights"] / 2
    assert abs(random["weights"] - bibd["weights"]) < 0.1 * bibd["weights"]
    for row in made.values():
        assert row["flops"] == 2 * row["multiply_adds"]
        assert row["run"]["seed"] == row["config"]["seed"] == 3
        assert len(row["history"]) == row["run"]["epochs"] == row["config"]["epochs"]
        assert row["accuracy"] == row["history"][-1]["accuracy"]
        assert row["machine"]["torch"]
        assert row["command"].startswith("python ")
    assert not dense["designs"]
    fitted = made["mlp_fitted", "mnist"]
    assert fitted["weights"] < dense["weights"] / 2
    assert fitted["accuracy_before_training"] > bibd["accuracy_before_training"]
    assert bibd["designs"].keys() == random["designs"].keys() == {"1"}
    assert "96.4%" in result.output
    assert "mlp_random" in result.output


def test_what_is_made_is_not_made_again(call, bench, tmp_path, monkeypatch):
    make = bench.make

    def stopping(run, *arguments):
        if run.model == "mlp_random":
            raise KeyboardInterrupt("Training stopped after step 7.")
        return make(run, *arguments)

    monkeypatch.setattr(bench, "make", stopping)
    stopped = call()
    assert stopped.exit_code == 130
    assert "goes on from there" in stopped.output
    kept = rows(tmp_path)
    assert [row["run"]["model"] for row in kept.values()] == ["mlp", "mlp_bibd"]
    monkeypatch.setattr(bench, "make", make)
    assert call().exit_code == 0
    assert len(rows(tmp_path)) == 8
    assert {key: rows(tmp_path)[key] for key in kept} == kept


def test_the_resnet_rows(call, bench, tmp_path, monkeypatch):
    # Fit and repair have tests of their own, and take their time.
    monkeypatch.setattr(bench, "compress", partial(bench.compress, fit=False, repair=False))
    path = tmp_path / "net.safetensors"
    save_file(ModelSpec("resnet18", 10, (3, 8, 8)).build().state_dict(), path)
    result = call("--checkpoint", str(path), "--resnet-precision", "32-true", "--resnet-density", "0.25")
    assert result.exit_code == 0, result.output
    made = {row["run"]["model"]: row for row in rows(tmp_path).values()}
    assert (made["resnet18"]["run"]["epochs"], made["resnet18"]["weights"]) == (0, 11_173_962)
    assert made["resnet18_bibd"]["run"]["epochs"] == 1
    assert made["resnet18_bibd"]["weights"] < 0.35 * made["resnet18"]["weights"]
    assert len(made["resnet18_bibd"]["designs"]) == 19


def test_missing_data_is_told(call, bench, monkeypatch):
    def absent(*_, **__):
        raise PruneError("Data set 'mnist' is not in data")

    monkeypatch.setattr(bench, "load", absent)
    result = call()
    assert result.exit_code == 2
    assert "'mnist' is not in data" in result.output
