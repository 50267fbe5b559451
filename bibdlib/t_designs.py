"""t-designs: every t points together in equally many blocks, counted; Steiner quadruple, Hadamard and Witt designs.

A t-design is held as the `Design` that it is for t = 2, and `strength` tells the largest t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import numpy.typing as npt

from bibdlib.catalogue import construct
from bibdlib.constructions.witt_designs import octads
from bibdlib.design import Design
from bibdlib.errors import InvalidParameters, NoKnownConstruction, NonexistentDesign, NotADesign, as_integer
from bibdlib.fields import finite_field
from bibdlib.groups import cyclic, develop
from bibdlib.nonexistence import Existence, Status
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters
from bibdlib.verify import Certificate

__all__ = [
    "derived_at",
    "hadamard_3_design",
    "residual_at",
    "steiner_quadruple_system",
    "strength",
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
    return _verified(Design.from_blocks(np.nonzero(both)[1].reshape(-1, v // 2)), 3)


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
    return _verified(design, 5 - steps)


def _hexads() -> Blocks:
    """The traces of six points that octads leave on a dodecad, the sum of two octads with two points in common."""
    blocks = octads()
    other = next(block for block in blocks[1:] if len(np.intersect1d(block, blocks[0])) == 2)
    dodecad = np.setxor1d(blocks[0], other)
    on_dodecad = np.isin(blocks, dodecad)
    six = on_dodecad.sum(axis=1) == 6
    return np.searchsorted(dodecad, blocks[six][on_dodecad[six]].reshape(-1, 6))


# Base blocks of an S(3, 4, v) under a cyclic group acting on v points in orbits as long as itself, and under a
# multiplier of the group, found by exact cover of the orbits of three points by orbits of four (OR-tools CP-SAT):
# the order of the group, the multiplier, the blocks.
_FOUND = {
    14: (
        7,
        1,
        "0 1 2 5, 0 1 3 8, 0 1 7 13, 0 1 9 10, 0 1 11 12, 0 2 8 13, 0 2 9 11, 0 2 10 12, 0 3 7 11, "
        "0 3 9 12, 0 3 10 13, 0 7 8 12, 7 8 9 11",
    ),
    26: (
        26,
        1,
        "0 1 2 17, 0 1 3 24, 0 1 4 7, 0 1 5 9, 0 1 6 11, 0 1 8 20, 0 1 10 13, 0 1 12 22, 0 1 14 18, "
        "0 1 15 23, 0 1 19 21, 0 2 4 14, 0 2 6 22, 0 2 9 19, 0 2 10 20, 0 2 11 15, 0 2 13 16, 0 2 18 21, "
        "0 3 7 12, 0 3 9 21, 0 3 11 20, 0 3 14 19, 0 4 11 19, 0 5 11 17, 0 5 13 18, 0 6 13 19",
    ),
    34: (
        34,
        13,
        "0 1 2 18, 0 1 3 25, 0 1 4 12, 0 1 5 30, 0 1 6 24, 0 1 7 16, 0 1 8 27, 0 1 9 20, 0 1 13 14, "
        "0 2 4 19, 0 2 5 31, 0 2 6 22, 0 2 8 10, 0 3 6 20, 0 3 9 14, 0 4 11 27, 0 6 12 23",
    ),
    38: (
        38,
        7,
        "0 1 2 9, 0 1 3 29, 0 1 4 7, 0 1 5 21, 0 1 10 33, 0 1 12 26, 0 1 13 36, 0 1 14 24, 0 1 15 18, "
        "0 1 17 25, 0 1 19 20, 0 1 22 28, 0 1 30 35, 0 2 8 10, 0 2 14 22, 0 2 16 25, 0 2 17 19, 0 2 24 34, "
        "0 3 8 20, 0 3 9 26, 0 4 8 23, 0 4 10 30, 0 4 12 32",
    ),
}


def steiner_quadruple_system(v: int) -> Design:
    """S(3, 4, v), by the first that applies: an orbit of PSL(2, v - 1), base blocks, v = 2 u, v = 3 u - 2.

    H. Hanani, Canad. J. Math. 12 (1960) 145-157, proves that it exists whenever v = 2 or 4 mod 6.

    Raises
    ------
    NonexistentDesign
        If v is neither 2 nor 4 mod 6.
    NoKnownConstruction
        If v comes from none of these, as v = 50, 62, 70, 74.
    """
    v = as_integer("v", v, 4)
    p = Parameters(v, 4, max(1, (v - 2) // 2))
    if v % 6 not in (2, 4):
        reason = f"an S(3, 4, v) needs v = 2 or 4 mod 6, not {v} = {v % 6} mod 6"
        raise NonexistentDesign(Existence(p, Status.NONEXISTENT, reason, "counting"))
    blocks = _quadruples(v)
    if blocks is None:
        raise NoKnownConstruction(Existence(p, Status.UNKNOWN, f"no S(3, 4, {v}) is built here"))
    return _verified(Design(p, blocks), 3)


def _quadruples(v: int) -> Blocks | None:
    """Blocks of an S(3, 4, v), or None."""
    if v == 4:
        return np.arange(4)[None]
    if v % 12 == 8 and prime_power(v - 1):
        return _linear_quadruples(v - 1)
    if v == 10:
        return witt_design(10).blocks
    if v in _FOUND:
        return _developed(v, *_FOUND[v])
    ways: list[tuple[int, int, Callable[[Blocks, int], Blocks]]] = [(v, 2, _doubled), (v + 2, 3, _tripled)]
    for larger, factor, extend in ways:
        smaller, remainder = divmod(larger, factor)
        if remainder == 0 and smaller % 6 in (2, 4):
            blocks = _quadruples(smaller)
            if blocks is not None:
                return extend(blocks, smaller)
    return None


def _developed(v: int, order: int, multiplier: int, bases: str) -> Blocks:
    """The images of base blocks under translations, and for v = order multiplications by powers of the multiplier."""
    starters = np.array([base.split() for base in bases.split(",")], dtype=np.int64)
    turned = [starters]
    while (power := pow(multiplier, len(turned), order)) != 1 % order:
        turned.append(starters * power % order)
    return np.unique(develop(np.concatenate(turned), cyclic(order), orbits=v // order), axis=0)


def _linear_quadruples(q: int) -> Blocks:
    """The images of {infinity, 0, 1, w}, w of order 6, under PSL(2, q), q = 7 mod 12; infinity is q.

    The stabilizer of the four is A_4, and PSL(2, q) is transitive on sets of three points.
    """
    field = finite_field(q)
    w = int(field.powers[(q - 1) // 6])
    base = field.add(field.multiply(field.coset(2)[:, None], np.array([0, 1, w])), np.arange(q)[:, None, None])
    lines = np.insert(base.reshape(-1, 3), 3, q, axis=1)
    # x -> -1/x carries the blocks through infinity to those through 0; translations carry these everywhere.
    inverse = np.append(field.subtract(0, field.power(np.arange(q), q - 2)), 0)
    inverse[0] = q
    turned = inverse[lines]
    finite = turned[(turned < q).all(axis=1)]
    moved = field.add(finite[:, None], np.arange(q)[:, None]).reshape(-1, 4)
    return np.unique(np.sort(np.concatenate([lines, moved]), axis=1), axis=0)


def _doubled(blocks: Blocks, u: int) -> Blocks:
    """S(3, 4, 2 u): two copies, and edges of one with edges of the other that have the same colour."""
    matchings = _one_factorization(u)
    mixed = [[*x, y[0] + u, y[1] + u] for matching in matchings for x, y in product(matching, matching)]
    return np.concatenate([blocks, blocks + u, np.array(mixed)])


def _one_factorization(u: int) -> list[list[tuple[int, int]]]:
    """The edges of the complete graph on u points, u even, in u - 1 perfect matchings."""
    m = u - 1
    return [[(i, m), *(((i + j) % m, (i - j) % m) for j in range(1, u // 2))] for i in range(m)]


def _tripled(blocks: Blocks, u: int) -> Blocks:
    """S(3, 4, 3 u - 2): three copies of all points but the last, which stays one.

    H. Hanani, Canad. J. Math. 12 (1960) 145-157.
    """
    return np.array(list(_tripled_blocks(blocks.tolist(), u - 1)))


def _tripled_blocks(blocks: list[list[int]], m: int) -> Iterator[list[int]]:
    for x, y, z, t in blocks:
        for i, j, l in product(range(3), repeat=3):
            last = -(i + j + l) % 3
            if t < m:
                yield [x + m * i, y + m * j, z + m * l, t + m * last]
            elif last == 0:
                yield [x + m * i, y + m * j, z + m * l, 3 * m]
        if t == m:
            for a, b, c in [(x, y, z), (y, z, x), (z, x, y)]:
                yield from ([a + m * i, b + m * i, c + m * ((i + 1) % 3), c + m * ((i + 2) % 3)] for i in range(3))
    for x, y in combinations(range(m), 2):
        yield from ([x + m * i, y + m * i, x + m * ((i + 1) % 3), y + m * ((i + 1) % 3)] for i in range(3))
    yield from ([x, x + m, x + 2 * m, 3 * m] for x in range(m))


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


def _verified(design: Design, t: int) -> Design:
    certificate = verify_t(design, t)
    if not certificate:
        raise NotADesign(certificate)
    return design
