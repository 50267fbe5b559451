"""t-designs: every t points together in equally many blocks, counted; Hadamard and Witt designs.

A t-design is held as the `Design` that it is for t = 2, and `strength` tells the largest t.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from bibdlib.catalogue import construct
from bibdlib.constructions.witt_designs import octads
from bibdlib.design import Design
from bibdlib.errors import InvalidParameters, NotADesign, as_integer
from bibdlib.verify import Certificate

__all__ = [
    "derived_at",
    "hadamard_3_design",
    "residual_at",
    "strength",
    "verified_t",
    "verify_t",
    "witt_design",
]

Blocks = npt.NDArray[np.integer]


def verify_t(design: Design, t: int) -> Certificate:
    """Count in how many blocks each t points lie, C(v, t) sets in O(b C(k, t)) time.

    Raises
    ------
    InvalidParameters
        Unless t is an integer with 1 <= t <= k.
    """
    v, k, t = design.v, design.k, as_integer("t", t, 1, design.k)
    expected = Fraction(design.b * comb(k, t), comb(v, t))
    checked = f"all {comb(v, t)} sets of {t} points"
    if expected.denominator > 1:
        return Certificate(False, checked, f"{t} points lie in {expected} blocks on average, which is no whole number")
    lam = int(expected)
    # Modulo 2^bits > lam, which hides nothing as long as the sum is right (see `verify`).
    counts = np.zeros(comb(v, t), dtype=np.min_scalar_type(lam))
    places = np.array([[comb(x, i + 1) for x in range(v)] for i in range(t)], dtype=np.int64)
    columns = design.blocks.T
    for chosen in combinations(range(k), t):
        numbers = sum(places[i][columns[column]] for i, column in enumerate(chosen))
        np.add.at(counts, numbers, counts.dtype.type(1))
    wrong = np.flatnonzero(counts != lam)
    if not len(wrong):
        return Certificate(True, checked)
    points = _unranked(int(wrong[0]), t)
    found = np.count_nonzero(np.isin(design.blocks, points).sum(axis=1) == t)
    return Certificate(False, checked, f"points {points} lie in {found} blocks, expected {lam}", points)


def verified_t(design: Design, t: int) -> Design:
    """The design itself, or NotADesign with the points that lie in the wrong number of blocks."""
    certificate = verify_t(design, t)
    if not certificate:
        raise NotADesign(certificate)
    return design


def strength(design: Design) -> int:
    """The largest t for which the blocks form a t-design, at most k; 0 if points differ in replication."""
    t = 0
    while t < design.k and verify_t(design, t + 1):
        t += 1
    return t


def derived_at(design: Design, point: int | None = None) -> Design:
    """The blocks through a point, less the point: of a t-design, t >= 3, a (t - 1)-design on the other points.

    The point is the last by default; those after it move down by one.

    Raises
    ------
    InvalidParameters
        If the blocks through the point are none of a 2-design by their number.
    """
    point, through = _through(design, point)
    blocks = design.blocks[through]
    rest = blocks[blocks != point].reshape(len(blocks), design.k - 1)
    return Design.from_blocks(rest - (rest > point), v=design.v - 1)


def residual_at(design: Design, point: int | None = None) -> Design:
    """The blocks that miss a point: of a t-design, t >= 3, a (t - 1)-design on the other points.

    The point is the last by default; those after it move down by one.

    Raises
    ------
    InvalidParameters
        If the blocks that miss the point are none of a 2-design by their number.
    """
    point, through = _through(design, point)
    rest = design.blocks[~through]
    return Design.from_blocks(rest - (rest > point), v=design.v - 1)


def hadamard_3_design(v: int) -> Design:
    """3-(v, v/2, v/4 - 1): the blocks of a symmetric (v - 1, v/2 - 1, v/4 - 1) with a new point, and their complements.

    Raises
    ------
    InvalidParameters
        If v is no multiple of 4, or less than 8.
    NoKnownConstruction
        If the symmetric design, and so the Hadamard matrix of order v, is not known here.
    """
    v = as_integer("v", v, 8)
    if v % 4:
        raise InvalidParameters(f"Argument 'v' must be a multiple of 4, not {v}.")
    incidence = construct(v - 1, v // 2 - 1, v // 4 - 1).incidence_matrix().T
    extended = np.insert(incidence, v - 1, 1, axis=1)
    both = np.concatenate([extended, 1 - extended])
    return verified_t(Design.from_blocks(np.nonzero(both)[1].reshape(-1, v // 2)), 3)


def witt_design(v: int) -> Design:
    """S(5, 8, 24) and S(5, 6, 12), and those derived from them: S(5 - i, 8 - i, 24 - i) and S(5 - i, 6 - i, 12 - i).

    E. Witt, Abh. Math. Sem. Univ. Hamburg 12 (1938) 265-275.

    Raises
    ------
    InvalidParameters
        Unless v is 9, 10, 11, 12 or 21, 22, 23, 24.
    """
    v = as_integer("v", v, 9, 24)
    if 12 < v < 21:
        raise InvalidParameters(f"Argument 'v' must be in 9..12 or 21..24, not {v}.")
    design = Design.from_blocks(octads() if v > 12 else _hexads())
    steps = design.v - v
    for _ in range(steps):
        design = derived_at(design)
    return verified_t(design, 5 - steps)


def _hexads() -> Blocks:
    """The traces of six points that octads leave on a dodecad, the sum of two octads with two points in common."""
    blocks = octads()
    other = next(block for block in blocks[1:] if len(np.intersect1d(block, blocks[0])) == 2)
    dodecad = np.setxor1d(blocks[0], other)
    on_dodecad = np.isin(blocks, dodecad)
    six = on_dodecad.sum(axis=1) == 6
    return np.searchsorted(dodecad, blocks[six][on_dodecad[six]].reshape(-1, 6))


def _through(design: Design, point: int | None) -> tuple[int, npt.NDArray[np.bool_]]:
    point = as_integer("point", design.v - 1 if point is None else point, 0, design.v - 1)
    return point, (design.blocks == point).any(axis=1)


def _unranked(number: int, t: int) -> tuple[int, ...]:
    """The t points whose number is the sum of C(x_i, i + 1), ascending."""
    points = []
    for i in range(t, 0, -1):
        x = i - 1
        while comb(x + 1, i) <= number:
            x += 1
        number -= comb(x, i)
        points.append(x)
    return tuple(reversed(points))
