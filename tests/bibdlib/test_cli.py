"""The command `bibd` as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bibdlib
from bibdlib import cli, io

FANO = "0 1 2\n0 3 4\n0 5 6\n1 3 5\n1 4 6\n2 3 6\n2 4 5\n"


@pytest.fixture
def bibd(capsysbinary):
    """Run the command here; exit code, output, error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def shell(*arguments: str, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-m", "bibdlib.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def test_from_the_shell(tmp_path):
    built = shell("construct", "7", "3", "1")
    assert (built.returncode, built.stdout, built.stderr) == (0, FANO, "")
    (tmp_path / "fano.txt").write_text(built.stdout)
    assert shell("verify", "fano.txt", cwd=tmp_path).returncode == 0
    impossible = shell("exists", "43", "7", "1")
    assert impossible.returncode == 1
    assert "Bruck-Ryser-Chowla" in impossible.stdout
    bad = shell("construct", "7", "-3")
    assert (bad.returncode, bad.stdout, bad.stderr) == (2, "", "bibd: Argument 'k' must be at least 2, not -3.\n")


@pytest.mark.parametrize("name", io.FORMATS)
def test_what_it_writes_it_verifies(bibd, tmp_path, name):
    file = tmp_path / f"design{io.FORMATS[name].suffix}"
    assert bibd("construct", 13, 4, 1, "-o", file) == (0, "", "")
    assert io.load(file) == bibdlib.construct(13, 4, 1)
    code, out, err = bibd("verify", file)
    assert (code, err) == (0, "")
    assert "all 78 pairs" in out
    other = tmp_path / "design.dat"
    assert bibd("construct", 13, 4, 1, "--format", name, "--output", other)[0] == 0
    assert other.read_bytes() == file.read_bytes()
    assert bibd("verify", other, "--format", name)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([file.name, "design.dat"])


def test_formats_on_standard_output(bibd, capsysbinary):
    assert bibd("construct", 7, 3) == (0, FANO, "")
    assert bibd("construct", 7, 3, "--format", "csv")[1] == FANO.replace(" ", ",")
    parts = json.loads(bibd("construct", 7, 3, "--format", "json")[1])
    assert (parts["v"], parts["k"], parts["lam"], len(parts["blocks"])) == (7, 3, 1, 7)
    assert cli.main(["construct", "7", "3", "--format", "npy"]) == 0
    assert capsysbinary.readouterr().out.startswith(b"\x93NUMPY")


@pytest.mark.parametrize("command", ["exists", "explain", "construct"])
@pytest.mark.parametrize(
    ("p", "code", "word"),
    [((7, 3, 1), 0, ""), ((22, 8, 4), 1, "nonexistent"), ((7, 3, 2), 0, ""), ((157, 13, 1), 3, "unknown")],
)
def test_exit_codes(bibd, command, p, code, word):
    found, out, err = bibd(command, *p)
    assert found == code
    assert word in (err if command == "construct" else out)
    assert (command == "construct" and code != 0) == bool(err)


def test_explain_shows_the_recipe(bibd):
    _, out, _ = bibd("explain", 10, 7, 14)
    assert out.splitlines()[0].startswith("(10, 7, 14) complement")
    assert out.splitlines()[1].startswith("  (10, 3, 2) ")


def test_list_names_every_construction(bibd):
    code, out, _ = bibd("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(bibdlib.CONSTRUCTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("construct", "7"), "'?K'?"),
        (("construct", "7", "3.5"), "must be an integer, not '3.5'"),
        (("exists", "7", "8", "1"), "Argument 'k' must be at most v = 7, not 8."),
        (("exists", "-1", "3", "1"), "Argument 'v' must be at least 2, not -1."),
        (("construct", "7", "3", "--format", "yaml"), "'yaml' is not one of 'text', 'csv', 'json', 'npy'"),
        (("construct", "7", "3", "-o", "fano.xyz"), "must end in one of .txt, .csv, .json, .npy"),
        (("construct", "7", "3", "-o", "none/fano.txt"), "none/fano.txt: No such file"),
        (("verify", "none.json"), "none.json: No such file"),
        (("verify", "folder.txt"), "directory"),
        (("construct", "1000003", "3", "6"), "1000005000006 blocks of 3 points"),
        (("frobnicate",), "No such command 'frobnicate'"),
    ],
)
def test_bad_use_is_one_clear_line(bibd, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.txt").mkdir()
    code, out, err = bibd(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("bibd: ")
    assert err.count("\n") == 1
    assert message.strip("'?") in err or message in err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.txt"]


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("a.txt", FANO.replace("2 4 5", "2 4 6"), 1, "point 5 lies in 2 blocks, expected 3"),
        ("a.csv", "0,1,2\n0,3,4,5\n", 1, "block 1 holds 4 points, block 0 holds 3"),
        ("a.txt", "0 1 2\n3 4 5\n", 1, "15 pairs equally often"),
        ("a.json", '{"v":7,"k":3,"lam":1,"blocks":[[0,1,2]]}', 1, "not (1, 3)"),
        ("a.json", '{"v":7,"k":3,"lam":1}', 2, "must hold a design as json"),
        ("a.json", '{"v":7.5,"k":3,"lam":1,"blocks":[]}', 2, "'v' must be an integer"),
        ("a.json", "[1, 2]", 2, "must hold a design as json"),
        ("a.json", "{", 2, "must hold a design as json"),
        ("a.txt", "zero one\n", 2, "must hold a design as text"),
        ("a.txt", "", 2, "must hold a design as text, not no blocks"),
        ("a.npy", "no npy", 2, "must hold a design as npy"),
    ],
)
def test_files_that_hold_no_design(bibd, tmp_path, name, content, code, message):
    (tmp_path / name).write_text(content)
    found, out, err = bibd("verify", tmp_path / name)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    """Whatever goes wrong while writing, the old file is whole and no part of the new one is left."""
    file = tmp_path / "fano.txt"
    file.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    assert cli.main(["construct", "7", "3", "-o", str(file)]) == 2
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_device_is_written_to_not_replaced(bibd):
    assert bibd("construct", 7, 3, "--format", "text", "-o", os.devnull) == (0, "", "")
    assert not Path(os.devnull).is_file()


def test_interruption_is_told_and_has_its_own_code(bibd, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bibdlib, "construct", interrupt)
    assert bibd("construct", 7, 3) == (130, "", "bibd: interrupted\n")


def test_without_arguments_it_helps(bibd):
    code, out, err = bibd()
    assert (code, err) == (0, "")
    assert all(command in out for command in ("construct", "exists", "explain", "verify", "list"))


def test_there_is_no_other_format(tmp_path):
    with pytest.raises(bibdlib.InvalidParameters, match="'format' must be one of text, csv, json, npy, not 'yaml'"):
        io.save(bibdlib.construct(7, 3), tmp_path / "fano.txt", "yaml")


def test_npy_round_trip_keeps_the_numbers(tmp_path):
    design = bibdlib.construct(9, 3, 1)
    io.save(design, tmp_path / "plane.npy")
    assert np.array_equal(np.load(tmp_path / "plane.npy"), design.blocks)
