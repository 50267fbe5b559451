"""What can be done with the folder of a sparse model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from torch import nn

import iddl_prune.export
import iddl_prune.measure
import iddl_prune.optimize
import iddl_prune.predict
from iddl_prune.checkpoint import from_pretrained
from iddl_prune.convert import to_dense
from iddl_prune.inventory import inventory
from iddl_prune.models import ModelSpec

__all__ = ["export", "info", "measure", "optimize", "predict"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sparse model, as `iddl-prune` leaves it.")]
AllowFactory = Annotated[
    bool, typer.Option("--allow-factory", help="Import and call the model's package.module:factory.")
]
BatchSizes = Annotated[
    list[int],
    typer.Option("--batch-size", min=1, default_factory=lambda: [1, 32], help="May be given several times."),
]
Seconds = Annotated[float, typer.Option(min=0, help="How long each batch size is timed.")]


class Format(StrEnum):
    """The formats of `iddl_prune.export`."""

    ONNX = "onnx"
    PT2 = "pt2"
    TORCHSCRIPT = "torchscript"


class Form(StrEnum):
    """The forms of `iddl_prune.export`."""

    PACKED = "packed"
    DENSE = "dense"


def info(folder: Folder, allow_factory: AllowFactory = False) -> None:
    """Print the layers: numbers stored, designs, densities, bytes, kernels."""
    entries = inventory(from_pretrained(folder, allow_factory=allow_factory))
    kept, dense, size_bytes = (
        sum(getattr(entry, name) for entry in entries) for name in ("kept", "dense", "size_bytes")
    )
    table = Table("layer", "kind", "numbers", "of", "density", "bytes", "design (v, k, λ)", "kernel", show_footer=True)
    footers = ("all", "", f"{kept:,}", f"{dense:,}", f"{kept / dense:.1%}", f"{size_bytes:,}", "", "")
    for column, footer in zip(table.columns, footers, strict=True):
        column.footer = footer
    for column in table.columns[2:6]:
        column.justify = "right"
    for e in entries:
        figures = f"{e.kept:,}", f"{e.dense:,}", f"{e.density:.1%}", f"{e.size_bytes:,}"
        table.add_row(e.name, e.kind, *figures, e.pattern, e.kernel)
    _show(table)


def measure(
    folder: Folder, *, batch_size: BatchSizes, seconds: Seconds = 5.0, allow_factory: AllowFactory = False
) -> None:
    """Count the model and time its fastest form here beside that of the same with its zeros stored, in turns."""
    model = from_pretrained(folder, allow_factory=allow_factory)
    models = {"sparse": model, "dense": to_dense(model)}
    shape = _input_shape(model)
    best = iddl_prune.optimize.optimize_(copy.deepcopy(model), torch.zeros(1, *shape), batch_sizes=batch_size)
    found = iddl_prune.measure.measure(
        models, shape, deployed={"sparse": best.model, "dense": best.dense}, batch_sizes=batch_size, seconds=seconds
    )
    table = _table("", *models)
    for row, name in {"weights": "weights", "multiply-adds (thop)": "multiply_adds", "FLOPs (2 x)": "flops"}.items():
        table.add_row(row, *(f"{getattr(figures, name):,}" for figures in found.values()))
    table.add_row("bytes", *(f"{figures.size_bytes:,}" for figures in found.values()))
    for size in batch_size:
        latencies = [figures.latency[size] for figures in found.values()]
        table.add_row(f"ms, batch {size}", *(f"{latency.median_ms:.2f}" for latency in latencies))
        table.add_row(f"p95 ms, batch {size}", *(f"{latency.p95_ms:.2f}" for latency in latencies))
    _show(table)


def optimize(
    folder: Folder,
    *,
    batch_size: BatchSizes,
    seconds: Annotated[float, typer.Option(min=0, help="How long each layer is timed at each batch size.")] = 0.2,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what was measured before.")] = False,
    allow_factory: AllowFactory = False,
) -> None:
    """Time every kernel for every layer on this machine, dense among them, and print the fastest form of the net.

    The times are kept in this machine's cache, where `iddl_prune.optimize.optimize_` finds them.
    """
    model = from_pretrained(folder, allow_factory=allow_factory)
    example = torch.rand(1, *_input_shape(model))
    deployed = iddl_prune.optimize.optimize_(model, example, batch_sizes=batch_size, seconds=seconds, again=again)
    table = Table(*next(rows := deployed.rows()))
    for row in rows:
        table.add_row(*row)
    _show(table)


def export(
    folder: Folder,
    *,
    batch_size: BatchSizes,
    format: Annotated[Format, typer.Option(help="What the file is for.")] = Format.ONNX,
    form: Annotated[Form, typer.Option(help="Kept weights alone, or the zeros too.")] = Form.PACKED,
    output: Annotated[Path | None, typer.Option(help="The file.", show_default="DIR/model.FORMAT")] = None,
    seconds: Seconds = 5.0,
    allow_factory: AllowFactory = False,
) -> None:
    """Write the model for another runtime, check its answers there, and time it beside the dense model."""
    model = from_pretrained(folder, allow_factory=allow_factory)
    shape = _input_shape(model)
    path = output or folder / f"model.{format.value}"
    with TemporaryDirectory() as aside:
        files = {
            f"dense {format.value}": iddl_prune.export.export(
                model, Path(aside) / path.name, shape, format=format.value, form="dense"
            ),
            path.name: iddl_prune.export.export(model, path, shape, format=format.value, form=form.value),
        }
    table = _table("", *files)
    table.add_row("bytes", *(f"{file.size_bytes:,}" for file in files.values()))
    table.add_row("deviation", *(f"{file.error:.0e}" for file in files.values()))
    runs: Mapping[str, nn.Module] = {name: file.run for name, file in files.items()}
    for size in batch_size:
        latency = iddl_prune.measure.time_models(runs, (size, *shape), seconds=seconds)
        table.add_row(f"ms, batch {size}", *(f"{latency[name].median_ms:.2f}" for name in files))
    _show(table)
    typer.echo(f"{path} gives the model's answers.")


def predict(
    folder: Folder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files of any format that Pillow reads.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes are told.")] = 5,
    allow_factory: AllowFactory = False,
) -> None:
    """Tell what the images show: the likeliest classes and their probabilities, tab-separated, a line an image."""
    model = from_pretrained(folder, allow_factory=allow_factory)
    for path, classes in zip(images, iddl_prune.predict.predict(model, images, top=top), strict=True):
        typer.echo("\t".join([str(path), *(f"{name} {probability:.1%}" for name, probability in classes)]))


def _input_shape(model: nn.Module) -> tuple[int, ...]:
    spec: ModelSpec = model.spec  # type: ignore[assignment]
    return spec.input_shape


def _show(table: Table) -> None:
    """Every figure whole: where the lines are too long for the screen, they go on in the next."""
    console = Console()
    whole = Measurement.get(console, console.options.update_width(1000), table).maximum
    console.width = max(console.width, whole)
    console.print(table)


def _table(*headers: str) -> Table:
    table = Table(*headers)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
