"""The benchmark of the methods' accuracy, on digits: what a run tells, and that a stopped one goes on."""

import json
import signal

import pytest
from typer.testing import CliRunner

from tests.scripts import benchmark_module


@pytest.fixture
def bench(monkeypatch):
    return benchmark_module("accuracy", monkeypatch)


def call(bench, folder, *options):
    places = ["--output", str(folder / "out.json"), "--state-dir", str(folder / "state")]
    asked = ["--data", "digits", "--density", "0.25", "--seeds", "1", "--epochs", "3", "--calibration", "64"]
    return CliRunner(env={"COLUMNS": "160"}).invoke(bench.app, [*places, *asked, "--method", "magnitude", *options])


def accuracy(folder):
    (run,) = json.loads((folder / "out.json").read_text())["runs"].values()
    return run["accuracy"]


def test_a_stopped_run_goes_on(bench, tmp_path, monkeypatch):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert call(bench, whole).exit_code == 0
    train, epochs = bench.train, []

    def stopped(*arguments, teacher=None, **options):
        def ended(epoch):
            if teacher is not None:
                epochs.append(epoch.number)
                if len(epochs) == 2:
                    signal.raise_signal(signal.SIGINT)

        return train(*arguments, teacher=teacher, on_epoch=ended, **options)

    monkeypatch.setattr(bench, "train", stopped)
    assert call(bench, halves).exit_code != 0
    assert not (halves / "out.json").exists()
    assert call(bench, halves).exit_code == 0
    assert epochs == [1, 2, 3]
    assert accuracy(halves) == accuracy(whole)


def test_a_run_is_made_once_and_anew_when_told(bench, tmp_path, monkeypatch):
    assert call(bench, tmp_path).exit_code == 0
    first = accuracy(tmp_path)
    made = []
    make = bench.make
    monkeypatch.setattr(bench, "make", lambda *arguments: made.append(arguments) or make(*arguments))
    assert call(bench, tmp_path).exit_code == 0
    assert made == []
    assert call(bench, tmp_path, "--forget").exit_code == 0
    assert len(made) == 1
    assert accuracy(tmp_path) == first
