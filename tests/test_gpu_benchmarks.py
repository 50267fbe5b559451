"""The benchmarks of a card walk their whole path here, so that their first call on one does not end at a typo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.interpreter import needs_interpreter

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = needs_interpreter


def smoke(script: str, folder: Path, *options: object) -> dict:
    output = folder / "out.json"
    command = [sys.executable, BENCHMARKS / script, "--smoke", "--output", output, *options]
    done = subprocess.run(
        command, env={**os.environ, "IDDL_CACHE": str(folder / "cache")}, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(output.read_text())["runs"]


def test_speed(tmp_path: Path) -> None:
    runs = smoke("gpu.py", tmp_path)
    assert all(run["holds"] for run in runs.values() if "holds" in run)
    sides = {f"{key}: {name}": told for key, run in runs.items() for name, told in run.get("times", {}).items()}
    # torch's own sparse kernels have no interpreter.
    failed = {name: told["error"] for name, told in sides.items() if "error" in told and ": torch " not in name}
    assert failed == {}
    assert any(run.get("kernels") for run in runs.values())
    again = smoke("gpu.py", tmp_path)
    assert again == runs


def test_accuracy(tmp_path: Path) -> None:
    runs = smoke("gpu_accuracy.py", tmp_path, "--kernel", "triton", "--state-dir", tmp_path / "states")
    assert len(runs) == 5
    assert all(0 <= run["accuracy"] <= 1 for run in runs.values())
