"""The pages of results say what their JSON says, and what is not there yet."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> object:
    """Reads a module of the documentation, which finds others beside it."""
    monkeypatch.syspath_prepend(str(DOCS))

    def read(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield read
    sys.modules.pop("tables", None)


def test_the_ablation_tells_which_runs_are_missing(page) -> None:
    accuracy = page("accuracy")
    ran = [("design", "5 %", 0.88), ("design", "5 %", 0.89), ("design, not repaired", "9 %", 0.8)]
    runs = [{"method": method, "goal": goal, "accuracy": after, "before": 0.5} for method, goal, after in ran]
    titles = {"design": "nothing", "design, not repaired": "no repair", "one design": "nobody ran it"}
    assert list(accuracy._table("left out", runs, titles))[2:] == [
        "| nothing | 88.50 ± 0.71 (50.0) | not run yet |",
        "| no repair | not run yet | 80.00 (50.0) |",
    ]


def test_at_equal_time_the_best_counts_that_takes_no_longer(page) -> None:
    fit = page("fit")
    runs = [
        {"side": side, "accuracy": accuracy, "ms": {"1": ms}}
        for side, accuracy, ms in [
            ("mine", 0.9, 2.0),
            ("mine", 0.8, 0.5),
            ("theirs", 0.85, 2.05),
            ("theirs", 0.87, 1.5),
            ("theirs", 0.7, 1.0),
            ("theirs", 0.99, 3.0),
        ]
    ]
    assert list(fit.at_equal_time(runs, "mine", "theirs", "1")) == pytest.approx([0.03, 0.1])


def test_every_section_is_printed_from_the_results(page) -> None:
    fit = page("fit")
    for section in (fit.fit, fit.orders, fit.which_design):
        lines = list(section(DOCS.parent / "benchmarks" / "results"))
        assert lines[0].startswith("## ")
        columns = {line.count("|") for line in lines if line.startswith("|---")}
        assert {line.count("|") for line in lines if line.startswith("|")} == columns
        assert any(line.startswith("`python benchmarks/") for line in lines)
