"""The command as a user runs it, on small real data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from iddl_prune.checkpoint import from_pretrained
from iddl_prune.cli import app
from iddl_prune.convert import pattern_layers
from iddl_prune.data import load
from iddl_prune.finetune import evaluate
from iddl_prune.models import ModelSpec

SMALL = ["--epochs", "2", "--dense-epochs", "2", "--density", "0.2", "--device", "cpu"]


def run(*arguments: str | Path):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    result = run("mlp", *SMALL, "--output", folder)
    assert result.exit_code == 0, result.output
    assert "classifier" in result.output
    assert "weights" in result.output
    return folder


def test_the_output_folder_holds_everything(output: Path) -> None:
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["models"]) == {"dense", "bibd", "random"}
    for model in metrics["models"].values():
        assert model["measurement"]["flops"] == 2 * model["measurement"]["multiply_adds"]
        assert set(model["measurement"]["latency"]) == {"1", "32"}
        assert len(model["history"]["epochs"]) == 2
    assert "times dense" in (output / "kernels-bibd.txt").read_text()
    frame = pd.read_csv(output / "table.csv", index_col="model")
    assert frame.loc["bibd", "weights"] < 0.35 * frame.loc["dense", "weights"]
    assert "accuracy" in (output / "table.txt").read_text()
    for picture in ("accuracy.png", "weights.png", "patterns/1.png"):
        assert (output / picture).read_bytes().startswith(b"\x89PNG")
    assert not list(output.rglob("*.part"))


def test_the_saved_model_is_the_measured_one(output: Path) -> None:
    model = from_pretrained(output / "bibd")
    assert all(layer.pattern.verify() for layer in pattern_layers(model).values())
    metrics = json.loads((output / "metrics.json").read_text())
    assert evaluate(model, load("digits").test) == metrics["models"]["bibd"]["measurement"]["accuracy"]


def test_the_folder_commands_take_the_saved_model(output: Path, tmp_path: Path) -> None:
    folder = output / "bibd"
    told = run("info", folder)
    assert told.exit_code == 0, told.output
    assert f"{sum(p.numel() for p in from_pretrained(folder).parameters()):,}" in told.output
    told = run("measure", folder, "--batch-size", 1, "--seconds", 0)
    assert told.exit_code == 0, told.output
    weights = json.loads((output / "metrics.json").read_text())["models"]["bibd"]["measurement"]["weights"]
    assert f"{weights:,}" in told.output
    told = run("export", folder, "--output", tmp_path / "net.onnx", "--batch-size", 2, "--seconds", 0)
    assert told.exit_code == 0, told.output
    assert f"{(tmp_path / 'net.onnx').stat().st_size:,}" in told.output
    assert "ms, batch 2" in told.output


def test_optimize_prints_the_fastest_form_and_keeps_the_times(output: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IDDL_CACHE", str(tmp_path))
    told = run("optimize", output / "bibd", "--batch-size", 3, "--seconds", 0.01)
    assert told.exit_code == 0, told.output
    assert "the net, batch 3" in told.output
    assert [path.name for path in tmp_path.iterdir()] == ["choices.json"]


def test_predict_tells_the_classes_of_image_files(output: Path, tmp_path: Path) -> None:
    digits = load("digits").test
    Image.fromarray(digits.images[0, 0].numpy()).save(tmp_path / "digit.png")
    told = run("predict", output / "bibd", tmp_path / "digit.png", "--top", 2)
    assert told.exit_code == 0, told.output
    path, *classes = told.output.rstrip("\n").split("\t")
    assert path == str(tmp_path / "digit.png")
    expected = from_pretrained(output / "bibd")(digits.prepare(digits.images[:1])).softmax(1)[0]
    assert classes == [f"{c} {expected[c]:.1%}" for c in expected.argsort(descending=True)[:2].tolist()]
    told = run("predict", output / "bibd", tmp_path / "nowhere.png")
    assert told.exit_code == 2
    assert "nowhere.png cannot be read as an image" in told.output


@pytest.mark.parametrize("verb", ["info", "measure", "export"])
def test_a_folder_that_holds_no_model_is_one_clear_line(verb: str, tmp_path: Path) -> None:
    result = run(verb, tmp_path)
    assert result.exit_code == 2
    assert "config.json cannot be read" in result.output


def test_the_folder_above_names_those_that_hold_models(output: Path) -> None:
    result = run("info", output)
    assert result.exit_code == 2
    assert f"holds no model itself, but {output / 'bibd'}, {output / 'random'} do." in result.output


def test_a_file_that_cannot_be_written_is_one_clear_line(output: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("export", output / "bibd", "--output", tmp_path / "file" / "net.onnx", "--seconds", 0)
    assert result.exit_code == 2
    assert f"{tmp_path / 'file' / 'net.onnx'} cannot be written: " in result.output


def test_no_figure_is_cut_where_the_screen_is_narrow(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    told = run("info", output / "bibd")
    assert "…" not in told.output
    assert f"{sum(p.numel() for p in from_pretrained(output / 'bibd').parameters()):,}" in told.output


def test_a_mistyped_verb_is_told() -> None:
    result = run("infos", "some/folder")
    assert result.exit_code == 2
    assert "no model 'infos'. Did you mean 'info'?" in result.output


def test_the_verb_may_be_left_out() -> None:
    told = [run(*arguments).output for arguments in (("mlp", "--edge", "0"), ("prune", "mlp", "--edge", "0"))]
    assert told[0] == told[1]
    assert "prune" in run("--help").output


def test_a_density_without_a_design_is_refused(tmp_path: Path) -> None:
    result = run("mlp", "--density", "0.001", "--dense-epochs", "0", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "too narrow" in result.output


def test_the_dense_model_is_kept_for_the_next_run(output: Path) -> None:
    result = run("mlp", *SMALL, "--design", "dense", "--output", output.parent / "again")
    assert result.exit_code == 0
    assert "trained before" in result.output
    assert set(json.loads((output.parent / "again" / "metrics.json").read_text())["models"]) == {"dense"}


def test_a_checkpoint_is_taken_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ModelSpec("mlp", 10, (1, 8, 8), hidden=(48, 40)).build()
    torch.save(model.state_dict(), tmp_path / "dense.pt")
    result = run("mlp", "--checkpoint", tmp_path / "dense.pt", "--epochs", 1, "--design", "random", "--density", 0.3,
                 "--output", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())["models"]) == {"dense", "random"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mlp", "--density", "1.5"), "'density' must lie between 0 and 1, not 1.5"),
        (("mlp", "--edge", "0"), "'edge' must be at least 1, not 0"),
        (("mlp", "--device", "no_such_device"), "'accelerator' = 'no_such_device'"),
        (("mlp", "--devices", "0"), "'devices' = 0"),
        (("mlp", "--precision", "5-bit"), "'precision' = '5-bit'"),
        (("no_such_net",), "no_such_net"),
        (("mlp", "--data", "no_such_set"), "no_such_set"),
        (("mlp", "--data", "cifar10", "--data-dir", "nowhere"), "--download"),
        (("mlp", "--checkpoint", "nowhere.pt"), "nowhere.pt"),
    ],
)
def test_bad_use_is_one_clear_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = run(*arguments, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "dense").exists(), "nothing is trained before the arguments are checked"


def test_a_state_is_not_resumed_under_another_plan(output: Path) -> None:
    assert run("mlp", *SMALL, "--output", output, "--resume").exit_code == 0
    result = run("mlp", *SMALL, "--no-fit", "--output", output, "--resume")
    assert result.exit_code == 2
    assert "other settings" in result.output


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_leaves_a_state_and_resume_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from iddl_prune.cli import main; main()", "mlp", "--dense-epochs", "1"]
    command += ["--epochs", "100000", "--output", str(tmp_path / "out"), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/100000"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert (tmp_path / "out" / "state" / "bibd.pt").exists()
    again = subprocess.Popen([*command, "--resume"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert again.stdout is not None
    first = next(line for line in again.stdout if "/100000" in line)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=120)
    assert int(first.split("/")[0].removeprefix("epoch ")) > 2


def test_the_options_of_the_plan_reach_it(tmp_path: Path) -> None:
    choices = ["--budget", "flops", "--allocation", "erk", "--importance", "taylor", "--permutation", "groups"]
    result = run("mlp", "--quick", "--density", 0.3, *choices, "--override", "1=0.25:4", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "bibd" / "config.json").read_text())["plan"]
    assert (told["budget"], told["allocation"]) == ("flops", "erk")
    assert told["allotted"]["1"] == 0.25
    assert told["layers"]["1"]["edge"] == 4
    assert told["moves"]["3"]["in"]
    model = from_pretrained(tmp_path / "bibd")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert evaluate(model, load("digits").test) == metrics["models"]["bibd"]["measurement"]["accuracy"]
    refused = run("mlp", "--override", "1=much", "--output", tmp_path)
    assert refused.exit_code == 2
    assert "DENSITY:EDGE" in refused.output
