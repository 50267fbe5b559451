"""Steiner quadruple systems S(3, 4, v): every three points in one block of four."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from bibdlib.design import Design
from bibdlib.errors import NoKnownConstruction, NonexistentDesign, as_integer
from bibdlib.fields import finite_field
from bibdlib.groups import cyclic, develop
from bibdlib.nonexistence import Existence, Status
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters
from bibdlib.t_designs import verified_t, witt_design

__all__ = ["steiner_quadruple_system"]

Blocks = npt.NDArray[np.integer]

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
    50: (
        50,
        7,
        "0 1 2 26, 0 1 3 18, 0 1 4 6, 0 1 5 31, 0 1 7 19, 0 1 9 14, 0 1 10 36, 0 1 11 12, "
        "0 1 13 27, 0 1 16 35, 0 1 21 30, 0 1 22 23, 0 2 4 27, 0 2 8 12, 0 2 10 22, 0 2 13 21, "
        "0 2 14 16, 0 2 19 29, 0 2 24 28, 0 3 6 28, 0 3 8 11, 0 3 12 41, 0 3 15 38, 0 3 19 22, "
        "0 3 21 24, 0 3 23 26, 0 4 9 13, 0 4 15 39, 0 4 16 38, 0 4 17 37, 0 4 19 23, 0 5 10 30, "
        "0 5 11 44, 0 5 15 20, 0 6 12 31, 0 6 19 37, 0 6 24 30, 0 9 18 34, 0 9 20 32",
    ),
    74: (
        74,
        7,
        "0 1 2 24, 0 1 3 56, 0 1 4 28, 0 1 5 11, 0 1 6 54, 0 1 8 39, 0 1 9 17, 0 1 10 57, "
        "0 1 13 63, 0 1 15 34, 0 1 18 31, 0 1 20 32, 0 1 22 62, 0 1 27 61, 0 1 29 30, 0 1 37 55, "
        "0 1 38 44, 0 1 40 59, 0 1 49 51, 0 2 8 22, 0 2 14 45, 0 2 15 44, 0 2 16 60, 0 2 31 54, "
        "0 2 46 59, 0 4 16 44, 0 4 34 62",
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
        If v comes from none of these, as v = 62, 70, 86, 98.
    """
    v = as_integer("v", v, 4)
    p = Parameters(v, 4, max(1, (v - 2) // 2))
    if v % 6 not in (2, 4):
        reason = f"an S(3, 4, v) needs v = 2 or 4 mod 6, not {v} = {v % 6} mod 6"
        raise NonexistentDesign(Existence(p, Status.NONEXISTENT, reason, "counting"))
    blocks = _quadruples(v)
    if blocks is None:
        raise NoKnownConstruction(Existence(p, Status.UNKNOWN, f"no S(3, 4, {v}) is built here"))
    return verified_t(Design(p, blocks), 3)


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
