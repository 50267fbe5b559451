"""Draw the picture of the GPU kernels: python docs/images/draw_kernels.py

The Fano plane as a layer of tiles: what a program reads and writes, forward and backward.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import bibdlib

ROWS = 3
PLAIN, KEPT, READ, WRITTEN = "#e8e8e8", "#9db4c8", "#3b78a8", "#c8553d"

design = bibdlib.construct(7, 3, 1)
reads = np.zeros((design.b, design.v), dtype=bool)
np.put_along_axis(reads, design.blocks, True, axis=1)


def tile(ax: Axes, column: float, row: float, colour: str, width: float = 0.9, height: float = 0.9) -> None:
    ax.add_patch(Rectangle((column, row), width, height, facecolor=colour, edgecolor="none"))


def draw(ax: Axes, title: str, *, block: int | None = None, point: int | None = None) -> None:
    """Inputs above, weights below them, outputs to the right; one program's part in colour."""
    for x in range(design.v):
        for row in range(ROWS):
            mine = row == 1 and (reads[block, x] if block is not None else x == point)
            colour = PLAIN if not mine else READ if block is not None else WRITTEN
            tile(ax, x, row, colour)
    for y in range(design.b):
        for x in range(design.v):
            if reads[y, x]:
                tile(ax, x, ROWS + 1 + y, READ if y == block or x == point else KEPT)
        for row in range(ROWS):
            mine = row == 1 and (y == block if block is not None else bool(reads[y, point]))
            colour = PLAIN if not mine else WRITTEN if block is not None else READ
            tile(ax, design.v + 1 + row, ROWS + 1 + y, colour)
    inputs, outputs = ("inputs", "outputs") if block is not None else ("gradient by the inputs", "by the outputs")
    ax.text(design.v / 2, -0.3, f"{inputs}, a row of tiles for some samples each", ha="center", fontsize=8)
    ax.text(design.v + 1 + ROWS / 2, ROWS + 0.7, outputs, ha="center", fontsize=8)
    ax.text(-0.3, ROWS + 1 + design.b / 2, "kept weights", ha="center", va="center", rotation=90, fontsize=8)
    ax.set(xlim=(-0.8, design.v + ROWS + 1.4), ylim=(ROWS + design.b + 1.2, -1), aspect="equal")
    ax.set_title(title, fontsize=10)
    ax.axis("off")


figure = Figure(figsize=(9.6, 5.2), layout="constrained")
left, right = figure.subplots(1, 2)
draw(left, "forward: a tile of outputs gathers its k tiles", block=3)
draw(right, "backward: a tile of inputs gathers its r tiles", point=2)
figure.text(0.5, 0.01, "one program reads what is blue, and writes what is red, alone", ha="center", fontsize=9)
figure.savefig(Path(__file__).with_name("kernels.png"), dpi=100)
