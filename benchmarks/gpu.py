"""The GPU kernels on a card: right, tuned, timed against the best dense product; one call, under ten minutes.

    python benchmarks/gpu.py --output benchmarks/results/gpu.json

Each run is written when it is done and not made twice, so a call that was cut off is called again. With `--smoke`
the same path is walked on a CPU in Triton's interpreter, at sizes that say nothing about speed.
"""

from __future__ import annotations

import os
import sys

if "--smoke" in sys.argv:
    # Before anything imports Triton.
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ["TORCHDYNAMO_DISABLE"] = "1"

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from gpu_cases import Scale, check_linear, linear, network, training_step
from gpu_timing import Ceilings, ceilings
from rich.console import Console
from rich.table import Table
from torch import nn

from iddl_prune.files import write_whole

# Of the work order: at least, and aimed at, by run.
TARGETS = {
    "linear bfloat16 1": (1.5, 3),
    "linear bfloat16 256": (1.5, 2.5),
    "linear bfloat16 1024": (2, 4),
    "linear bfloat16 8192": (4, 6),
    "linear float32 8192": (3, 3),
    "training bfloat16 8192": (1.5, 1.5),
    "network bfloat16 256": (1.2, 1.8),
    "network bfloat16 1024": (1.2, 1.8),
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _resnet18() -> nn.Module:
    from iddl_prune.models import build

    return build("resnet18", num_classes=10, input_shape=(3, 32, 32), stem="cifar")


def _small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.Flatten(), nn.Linear(256, 4)
    )


FULL = Scale("cuda", 4096, 64, (1, 256, 1024, 8192), (1024, 8192), (256, 1024), 3.0, 6.0, _resnet18, 0.125)
SMOKE = Scale("cpu", 112, 16, (1, 40), (5,), (2,), 0.1, 0.1, _small, 0.4, (3, 4, 4))


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="The JSON to begin or to go on with.")] = Path(
        "benchmarks/results/gpu.json"
    ),
    seconds: Annotated[float, typer.Option(help="No run is begun after so long.")] = 480,
    only: Annotated[str, typer.Option(help="Make the runs whose names begin so.")] = "",
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny, on the CPU, in the interpreter.")] = False,
) -> None:
    """Make every run that is not in the JSON yet, then print the tables."""
    console = Console(width=140)
    if not smoke and not torch.cuda.is_available():
        console.print("There is no CUDA device; --smoke walks the same path on the CPU.")
        raise typer.Exit(2)
    scale = SMOKE if smoke else FULL
    begun = time.monotonic()
    data: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {"runs": {}}
    data["card"] = card(scale.device)
    limit = _ceilings(data, scale, smoke)
    for key, run in runs(scale, limit).items():
        if key in data["runs"] or not key.startswith(only):
            continue
        if time.monotonic() - begun > seconds:
            console.print(f"Out of time before '{key}'; call again to go on.")
            break
        console.print(f"{time.monotonic() - begun:5.0f} s  {key}")
        data["runs"][key] = run()
        write_whole(output, (json.dumps(data, indent=1) + "\n").encode())
    for shown in tables(data):
        console.print(shown)
    if not all(run["holds"] for run in data["runs"].values() if "holds" in run):
        raise typer.Exit(1)


def runs(scale: Scale, limit: Ceilings) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every run by name, the checks first, then by how much hangs on it."""
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    bf16, fp16, fp32 = torch.bfloat16, torch.float16, torch.float32
    for dtype in (bf16, fp32, fp16):
        made[f"check {_short(dtype)}"] = lambda dtype=dtype: exactly(lambda: check_linear(scale, dtype))
    for batch in scale.batches:
        made[f"linear bfloat16 {batch}"] = lambda batch=batch: linear(scale, limit, bf16, batch)
    for batch in scale.image_batches:
        made[f"network bfloat16 {batch}"] = lambda batch=batch: network(scale, bf16, batch)
    for batch in scale.training_batches[::-1]:
        made[f"training bfloat16 {batch}"] = lambda batch=batch: training_step(scale, limit, bf16, batch)
    for batch in scale.batches[::-1]:
        made[f"linear float32 {batch}"] = lambda batch=batch: linear(scale, limit, fp32, batch)
    return made


def exactly(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run with float32 products in float32; elsewhere they are rounded to TF32, on both sides."""
    torch.set_float32_matmul_precision("highest")
    try:
        return check()
    finally:
        torch.set_float32_matmul_precision("high")


def card(device: str) -> dict[str, Any]:
    """The card and what drives it."""
    import triton

    told: dict[str, Any] = {"device": device, "torch": torch.__version__, "triton": triton.__version__}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        told |= {
            "name": properties.name,
            "processors": properties.multi_processor_count,
            "cache_bytes": properties.L2_cache_size,
        }
    return told


def _ceilings(data: dict[str, Any], scale: Scale, smoke: bool) -> Ceilings:
    torch.set_float32_matmul_precision("high")
    if "ceilings" not in data:
        found = ceilings(scale.device, smoke=smoke)
        data["ceilings"] = {"bytes_per_s": found.bytes_per_s, "flops": found.flops}
    return Ceilings(**data["ceilings"])


def tables(data: dict[str, Any]) -> list[Table]:
    """The summary with its targets, and every side of every run."""
    summary = Table(title=f"against the best dense, on {data['card'].get('name', 'the CPU, in an interpreter')}")
    for heading in ("run", "times faster", "wanted", "aim", "fraction of the floor"):
        summary.add_column(heading, justify="left" if heading == "run" else "right")
    sides = Table(title="median of one call in microseconds")
    for heading in ("run", "side", "median", "95 %", "beside it, or why not"):
        sides.add_column(heading, justify="right" if heading in ("median", "95 %") else "left")
    for key, run in data["runs"].items():
        if "holds" in run:
            errors = ", ".join(f"{what} {error:.1e}" for what, error in run["errors"].items())
            summary.add_row(key, "right" if run["holds"] else "WRONG", "", "", errors)
            continue
        wanted = [f"{target:g}" for target in TARGETS.get(key, ())] or ["", ""]
        fraction = run.get("fraction_of_floor")
        summary.add_row(key, _number(run["times_faster"], ".2f"), *wanted, _number(fraction, ".0%"))
        for name, choice in run.get("kernels", {}).items():
            least, dense = (1e6 * choice["times"][kernel] for kernel in (choice["kernel"], "dense"))
            sides.add_row(key, f"{name} by {choice['kernel']}", f"{least:.1f}", "", f"dense {dense:.1f}")
        for name, told in run["times"].items():
            times = [_number(told.get(what, None), ".1f", 1e6) for what in ("median_s", "p95_s")]
            sides.add_row(key, name, *times, told.get("error", ""))
    return [sides, summary]


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return "" if value is None else format(value * unit, form)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    app()
