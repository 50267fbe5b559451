"""Permutation groups by name or by generators: their elements, their orbits on pairs and blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.fields import finite_field
from bibdlib.figures import action_on_images, figure
from bibdlib.groups import AbelianGroup, cyclic

__all__ = ["PermutationGroup", "named_group", "permutation_group"]

Permutations = npt.NDArray[np.int64]

_LARGEST = 200_000
_FACTOR = re.compile(r"(Z|GF)\(?(\d+)")
_PRODUCT = r"(?:Z\d+|GF\(\d+\))(?:x(?:Z\d+|GF\(\d+\)))*"
_MULTIPLIERS = r"\d+(?:,\d+)*|(?:\(\d+(?:,\d+)*\))+"
_SEMIREGULAR = re.compile(rf"(?:(\d+)\*)?({_PRODUCT})(?::({_MULTIPLIERS})(c\d*)?)?(?:\+(\d*)inf)?")
_ORBITS = re.compile(r"Z(\d+)(?::(\d+))? on (.+)")
_ORBIT = re.compile(r"(?:(\d+)\*)?(\d+)(?:c(\d+))?")
_LINEAR = re.compile(r"(PSL|PGL|PGammaL)\(2,(\d+)\)")
_CYCLES = re.compile(r"<((?:\(\d+(?:,\d+)*\))+(?:,(?:\(\d+(?:,\d+)*\))+)*)>")
_AFFINE = re.compile(r"AGammaL\(1,(\d+)\)")
_FIGURES = re.compile(r"(.+?) on ((?:\d+\*)?[({].*?)(?:\+(\d*)inf)?")


@dataclass(frozen=True, eq=False)
class PermutationGroup:
    """The group that some permutations of the points 0..v-1 generate.

    Attributes
    ----------
    name
        What `named_group` makes it from, or "" for a user's permutations.
    generators
        Integer array of shape (number, v): row g sends point x to generators[g, x].
    """

    name: str
    generators: Permutations = field(repr=False)

    @property
    def v(self) -> int:
        """Number of points."""
        return int(self.generators.shape[1])

    @cached_property
    def elements(self) -> Permutations:
        """All elements, shape (order, v), the identity first.

        Raises
        ------
        InvalidParameters
            If there are more than 200000.
        """
        return self._reached(np.arange(self.v), lambda rows: self.generators[:, rows], most=_LARGEST)

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.elements)

    @cached_property
    def _inverses(self) -> Permutations:
        return np.argsort(self.elements, axis=1)

    def conjugates(self, permutation: Permutations) -> Permutations:
        """g p g^-1 for a permutation p and each element g, shape (order, v), in the order of the elements."""
        return np.take_along_axis(self.elements, permutation[self._inverses], axis=1)

    def keys(self, permutations: Permutations) -> Permutations:
        """A number for each permutation, shape (n,), that two different ones hardly ever share."""
        return permutations @ self._weights

    @cached_property
    def _weights(self) -> Permutations:
        return np.random.default_rng(0).integers(1 << 40, size=self.v)

    @cached_property
    def pair_orbits(self) -> Permutations:
        """Symmetric matrix of shape (v, v): entry (x, y) numbers the orbit of the pair {x, y}, -1 on the diagonal."""
        v = self.v
        labels = np.full((v, v), -1, dtype=np.int64)
        count = 0
        for x, y in zip(*np.triu_indices(v, 1), strict=True):
            if labels[x, y] < 0:
                a, b = self.elements[:, x], self.elements[:, y]
                labels[a, b] = labels[b, a] = count
                count += 1
        return labels

    @cached_property
    def pair_orbit_lengths(self) -> Permutations:
        """How many pairs each orbit holds."""
        upper = self.pair_orbits[np.triu_indices(self.v, 1)]
        return np.bincount(upper)

    def orbit(self, block: Any) -> Permutations:
        """The different images of a block, shape (length, k), rows sorted."""
        start = np.sort(np.asarray(block, dtype=np.int64))
        return self._reached(start, lambda rows: np.sort(self.generators[:, rows], axis=-1))

    def _reached(
        self, start: Permutations, images: Callable[[Permutations], Permutations], most: int | None = None
    ) -> Permutations:
        """All rows that images lead to from one row, in the order in which they are met."""
        found = [start[None, :]]
        seen = {start.tobytes()}
        while len(found[-1]):
            met = {row.tobytes(): row for row in images(found[-1]).reshape(-1, len(start))}
            fresh = [row for key, row in met.items() if key not in seen]
            seen.update(met)
            found.append(np.array(fresh, dtype=np.int64).reshape(-1, len(start)))
            if most is not None and len(seen) > most:
                raise InvalidParameters(f"Argument 'group' must have at most {most} elements: {self.name}.")
        return np.concatenate(found)

    def develop(self, base_blocks: Any) -> Permutations:
        """The orbits of the base blocks one after the other, shape (b, k); a base block listed twice counts twice."""
        return np.concatenate([self.orbit(block) for block in base_blocks])


def permutation_group(generators: Any, name: str = "") -> PermutationGroup:
    """The group generated by permutations of 0..v-1, an integer array of shape (number, v).

    Raises
    ------
    InvalidParameters
        If a row is no permutation of 0..v-1.
    """
    array = np.atleast_2d(np.asarray(generators, dtype=np.int64))
    for i, row in enumerate(array):
        if (np.sort(row) != np.arange(array.shape[1])).any():
            raise InvalidParameters(f"Argument 'generators' must hold permutations of 0..v-1; row {i} is none.")
    return PermutationGroup(name, array)


def named_group(name: str) -> PermutationGroup:
    """The permutation group that a name stands for.

    ``Z13``, ``Z3xZ5``
        the abelian group on its own elements, numbered as by `AbelianGroup`;
    ``GF(9)``
        the additive group of the field;
    ``GF(16)xZ7:(5,1)``, ``Z3xZ35:(1,16)(2,6)``
        a product, extended by multipliers with one number for each factor: the order for a field, the unit for Z_n;
    ``2*Z10``
        two copies of the group, element g of copy i being point i * order + g;
    ``Z13:3``, ``Z91:16,9``
        extended by the multipliers x -> 3x (x -> 16x and x -> 9x), on each copy alike;
    ``GF(9):4``
        extended by the multipliers of order 4;
    ``3*Z7:2c``
        extended by x -> 2x from each copy to the next;
    ``4*Z35:16c3``
        the same, but through the first 3 copies only: the multiplier keeps the others;
    ``Z12+inf``, ``2*Z10+2inf``
        with points at infinity, fixed by all;
    ``Z15 on 2*15 + 2*5 + 1``, ``Z13:3 on 13c3 + 2*13 + 3*1``
        Z_n, and a multiplier, on orbits of any lengths: 5 stands for Z_5, moved by x -> x + 1 and by the multiplier,
        13c3 for three copies of Z_13 that the multiplier cycles;
    ``PSL(2,11)``, ``PGL(2,9)``, ``PGammaL(2,9)``
        on the projective line, the field's elements and then infinity;
    ``AGammaL(1,8)``
        x -> a x^s + b on a field, a not 0, s a power of its characteristic;
    ``AGammaL(1,8) on (0,1) + 2*{0,1}``, ``PSL(2,7) on {0,1} + inf``
        any of these on the images of a tuple, then twice on those of a set, see `bibdlib.figures`: that is, on the
        cosets of the subgroup that fixes it;
    ``<(0,1,2)(3,4),(1,5)>``
        generated by permutations that are written as cycles, 0 to the largest number there being the points.

    Raises
    ------
    InvalidParameters
        If the name is of no such form.
    """
    name = name.replace(" ", "").replace("on", " on ")
    if found := _LINEAR.fullmatch(name):
        return _projective(found[1], int(found[2]), name)
    if found := _CYCLES.fullmatch(name):
        return _of_cycles(found[1], name)
    if found := _AFFINE.fullmatch(name):
        return _affine(int(found[1]), name)
    if found := _FIGURES.fullmatch(name):
        fixed = 0 if found[3] is None else int(found[3] or 1)
        return _on_figures(name, named_group(found[1]), found[2].split("+"), fixed)
    if found := _ORBITS.fullmatch(name):
        return _on_orbits(name, int(found[1]), int(found[2] or 1), found[3].split("+"))
    if not (found := _SEMIREGULAR.fullmatch(name)):
        raise InvalidParameters(
            f"Argument 'group' must be a name such as Z13:3, 2*Z10+inf, Z15 on 2*15+5+1 or PSL(2,11), not {name!r}."
        )
    copies, product, multipliers, cycles, infinity = found.groups()
    number = int(copies or 1)
    cycled = int(cycles[1:] or number) if cycles else 1
    if not 1 <= cycled <= number:
        raise InvalidParameters(f"At most the {number} copies of the group can be cycled, not {cycled}: {name}.")
    fixed = 0 if infinity is None else int(infinity or 1)
    factors = [_Factor(kind, int(n)) for kind, n in _FACTOR.findall(product)]
    group = AbelianGroup(tuple(modulus for factor in factors for modulus in factor.group.moduli))
    rows = _multipliers(name, factors, multipliers) if multipliers else []
    actions = [_multiplication(factors, row) for row in rows]
    return _semiregular(name, group, actions, number, cycled, fixed)


class _Factor(NamedTuple):
    """Z_n, or the additive group of GF(n)."""

    kind: str
    n: int

    @property
    def group(self) -> AbelianGroup:
        return finite_field(self.n).additive if self.kind == "GF" else cyclic(as_integer("modulus", self.n, 2))

    def multiplied(self, number: int) -> Permutations:
        """Its elements times a unit of Z_n, or times a field's element of some order."""
        if self.kind == "Z":
            if gcd(number, self.n) != 1:
                raise InvalidParameters(f"A multiplier must be prime to the modulus {self.n}, not {number}.")
            return np.arange(self.n) * number % self.n
        if number < 1 or (self.n - 1) % number:
            raise InvalidParameters(f"The order of the multipliers must divide q - 1 = {self.n - 1}, not {number}.")
        finite = finite_field(self.n)
        return finite.multiply(np.arange(self.n), finite.powers[(self.n - 1) // number % (self.n - 1)])


def _multipliers(name: str, factors: list[_Factor], text: str) -> list[list[int]]:
    """One number for each factor: as written in brackets, or the same for all."""
    if text.startswith("("):
        rows = [[int(number) for number in row.split(",")] for row in text[1:-1].split(")(")]
        if any(len(row) != len(factors) for row in rows):
            raise InvalidParameters(f"A multiplier must have one number for each of {len(factors)} factors: {name}.")
        return rows
    if len({factor.kind for factor in factors}) > 1:
        raise InvalidParameters(f"Multipliers of such a product must be written as in GF(16)xZ7:(5,1), not {name}.")
    return [[int(number)] * len(factors) for number in text.split(",")]


def _multiplication(factors: list[_Factor], numbers: list[int]) -> Permutations:
    """What a multiplier does to the elements of the product, the first factor fastest."""
    image, radix = np.zeros(1, dtype=np.int64), 1
    for factor, number in zip(factors, numbers, strict=True):
        image = (image + radix * factor.multiplied(number)[:, None]).ravel()
        radix *= factor.n
    return image


def _semiregular(
    name: str, group: AbelianGroup, multipliers: list[Permutations], copies: int, cycled: int, fixed: int
) -> PermutationGroup:
    radix = np.cumprod((1, *group.moduli[:-1]))
    staying = list(range(copies))
    cycle = [*range(1, cycled), 0, *range(cycled, copies)]
    actions = [(group.add(np.arange(group.order), step), staying) for step in radix]
    actions += [(multiplier, cycle) for multiplier in multipliers]
    last = copies * group.order
    infinite = np.arange(last, last + fixed)
    generators = [
        np.concatenate([*(copy * group.order + action for copy in copies_to), infinite])
        for action, copies_to in actions
    ]
    return permutation_group(generators, name)


def _on_orbits(name: str, n: int, unit: int, orbits: list[str]) -> PermutationGroup:
    if n < 1 or gcd(n, unit) != 1:
        raise InvalidParameters(f"A multiplier must be prime to the order {n}, not {unit}: {name}.")
    first, translated, multiplied = 0, [], []
    for orbit in orbits:
        found = _ORBIT.fullmatch(orbit)
        length = int(found[2]) if found else 0
        if not found or not length or n % length:
            raise InvalidParameters(
                f"An orbit must be written as 15, 2*15 or 15c3, of a length that divides {n}: {orbit}."
            )
        cycle = int(found[3] or 1)
        if cycle < 1 or (unit == 1 and cycle > 1):
            raise InvalidParameters(f"Only a multiplier can cycle copies, one or more, not {cycle}: {name}.")
        copy, x = np.divmod(np.arange(length * cycle), length)
        for _ in range(int(found[1] or 1)):
            translated.append(first + copy * length + (x + 1) % length)
            multiplied.append(first + (copy + 1) % cycle * length + x * unit % length)
            first += length * cycle
    return permutation_group([np.concatenate(part) for part in (translated, multiplied)[: 1 + (unit != 1)]], name)


def _on_figures(name: str, group: PermutationGroup, figures: list[str], fixed: int) -> PermutationGroup:
    actions = []
    for text in figures:
        times = re.match(r"(\d+)\*", text)
        shape = text[times.end() :] if times else text
        actions += [action_on_images(group.generators, figure(shape))] * (int(times[1]) if times else 1)
    actions.append(np.tile(np.arange(fixed), (len(group.generators), 1)))
    starts = np.cumsum([0] + [action.shape[1] for action in actions])
    return permutation_group(np.hstack([start + action for start, action in zip(starts, actions, strict=False)]), name)


def _of_cycles(text: str, name: str) -> PermutationGroup:
    written = [
        [[int(x) for x in cycle.split(",")] for cycle in permutation.strip("()").split(")(")]
        for permutation in re.split(r"(?<=\)),(?=\()", text)
    ]
    v = 1 + max(x for cycles in written for cycle in cycles for x in cycle)
    if v > _LARGEST:
        raise InvalidParameters(f"The cycles of a permutation must be of the first {_LARGEST} points: {name}.")
    generators = np.tile(np.arange(v), (len(written), 1))
    for generator, cycles in zip(generators, written, strict=True):
        moved = [x for cycle in cycles for x in cycle]
        if len(set(moved)) < len(moved):
            raise InvalidParameters(f"The cycles of a permutation must have no point in common: {name}.")
        generator[moved] = [x for cycle in cycles for x in (*cycle[1:], cycle[0])]
    return permutation_group(generators, name)


def _affine(q: int, name: str) -> PermutationGroup:
    finite = finite_field(q)
    x = np.arange(q)
    translations = [finite.add(x, finite.p**i) for i in range(finite.degree)]
    scaling = finite.multiply(x, finite.powers[1 % (q - 1)])
    return permutation_group([*translations, scaling, finite.power(x, finite.p)], name)


def _projective(kind: str, q: int, name: str) -> PermutationGroup:
    finite = finite_field(q)
    x, infinity = np.arange(q), q
    translations = [np.append(finite.add(x, finite.p**i), infinity) for i in range(finite.degree)]
    step = 2 if kind == "PSL" and finite.p > 2 else 1
    scaling = np.append(finite.multiply(x, finite.powers[step % (q - 1)]), infinity)
    negative = finite.subtract(0, finite.power(x, q - 2))
    inversion = np.append(np.where(x == 0, infinity, negative), 0)
    powers = [np.append(finite.power(x, finite.p), infinity)] if kind == "PGammaL" else []
    return permutation_group([*translations, scaling, inversion, *powers], name)
