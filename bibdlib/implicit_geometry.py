"""Hyperplanes and lines of PG(n, q) and AG(n, q) by arithmetic in GF(q), points numbered as in `finite_geometry`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bibdlib.errors import as_integer
from bibdlib.fields import Field, finite_field
from bibdlib.implicit import ImplicitDesign
from bibdlib.parameters import Parameters

__all__ = [
    "AffineHyperplanes",
    "AffineLines",
    "ProjectiveHyperplanes",
    "ProjectiveLines",
    "affine_flats",
    "projective_flats",
]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class _Geometry(ImplicitDesign):
    """A family of flats in dimension n >= 2 over GF(q)."""

    n: int
    q: int
    parameters: Parameters = field(init=False)
    field: Field = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", as_integer("n", self.n, 2))
        object.__setattr__(self, "field", finite_field(self.q))
        object.__setattr__(self, "parameters", self._parameters())

    @abstractmethod
    def _parameters(self) -> Parameters:
        """What the theorem claims."""


class ProjectiveHyperplanes(_Geometry):
    """The hyperplanes of PG(n, q): symmetric, a plane of order q for n = 2.

    Block i consists of the points orthogonal to point i, so blocks through points are found as points on blocks are.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or n < 2.
    """

    def _parameters(self) -> Parameters:
        """((q^(n+1) - 1) / (q - 1), (q^n - 1) / (q - 1), (q^(n-1) - 1) / (q - 1))."""
        return Parameters(*(_count(d, self.q) for d in (self.n, self.n - 1, self.n - 2)))

    def _block(self, i: int) -> Numbers:
        return self._orthogonal(i)

    def _blocks_through(self, x: int) -> Numbers:
        return self._orthogonal(x)

    def _blocks_joining(self, x: int, y: int) -> Numbers:
        return self._orthogonal(x, y)

    def _orthogonal(self, *points: int) -> Numbers:
        equations = _vectors(np.array(points), self.n, self.q).T
        return _number(_solutions(self.field, equations), self.q)


class AffineHyperplanes(_Geometry):
    """The hyperplanes of AG(n, q), resolvable: an affine plane of order q for n = 2.

    Block a q + c consists of the x with a . x = c, a the point of PG(n - 1, q) with that number;
    the q blocks of each a are a parallel class.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or n < 2.
    """

    def _parameters(self) -> Parameters:
        """(q^n, q^(n-1), (q^(n-1) - 1) / (q - 1))."""
        return Parameters(self.q**self.n, self.q ** (self.n - 1), _count(self.n - 2, self.q))

    def _block(self, i: int) -> Numbers:
        a, c = divmod(i, self.q)
        normal = _vectors(np.array(a), self.n - 1, self.q)
        last = int(np.flatnonzero(normal)[-1])
        others = np.delete(normal, last)
        rest = self.field.subtract(c, _dot(self.field, others[:, None], self._free))
        solved = self.field.multiply(rest, _inverse(self.field, normal[last]))
        return _code(np.insert(self._free, last, solved, axis=0), self.q)

    def _blocks_through(self, x: int) -> Numbers:
        normals = _normalised(self.n - 1, self.q)
        return self._numbers(normals, x)

    def _blocks_joining(self, x: int, y: int) -> Numbers:
        difference = self.field.subtract(_digits(y, self.n, self.q), _digits(x, self.n, self.q))
        return self._numbers(_solutions(self.field, difference[None]), x)

    def _numbers(self, normals: Numbers, x: int) -> Numbers:
        constants = _dot(self.field, normals, _digits(x, self.n, self.q)[:, None])
        return _number(normals, self.q) * self.q + constants

    @cached_property
    def _free(self) -> Numbers:
        """All vectors of length n - 1, as columns."""
        return _digits(np.arange(self.q ** (self.n - 1)), self.n - 1, self.q)


class ProjectiveLines(_Geometry):
    """The lines of PG(n, q).

    A line has one basis in reduced echelon form; blocks are numbered by its two pivot columns,
    then by its other entries, those of the first row first.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or n < 2.
    """

    def _parameters(self) -> Parameters:
        """((q^(n+1) - 1) / (q - 1), q + 1, 1)."""
        return Parameters(_count(self.n, self.q), self.q + 1)

    def _block(self, i: int) -> Numbers:
        pattern = int(np.searchsorted(self._starts, i, side="right")) - 1
        a, c = self._pivot_pairs[pattern]
        above, below = divmod(i - int(self._starts[pattern]), self.q ** (self.n - c))
        first, second = np.zeros((2, self.n + 1), dtype=np.int64)
        first[a] = second[c] = 1
        first[[j for j in range(a + 1, self.n + 1) if j != c]] = _digits(above, self.n - a - 1, self.q)
        second[c + 1 :] = _digits(below, self.n - c, self.q)
        multiples = self.field.multiply(np.arange(self.q), second[:, None])
        points = self.field.add(first[:, None], multiples)
        return _number(np.concatenate([second[:, None], points], axis=1), self.q)

    def _blocks_through(self, x: int) -> Numbers:
        vector = _vectors(np.array(x), self.n, self.q)
        # Each line through x has one point whose coordinate at the pivot of x is 0.
        others = np.insert(_normalised(self.n - 1, self.q), int(np.argmax(vector != 0)), 0, axis=0)
        return np.sort(self._lines(np.broadcast_to(vector[:, None], others.shape), others))

    def _blocks_joining(self, x: int, y: int) -> Numbers:
        vectors = _vectors(np.array([x, y]), self.n, self.q)
        vectors[:, 1] = self.field.subtract(
            vectors[:, 1], self.field.multiply(vectors[_pivots(vectors)[:1], 1], vectors[:, 0])
        )
        return self._lines(vectors[:, :1], _normalise(self.field, vectors[:, 1:]))

    def _lines(self, x: Numbers, y: Numbers) -> Numbers:
        """Numbers of the lines through x and y, normalised vectors as columns, y zero at the pivot of x."""
        field, columns = self.field, np.arange(x.shape[1])
        swap = _pivots(y) < _pivots(x)
        first, second = np.where(swap, y, x), np.where(swap, x, y)
        a, c = _pivots(first), _pivots(second)
        first = field.subtract(first, field.multiply(first[c, columns], second))
        first[a, columns] = 0
        # Columns after the pivot c stay where they are; those between the pivots move up to fill the place of c.
        places = np.arange(self.n + 1)[:, None]
        exponents = self.n - places - (places < c)
        above = (first * self.q**exponents).sum(axis=0)
        second = np.where(places > c, second, 0)
        below = _code(second, self.q)
        pattern = self._pattern[a, c]
        return self._starts[pattern] + above * self.q ** (self.n - c) + below

    @cached_property
    def _pivot_pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(self.n + 1), 2))

    @cached_property
    def _pattern(self) -> Numbers:
        """The number of each pair of pivots, at [a, c]."""
        table = np.zeros((self.n + 1, self.n + 1), dtype=np.int64)
        table[tuple(np.transpose(self._pivot_pairs))] = np.arange(len(self._pivot_pairs))
        return table

    @cached_property
    def _starts(self) -> Numbers:
        """The first block of each pair of pivots."""
        sizes = [self.q ** (2 * self.n - a - c - 1) for a, c in self._pivot_pairs]
        return np.cumsum([0, *sizes[:-1]])


class AffineLines(_Geometry):
    """The lines of AG(n, q), resolvable.

    Block d q^(n-1) + p has the direction with number d in PG(n - 1, q) and goes through the point that is 0
    at the pivot of d and elsewhere has the digits of p; the q^(n-1) blocks of each d are a parallel class.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or n < 2.
    """

    def _parameters(self) -> Parameters:
        """(q^n, q, 1)."""
        return Parameters(self.q**self.n, self.q)

    def _block(self, i: int) -> Numbers:
        d, p = divmod(i, self.q ** (self.n - 1))
        direction = _vectors(np.array(d), self.n - 1, self.q)
        start = np.insert(_digits(p, self.n - 1, self.q), int(np.argmax(direction != 0)), 0)
        steps = self.field.multiply(np.arange(self.q), direction[:, None])
        return _code(self.field.add(start[:, None], steps), self.q)

    def _blocks_through(self, x: int) -> Numbers:
        return self._numbers(_normalised(self.n - 1, self.q), x)

    def _blocks_joining(self, x: int, y: int) -> Numbers:
        difference = self.field.subtract(_digits(y, self.n, self.q), _digits(x, self.n, self.q))
        return self._numbers(_normalise(self.field, difference[:, None]), x)

    def _numbers(self, directions: Numbers, x: int) -> Numbers:
        point = _digits(x, self.n, self.q)[:, None]
        pivots = _pivots(directions)
        start = self.field.subtract(point, self.field.multiply(point[pivots, 0], directions))
        # The pivot's own column is 0, and leaving it out moves those before it down by one.
        places = np.arange(self.n)[:, None]
        exponents = self.n - 1 - places - (places < pivots)
        numbers = (start * self.q ** np.maximum(exponents, 0)).sum(axis=0)
        return _number(directions, self.q) * self.q ** (self.n - 1) + numbers


def projective_flats(n: int, q: int, d: int) -> ImplicitDesign | None:
    """The d-flats of PG(n, q) if they are hyperplanes or lines."""
    return ProjectiveHyperplanes(n, q) if d == n - 1 else ProjectiveLines(n, q) if d == 1 else None


def affine_flats(n: int, q: int, d: int) -> ImplicitDesign | None:
    """The d-flats of AG(n, q) if they are hyperplanes or lines."""
    return AffineHyperplanes(n, q) if d == n - 1 else AffineLines(n, q) if d == 1 else None


def _count(n: int, q: int) -> int:
    """Number of points of PG(n, q)."""
    return (q ** (n + 1) - 1) // (q - 1)


def _digits(numbers: npt.ArrayLike, length: int, q: int) -> Numbers:
    """Numbers in base q as columns of `length` digits, the first the greatest."""
    numbers = np.asarray(numbers, dtype=np.int64)
    powers = (q ** np.arange(length - 1, -1, -1)).reshape(-1, *[1] * numbers.ndim)
    return numbers // powers % q


def _code(vectors: Numbers, q: int) -> Numbers:
    """The columns read as numbers in base q."""
    code = vectors[0]
    for coordinate in vectors[1:]:
        code = code * q + coordinate
    return code


def _vectors(numbers: Numbers, n: int, q: int) -> Numbers:
    """The points of PG(n, q) with these numbers, as normalised columns."""
    starts = np.array([_count(t, q) for t in range(n)], dtype=np.int64)
    t = np.searchsorted(starts, numbers, side="right")
    return _digits(numbers - (q**t - 1) // (q - 1) + q**t, n + 1, q)


@lru_cache(maxsize=4)
def _normalised(n: int, q: int) -> Numbers:
    """All points of PG(n, q), as normalised columns in the order of their numbers; read-only."""
    vectors = _vectors(np.arange(_count(n, q)), n, q)
    vectors.flags.writeable = False
    return vectors


def _number(vectors: Numbers, q: int) -> Numbers:
    """The numbers in PG(n, q) of normalised columns."""
    code = _code(vectors, q)
    # Codes from q^t on, t digits after the leading 1, exceed their numbers by the codes below that begin with no 1.
    shifts = [q**t - _count(t - 1, q) for t in range(len(vectors))]
    number = code - shifts[0]
    for t in range(1, len(vectors)):
        number -= (shifts[t] - shifts[t - 1]) * (code >= q**t)
    return number


def _pivots(vectors: Numbers) -> Numbers:
    """The place of the first entry that is not 0 in each column."""
    return np.argmax(vectors != 0, axis=0)


def _normalise(field: Field, vectors: Numbers) -> Numbers:
    """The columns divided by their first entry that is not 0."""
    leading = vectors[_pivots(vectors), np.arange(vectors.shape[1])]
    return field.multiply(vectors, _inverse(field, leading))


def _inverse(field: Field, a: npt.ArrayLike) -> Numbers:
    return field.power(a, field.q - 2)


def _dot(field: Field, a: Numbers, b: Numbers) -> Numbers:
    """The products of columns with columns."""
    total = field.multiply(a[0], b[0])
    for x, y in zip(a[1:], b[1:], strict=True):
        total = field.add(total, field.multiply(x, y))
    return total


def _solutions(field: Field, equations: Numbers) -> Numbers:
    """The points of PG(n, q) orthogonal to independent rows, as normalised columns, ascending.

    Each equation is solved for its last variable, so that a solution is normalised
    when its free variables are, and comes in their order.
    """
    equations = equations.copy()
    solved: list[int] = []
    for i in range(len(equations)):
        last = int(np.flatnonzero(equations[i])[-1])
        equations[i] = field.multiply(equations[i], _inverse(field, equations[i, last]))
        for j in range(len(equations)):
            if j != i:
                equations[j] = field.subtract(equations[j], field.multiply(equations[j, last], equations[i]))
        solved.append(last)
    length = equations.shape[1]
    free = [column for column in range(length) if column not in solved]
    vectors = np.zeros((length, _count(len(free) - 1, field.q)), dtype=np.int64)
    vectors[free] = _normalised(len(free) - 1, field.q)
    for row, last in zip(equations, solved, strict=True):
        vectors[last] = _dot(field, field.subtract(0, row[free, None]), vectors[free])
    return vectors
