"""Symmetry: automorphism groups, isomorphisms and canonical forms, by nauty on the incidence graph.

Everything here needs pynauty (extra `iddl[structure]`).

References
----------
B. D. McKay, A. Piperno, J. Symbolic Comput. 60 (2014) 94-112
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.design import Design
from bibdlib.extras import load

__all__ = ["AutomorphismGroup", "automorphism_group", "canonical_form", "isomorphism"]


@dataclass(frozen=True, eq=False)
class AutomorphismGroup:
    """The permutations of the points that carry blocks to blocks, repeated ones as often.

    Attributes
    ----------
    order
        Number of automorphisms.
    generators
        Integer array of shape (number, v): row g carries point x to g[x]. Empty for the trivial group.
    orbits
        The points that automorphisms carry to each other, each orbit ascending.
    """

    order: int
    generators: npt.NDArray[np.int64] = field(repr=False)
    orbits: list[list[int]] = field(repr=False)


def automorphism_group(design: Design) -> AutomorphismGroup:
    """The full automorphism group of a design, on its points.

    Raises
    ------
    MissingExtra
        If pynauty is not installed.
    """
    autgrp = load("pynauty", "structure").autgrp
    found, _, _, orbit_of, _ = autgrp(_graph(design))
    # Repeated blocks are one vertex, so only the identity fixes all points.
    generators = np.array([generator[: design.v] for generator in found], dtype=np.int64).reshape(-1, design.v)
    representatives = np.array(orbit_of[: design.v])
    orbits = [np.flatnonzero(representatives == x).tolist() for x in np.unique(representatives)]
    # nauty gives the order as a float; the orbits along a chain of stabilizers give it exactly.
    order, fixed = 1, list[int]()
    while found:
        moved = next(x for x in range(design.v) if any(generator[x] != x for generator in found))
        order *= sum(representative == orbit_of[moved] for representative in orbit_of[: design.v])
        fixed.append(moved)
        found, _, _, orbit_of, _ = autgrp(_graph(design, fixed))
    return AutomorphismGroup(order, generators, orbits)


def canonical_form(design: Design) -> Design:
    """The design with its points renumbered so that isomorphic designs become equal.

    Raises
    ------
    MissingExtra
        If pynauty is not installed.
    """
    return Design(design.parameters, _canonical_numbers(design)[design.blocks])


def isomorphism(first: Design, second: Design) -> npt.NDArray[np.int64] | None:
    """A map of points that carries the blocks of one design to those of another, or None if there is none.

    Returns
    -------
    Integer array of shape (v,): point x of the first goes to the point at place x.

    Raises
    ------
    MissingExtra
        If pynauty is not installed.
    """
    if first.parameters != second.parameters:
        return None
    ours, theirs = _canonical_numbers(first), _canonical_numbers(second)
    mapping = np.argsort(theirs)[ours]
    return mapping if Design(first.parameters, mapping[first.blocks]) == second else None


def _canonical_numbers(design: Design) -> npt.NDArray[np.int64]:
    # The label lists the vertices in their new order, points first, as the first colour.
    label = load("pynauty", "structure").canon_label(_graph(design))
    return np.argsort(label[: design.v])


def _graph(design: Design, fixed: list[int] | None = None) -> Any:
    """The incidence graph, coloured: fixed points one by one, other points, blocks by how often they are repeated."""
    blocks, times = np.unique(design.blocks, axis=0, return_counts=True)
    v, fixed = design.v, fixed or []
    colours = [{x} for x in fixed] + [set(range(v)) - set(fixed)]
    colours += [set((v + np.flatnonzero(times == repeated)).tolist()) for repeated in np.unique(times)]
    return load("pynauty", "structure").Graph(
        v + len(blocks),
        adjacency_dict={v + i: block for i, block in enumerate(blocks.tolist())},
        vertex_coloring=[colour for colour in colours if colour],
    )
