"""Steiner quadruple systems S(3, 4, v): every three points in one block of four."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from bibdlib.design import Design
from bibdlib.errors import NonexistentDesign, as_integer
from bibdlib.fields import finite_field
from bibdlib.groups import cyclic, develop
from bibdlib.nonexistence import Existence, Status
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters
from bibdlib.t_designs import verified_t

__all__ = ["steiner_quadruple_system"]

Blocks = npt.NDArray[np.integer]

# Base blocks of an S(3, 4, 14) under Z_7 acting on two copies of itself, by exact cover of the orbits of three points.
_FOURTEEN = [
    [0, 1, 2, 5], [0, 1, 3, 8], [0, 1, 7, 13], [0, 1, 9, 10], [0, 1, 11, 12], [0, 2, 8, 13], [0, 2, 9, 11],
    [0, 2, 10, 12], [0, 3, 7, 11], [0, 3, 9, 12], [0, 3, 10, 13], [0, 7, 8, 12], [7, 8, 9, 11],
]  # fmt: skip


def steiner_quadruple_system(v: int) -> Design:
    """S(3, 4, v) for every v = 2 or 4 mod 6: an orbit of PSL(2, v - 1), or from a smaller system.

    The smaller one has u points, v = 2 u, 3 u - 2, 3 u - 4, 3 u - 8, 4 u - 6 or 12 u - 10; the recursion starts from
    u = 4 and u = 14. H. Hanani, On quadruple systems, Canad. J. Math. 12 (1960) 145-157.

    Raises
    ------
    NonexistentDesign
        If v is neither 2 nor 4 mod 6.
    """
    v = as_integer("v", v, 4)
    p = Parameters(v, 4, max(1, (v - 2) // 2))
    if v % 6 not in (2, 4):
        reason = f"an S(3, 4, v) needs v = 2 or 4 mod 6, not {v} = {v % 6} mod 6"
        raise NonexistentDesign(Existence(p, Status.NONEXISTENT, reason, "counting"))
    return verified_t(Design(p, _quadruples(v)), 3)


def _quadruples(v: int) -> Blocks:
    """Blocks of an S(3, 4, v), rows sorted."""
    if v == 4:
        return np.arange(4)[None]
    if v == 14:
        return develop(_FOURTEEN, cyclic(7), orbits=2)
    if v % 12 == 8 and prime_power(v - 1):
        return _linear_quadruples(v - 1)
    for multiple, less, residue, modulus, extend in _WAYS:
        smaller, remainder = divmod(v + less, multiple)
        if remainder == 0 and smaller % modulus == residue:
            return np.sort(extend(_quadruples(smaller), smaller), axis=1)
    raise AssertionError(f"Hanani's constructions reach every order that is 2 or 4 mod 6, so {v} too.")


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


def _tripled_over_pair(blocks: Blocks, n: int) -> Blocks:
    """S(3, 4, 3 n - 4), n = 4 mod 6: three copies of all points but the last two."""
    return np.array(list(_three_copies(blocks.tolist(), n - 2, 2)))


def _tripled_over_block(blocks: Blocks, n: int) -> Blocks:
    """S(3, 4, 3 n - 8), n = 2 mod 6: three copies of all points but those of a block."""
    block = blocks[0]
    last = np.concatenate([np.setdiff1d(np.arange(n), block), block])
    return np.array(list(_three_copies(np.sort(np.argsort(last)[blocks], axis=1).tolist(), n - 4, 4)))


def _three_copies(blocks: list[list[int]], u: int, fixed: int) -> Iterator[list[int]]:
    """Blocks on Z_u x {0, 1, 2} and fixed points; one point x, y, z of each copy lie in a block that x + y + z names.

    The values 0, -1, .. of x + y + z belong to the fixed points, 2 q others to the pairs of each copy whose
    difference is odd and below 2 q.
    """
    q = (u - fixed) // 6
    for block in blocks:
        for i in range(3 if block[0] < u else 1):
            yield [x + i * u if x < u else x + 2 * u for x in block]
    for x, y in product(range(u), repeat=2):
        yield from ([x, u + y, 2 * u + -(a + x + y) % u, 3 * u + a] for a in range(fixed))
        for i, d in product(range(3), range(q)):
            pair = [i * u + (x + (2 * i + 1) * q + step) % u for step in (-d, d + 1)]
            yield [*pair, (i + 1) % 3 * u + y, (i + 2) % 3 * u + -(x + y) % u]
    odd = list(range(2 * q + 1, u // 2, 2))
    matchings = [[(x, (x + d) % u) for x in range(0, u, 2)] for d in (*odd, *(-d for d in odd))]
    for matching in (*matchings, *_halves(u // 2, u // 2)):
        for (x, y), (z, t), i in product(matching, matching, range(3)):
            j = (i + 1) % 3
            yield [x + i * u, y + i * u, z + j * u, t + j * u]


def _halves(m: int, across: int) -> list[list[tuple[int, int]]]:
    """Perfect matchings of Z_2m, with all pairs of even difference, and if m is odd {x, x + across} for x even."""
    if m % 2 == 0:
        return [[(2 * x + e, 2 * y + e) for x, y in matching for e in (0, 1)] for matching in _one_factorization(m)]
    shifts = (0, across)
    near = [[(2 * i + 2 * j, 2 * i - 2 * j) for j in range(1, (m + 1) // 2)] for i in range(m)]
    return [
        [
            *(((x + e) % (2 * m), (y + e) % (2 * m)) for x, y in pairs for e in shifts),
            (2 * i, (2 * i + across) % (2 * m)),
        ]
        for i, pairs in enumerate(near)
    ]


def _matchings_but_one_pair(k: int) -> list[list[tuple[int, int]]]:
    """Matchings of Z_2k, number i without 2 i and 2 i + 1; all pairs are in these or in `_full_matchings`."""
    partner = [2 * a if k % 2 or 2 * a < k else 2 * a + 1 for a in range(k)]
    return [
        [((2 * a + 2 * i) % (2 * k), (2 * partner[a] + 2 * i + 1) % (2 * k)) for a in range(1, k)] for i in range(k)
    ]


def _full_matchings(k: int) -> list[list[tuple[int, int]]]:
    if k % 2:
        return _halves(k, 1)
    return [*_halves(k, 1), [(2 * j, (2 * j + k + 1) % (2 * k)) for j in range(k)]]


def _quadrupled(blocks: Blocks, n: int) -> Blocks:
    """S(3, 4, 4 n - 6): four copies of all points but the last two."""
    return np.array(list(_four_copies(blocks.tolist(), n - 2)))


def _four_copies(blocks: list[list[int]], u: int) -> Iterator[list[int]]:
    k = u // 2

    def point(h: int, j: int, x: int) -> int:
        return (2 * (h % 2) + j) * u + x % u

    for block in blocks:
        for copy in range(4):
            yield [x + copy * u if x < u else x + 3 * u for x in block]
    for a, e, c, d in product(range(2), range(2), range(k), range(k)):
        f, fixed = 2 * -(c + d), 4 * u + a
        yield [point(0, 0, 2 * c), point(0, 1, 2 * d - e), point(1, e, f + a), fixed]
        yield [point(0, 0, 2 * c + 1), point(0, 1, 2 * d - 1 - e), point(1, e, f + 1 - a), fixed]
        yield [point(1, 0, 2 * c), point(1, 1, 2 * d - e), point(0, e, f + 1 - a), fixed]
        yield [point(1, 0, 2 * c + 1), point(1, 1, 2 * d - 1 - e), point(0, e, f + a), fixed]
    parts = (_matchings_but_one_pair(k), _full_matchings(k))
    for h, e, other, i in product(range(2), range(2), range(2), range(k)):
        for (x, y), c in product(parts[other][i], range(k)):
            d = 2 * -(c + i) - e
            for shift, j in ((0, other), (-1, 1 - other)):
                ends = [point(h, 0, 2 * c + e + shift), point(h, 1, d)]
                yield [*ends, point(h + 1, j, x), point(h + 1, j, y)]
    for matching in _one_factorization(u):
        for (x, y), (z, t), h in product(matching, matching, range(2)):
            yield [point(h, 0, x), point(h, 0, y), point(h, 1, z), point(h, 1, t)]


def _twelve_copies(blocks: Blocks, n: int) -> Blocks:
    """S(3, 4, 12 n - 10): twelve copies of all points but the last, and two more."""
    return np.array(list(_twelvefold(blocks.tolist(), n)))


def _twelvefold(blocks: list[list[int]], n: int) -> Iterator[list[int]]:
    last = 12 * (n - 1)
    for block in _quadruples(14).tolist():
        yield from ([12 * i + x if x < 12 else last + x - 12 for x in block] for i in range(n - 1))
    for block in blocks:
        if block[3] < n - 1:
            for a, b, c in product(range(12), repeat=3):
                yield [12 * x + y for x, y in zip(block, (a, b, c, -(a + b + c) % 12), strict=True)]
            continue
        for a, b, h in product(range(12), range(12), range(2)):
            yield [12 * block[0] + a, 12 * block[1] + b, 12 * block[2] + (3 * h - a - b) % 12, last + h]
        for i in range(3):
            x, y, z = (block[(i + turn) % 3] for turn in range(3))
            for one, other, shape in _ON_THREE[i]:
                copies = {"xxyz": (x, x, y, z), "xyzz": (x, y, z, z), "xxyy": (x, x, y, y), "yyxx": (y, y, x, x)}[shape]
                yield [12 * copy + value % 12 for copy, value in zip(copies, (*one, *other), strict=True)]


def _on_three(i: int) -> list[tuple[tuple[int, int], tuple[int, int], str]]:
    """Values in Z_12 and the copies they are taken from: Hanani's S(3, 4, 38), for the i-th turn of three copies."""
    found = []
    for b, c in product(range(12), repeat=2):
        found.append(((b + 4 + i, b + 7 + i), (c, -b - c), "xxyz"))
    for j, e in product(range(12), (0, 6)):
        found.append(((j, j + e), (e - 2 * j + 1, e - 2 * j - 1), "xyzz"))
        found.append(((j, j + e), (e - 2 * j + 2, e - 2 * j - 2), "xyzz"))
        found.append(((j, j + e - 3), (e - 2 * j + 1, e - 2 * j + 2), "xyzz"))
        found.append(((j, j + e + 3), (e - 2 * j - 1, e - 2 * j - 2), "xyzz"))
    for j, e in product(range(6), (0, 3)):
        found.append(((j, j + 6), (j + e, j + 6 + e), "xxyy"))
    for j, e, d in product(range(12), (0, 3, 6, 9), (1, 2, 4)):
        found.append(((j, j + d), (j + e, j + d + e), "xxyy"))
    for a, c, d in product(range(0, 12, 2), range(0, 12, 2), (5, -5)):
        found.append(((a, a + d), (c, c + d), "xxyy"))
    for g, e, shape in product(range(0, 12, 2), (0, 3), ("xxyy", "yyxx")):
        found.append(((g + e, g + 6 + e), (g + 1, g + 5), shape))
        found.append(((g + e, g + 6 + e), (g + 2, g + 4), shape))
    return found


_ON_THREE = [_on_three(i) for i in range(3)]

# v = multiple * u - less, for u = residue mod modulus.
_WAYS: list[tuple[int, int, int, int, Callable[[Blocks, int], Blocks]]] = [
    (multiple, less, residue, 6, extend)
    for multiple, less, residues, extend in (
        (2, 0, (2, 4), _doubled),
        (3, 2, (2, 4), _tripled),
        (3, 4, (4,), _tripled_over_pair),
        (3, 8, (2,), _tripled_over_block),
        (4, 6, (2, 4), _quadrupled),
        (12, 10, (2, 4), _twelve_copies),
    )
    for residue in residues
]
