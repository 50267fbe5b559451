"""What can be done with the folder of a sparse model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from iddl_prune.checkpoint import from_pretrained
from iddl_prune.inventory import inventory

__all__ = ["info"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sparse model, as `iddl-prune` leaves it.")]
AllowFactory = Annotated[
    bool, typer.Option("--allow-factory", help="Import and call the model's package.module:factory.")
]


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
        column.no_wrap = True
    for column in table.columns[2:6]:
        column.justify = "right"
    for e in entries:
        figures = f"{e.kept:,}", f"{e.dense:,}", f"{e.density:.1%}", f"{e.size_bytes:,}"
        table.add_row(e.name, e.kind, *figures, e.pattern, e.kernel)
    Console().print(table)
