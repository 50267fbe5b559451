"""What came out, as a table and as metrics.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from iddl_prune.files import write_whole
from iddl_prune.finetune import History
from iddl_prune.measure import Measurement
from iddl_prune.plan import Plan

__all__ = ["Outcome", "report", "table"]


@dataclass(frozen=True)
class Outcome:
    """What became of one model.

    Attributes
    ----------
    measurement
        Its figures after all training.
    history
        Its training; empty if it came from a checkpoint.
    before
        Accuracy before fine-tuning, 0..1.
    plan
        How it was pruned; None for the dense model.
    """

    measurement: Measurement
    history: History
    before: float
    plan: Plan | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "measurement": self.measurement.to_dict(),
            "history": self.history.to_dict(),
            "accuracy_before_finetuning": self.before,
            "plan": None if self.plan is None else self.plan.to_dict(),
        }


def table(outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """One row a model: accuracy in percent, weights, multiply-adds and FLOPs of one input, bytes, latency in ms."""
    rows = {}
    for name, outcome in outcomes.items():
        m = outcome.measurement
        row: dict[str, Any] = {
            "accuracy %": math.nan if m.accuracy is None else 100 * m.accuracy,
            "before fine-tuning %": 100 * outcome.before,
            "weights": m.weights,
            "multiply-adds (thop)": m.multiply_adds,
            "FLOPs (2 x)": m.flops,
            "bytes": m.size_bytes,
        }
        for size, latency in m.latency.items():
            row[f"ms, batch {size}"] = latency.median_ms
            row[f"p95 ms, batch {size}"] = latency.p95_ms
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def report(outcomes: Mapping[str, Outcome], folder: Path, console: Console, *, context: dict[str, Any]) -> None:
    """Print the table, and write `table.txt`, `table.csv` and `metrics.json` to the folder."""
    frame = table(outcomes)
    shown = _rich(frame)
    console.print(shown)
    plain = StringIO()
    Console(file=plain, width=200).print(shown)
    write_whole(folder / "table.txt", plain.getvalue().encode())
    write_whole(folder / "table.csv", frame.to_csv().encode())
    metrics = {**context, "models": {name: outcome.to_dict() for name, outcome in outcomes.items()}}
    write_whole(folder / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())


def _rich(frame: pd.DataFrame) -> Table:
    shown = Table("", *frame.index)
    for column in shown.columns[1:]:
        column.justify = "right"
    for name, row in frame.T.iterrows():
        shown.add_row(str(name), *[_cell(value) for value in row])
    return shown


def _cell(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() and value >= 1000 else f"{value:.2f}"
