"""Resolutions: the blocks of a design dealt into parallel classes, each covering every point once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.kirkman import kirkman_classes
from bibdlib.cp_sat import solve
from bibdlib.design import Design
from bibdlib.errors import as_seconds
from bibdlib.extras import load
from bibdlib.fields import finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["is_resolution", "resolution", "unresolvable"]

_BOSE = "R. C. Bose, Sankhya 6 (1942) 105-110"

Classes = npt.NDArray[np.int64]


def unresolvable(parameters: Parameters) -> str | None:
    """Why no design with these parameters can be resolved, or None if counting does not exclude it.

    R. C. Bose, Sankhya 6 (1942) 105-110: in a resolvable design b >= v + r - 1, and where they are equal
    any two blocks that are not parallel meet in k^2 / v points.
    """
    p = parameters
    if p.v % p.k:
        return f"the blocks of a parallel class partition the points, but k = {p.k} does not divide v = {p.v}"
    if p.is_complete or p.b > p.v + p.r - 1:
        return None
    if p.b < p.v + p.r - 1:
        return f"b = {p.b} is less than v + r - 1 = {p.v + p.r - 1} ({_BOSE})"
    if p.k**2 % p.v:
        return f"b = v + r - 1 = {p.b}, but k^2 / v = {Fraction(p.k**2, p.v)} is no whole number ({_BOSE})"
    return None


def is_resolution(design: Design, classes: npt.ArrayLike) -> bool:
    """Whether each row of block numbers covers every point once, and all rows every block once."""
    classes = np.asarray(classes)
    if design.v % design.k or classes.shape != (design.r, design.v // design.k):
        return False
    if not np.array_equal(np.sort(classes, axis=None), np.arange(design.b)):
        return False
    covered = np.sort(design.blocks[classes].reshape(design.r, design.v), axis=1)
    return bool((covered == np.arange(design.v)).all())


def resolution(design: Design, *, time_limit: float = 60) -> Classes | None:
    """A resolution of the design, or None if it has none.

    Where disjoint blocks are always parallel (affine planes, hyperplanes of AG(n, q), Hadamard 3-designs), for
    the lines of AG(n, q) and for the Kirkman triple systems built here the classes are read off; otherwise OR-tools
    (extra `iddl[search]`) looks for an exact cover.

    Parameters
    ----------
    design
        A verified design.
    time_limit
        Seconds that the search may take; with 0 there is none.

    Returns
    -------
    Integer array of shape (r, v / k): the numbers of the blocks of each parallel class, ascending, or None.

    Raises
    ------
    InvalidParameters
        If `time_limit` is negative.
    TimeoutError
        If the search ends without an answer.
    MissingExtra
        If a search is needed and OR-tools is not installed.
    """
    time_limit = as_seconds("time_limit", time_limit)
    if unresolvable(design.parameters) is not None:
        return None
    if design.parameters.is_complete:
        return np.arange(design.b)[:, None]
    if design.b == design.v + design.r - 1:
        return _classes(design, _disjointness(design))
    for labels in (_directions(design), _kirkman(design)):
        classes = _classes(design, labels)
        if classes is not None:
            return classes
    return _searched(design, time_limit)


def _classes(design: Design, labels: npt.NDArray[np.integer] | None) -> Classes | None:
    """The blocks gathered by label, if that is a resolution."""
    if labels is None:
        return None
    classes = np.argsort(labels, kind="stable").reshape(design.r, -1)
    return classes if is_resolution(design, classes) else None


def _disjointness(design: Design) -> npt.NDArray[np.integer]:
    """Blocks numbered by the first that they equal or do not meet, the only parallelism where b = v + r - 1."""
    labels = np.full(design.b, -1)
    for i, block in enumerate(design.blocks):
        if labels[i] < 0:
            meets = np.zeros(design.b, dtype=bool)
            meets[design.incidence[block].ravel()] = True
            labels[~meets & (labels < 0)] = i
            labels[i] = i
    return labels


def _directions(design: Design) -> npt.NDArray[np.integer] | None:
    """Blocks numbered by direction, where they are lines of AG(n, q) with points numbered as in `finite_geometry`."""
    witness, block = prime_power(design.v), prime_power(design.k)
    if design.lam != 1 or witness is None or block is None or witness[0] != block[0] or witness[1] % block[1]:
        return None
    field, n = finite_field(design.k), witness[1] // block[1]
    digits = design.blocks[:, :2, None] // field.q ** np.arange(n - 1, -1, -1) % field.q
    steps = field.subtract(digits[:, 1], digits[:, 0])
    leading = steps[np.arange(design.b), np.argmax(steps != 0, axis=1)]
    steps = field.multiply(steps, field.power(leading, field.q - 2)[:, None])
    return steps @ field.q ** np.arange(n - 1, -1, -1)


def _kirkman(design: Design) -> npt.NDArray[np.integer] | None:
    """Blocks numbered by parallel class, where they are those of `kirkman_triple_system`."""
    if (design.k, design.lam) != (3, 1) or design.v % 18 != 3 or prime_power(design.v // 3) is None:
        return None
    blocks, labels = kirkman_classes(design.v // 3)
    blocks = np.sort(blocks, axis=1)
    order = np.lexsort(blocks.T[::-1])
    return labels[order] if np.array_equal(blocks[order], design.blocks) else None


def _searched(design: Design, time_limit: float) -> Classes | None:
    """Deal the blocks into classes by constraint programming; the blocks through point 0 open one class each."""
    if not time_limit:
        raise TimeoutError(f"No resolution of {design} is known from its construction, and no search was allowed.")
    cp_model = load("ortools.sat.python.cp_model", "search")
    model = cp_model.CpModel()
    takes = [[model.new_bool_var("") for _ in range(design.r)] for _ in range(design.b)]
    for i in range(design.b):
        model.add_exactly_one(takes[i])
    for x in range(design.v):
        for c in range(design.r):
            model.add_exactly_one(takes[int(i)][c] for i in design.incidence[x])
    for c, i in enumerate(design.incidence[0]):
        model.add(takes[int(i)][c] == 1)
    solver, status = solve(model, max_time_in_seconds=time_limit)
    if status == cp_model.INFEASIBLE:
        return None
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise TimeoutError(f"No resolution of {design} was found or excluded in {time_limit:g} seconds.")
    labels = np.array([[solver.value(variable) for variable in row] for row in takes]).argmax(axis=1)
    return _classes(design, labels)
