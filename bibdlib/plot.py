"""Pictures of designs; each function draws on given axes, or on new ones, and returns them.

matplotlib and networkx (extra `iddl[plot]`) are imported when the first picture is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bibdlib.design import Design
from bibdlib.errors import InvalidParameters
from bibdlib.extras import load

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes

__all__ = ["draw_bipartite", "draw_incidence", "draw_plane", "draw_spectrum", "to_networkx"]

Positions = npt.NDArray[np.float64]


def to_networkx(design: Design) -> networkx.Graph:
    """The incidence graph: point x is the node ("point", x), block i the node ("block", i).

    Nodes carry the attribute `bipartite` (0 for points, 1 for blocks), as networkx.bipartite expects.
    """
    graph = load("networkx", "plot").Graph()
    graph.add_nodes_from((("point", x) for x in range(design.v)), bipartite=0)
    graph.add_nodes_from((("block", i) for i in range(design.b)), bipartite=1)
    graph.add_edges_from((("point", x), ("block", i)) for i, block in enumerate(design.blocks.tolist()) for x in block)
    return graph


def draw_plane(design: Design, *, ax: Axes | None = None) -> Axes:
    """Points and blocks in the plane: the Fano plane as everybody knows it, others with their points on a circle.

    Blocks are polygons in colours of their own, so a picture stays readable up to some forty blocks.
    """
    patches, pyplot = load("matplotlib.patches", "plot"), load("matplotlib.pyplot", "plot")
    ax = _axes(ax, f"({design.v}, {design.k}, {design.lam}) design")
    is_fano = (design.v, design.k, design.lam) == (7, 3, 1)
    places, circle = _fano(design) if is_fano else (_around(design.v), None)
    for i, block in enumerate(design.blocks):
        colour = pyplot.get_cmap("tab10")(i % 10)
        if circle is not None and np.array_equal(block, circle):
            ax.add_patch(patches.Circle((0, 0), 0.5, fill=False, edgecolor=colour, linewidth=2))
        elif is_fano:
            ends = places[block][np.argsort(places[block] @ (places[block[0]] - places[block[1]]))]
            ax.plot(*ends.T, color=colour, linewidth=2)
        else:
            ax.add_patch(patches.Polygon(places[block], fill=True, facecolor=(*colour[:3], 0.06), edgecolor=colour))
    ax.scatter(places[:, 0], places[:, 1], s=220, color="white", edgecolors="black", zorder=3)
    for x, place in enumerate(places):
        ax.annotate(str(x), place, ha="center", va="center", zorder=4)
    ax.set_aspect("equal")
    ax.margins(0.1)
    ax.set_axis_off()
    return ax


def draw_incidence(incidence: Design | npt.ArrayLike, *, ax: Axes | None = None) -> Axes:
    """The incidence matrix of a design, or any 0/1 matrix: a dark cell where a point (row) lies on a block (column)."""
    matrix = _matrix(incidence)
    ax = _axes(ax, f"{matrix.shape[0]} points, {matrix.shape[1]} blocks")
    ax.imshow(matrix, cmap="binary", interpolation="nearest", vmin=0, vmax=1)
    ax.set_xlabel("block")
    ax.set_ylabel("point")
    ax.locator_params(integer=True)
    return ax


def draw_bipartite(design: Design, *, ax: Axes | None = None) -> Axes:
    """The incidence graph: points on the left, blocks on the right."""
    networkx = load("networkx", "plot")
    ax = _axes(ax, f"({design.v}, {design.k}, {design.lam}) as a bipartite graph")
    graph = to_networkx(design)
    heights = {"point": design.v + 1, "block": design.b + 1}
    places = {(kind, i): (kind == "block", -(i + 1) / heights[kind]) for kind, i in graph}
    colours = ["tab:blue" if side == 0 else "tab:orange" for _, side in graph.nodes(data="bipartite")]
    networkx.draw_networkx(
        graph,
        places,
        ax=ax,
        labels={node: node[1] for node in graph},
        node_color=colours,
        edge_color="grey",
        font_color="white",
        font_size=8,
    )
    ax.set_axis_off()
    return ax


def draw_spectrum(incidence: Design | npt.ArrayLike, *, ax: Axes | None = None, label: str | None = None) -> Axes:
    """The singular values of an incidence matrix, largest first.

    Of a design they are sqrt(r k) and, v - 1 times, sqrt(r - lam): no bipartite graph with these degrees
    has a larger gap. Pass a random 0/1 matrix on the same axes to see the difference.
    """
    values = np.linalg.svd(_matrix(incidence).astype(float), compute_uv=False)
    ax = _axes(ax, "Singular values of the incidence matrix")
    ax.plot(np.arange(1, len(values) + 1), values, marker="o", markersize=3, linestyle="none", label=label)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("number")
    ax.set_ylabel("singular value")
    if label is not None:
        ax.legend()
    return ax


def _axes(ax: Axes | None, title: str) -> Axes:
    """The axes given, or new ones with a title."""
    if ax is None:
        _, ax = load("matplotlib.pyplot", "plot").subplots()
        ax.set_title(title)
    return ax


def _matrix(incidence: Design | npt.ArrayLike) -> npt.NDArray[Any]:
    matrix = incidence.incidence_matrix() if isinstance(incidence, Design) else np.asarray(incidence)
    if matrix.ndim != 2:
        raise InvalidParameters(f"Argument 'incidence' must be a design or a matrix, not of {matrix.ndim} dimensions.")
    return matrix


def _around(count: int) -> Positions:
    """Points evenly on the unit circle, the first on top."""
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _fano(design: Design) -> tuple[Positions, npt.NDArray[np.integer]]:
    """Places of the seven points, and the line drawn as a circle: that of the midpoints of a triangle's sides."""
    a, b, c = next((0, 1, c) for c in range(2, 7) if not len(_common(design, 0, 1, c)))
    sides = [(a, b), (b, c), (c, a)]
    middles = [next(int(x) for x in design.block(int(design.blocks_through(*s)[0])) if x not in s) for s in sides]
    places = np.zeros((7, 2))
    corners = _around(3)
    places[[a, b, c]] = corners
    for middle, (i, j) in zip(middles, [(0, 1), (1, 2), (2, 0)], strict=True):
        places[middle] = (corners[i] + corners[j]) / 2
    return places, np.sort(middles)


def _common(design: Design, *points: int) -> npt.NDArray[Any]:
    """Numbers of the blocks through all the points."""
    return np.flatnonzero(np.isin(design.blocks, points).sum(axis=1) == len(points))
