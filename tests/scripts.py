"""Benchmarks as modules, so that tests can call and change them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ["benchmark_module"]


def benchmark_module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script benchmarks/<name>.py, loaded anew and forgotten after the test."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
