"""Base blocks whose parts in two orbits are families of subsets, found one orbit at a time and then turned to fit.

The parts in one orbit make a difference family of their own; after that each base block still has as many turns of
one part against the other as the group has elements. Both times the first two base blocks and the others meet in the
middle.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.outcome import Outcome
from bibdlib.search.tactical import decomposition

__all__ = ["Families"]

Integers = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]

_PARTS, _TRIALS, _MOST = 600, 12, 20_000
_JOINED, _CHUNK, _CHUNKS, _MOST_SUMS = 2_000, 400, 20, 1 << 22


class Families:
    """Rounds that draw how many points base blocks have in each orbit, then the parts, then how they are turned.

    For groups that are regular on two orbits and fix all other points, with three to five base blocks that nothing but
    the identity fixes. Covers are compared as sums of random weights of the pair orbits, modulo 2^64.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        orbits = sorted({tuple(np.unique(group.elements[:, x]).tolist()) for x in range(group.v)})
        self.regular = [np.array(orbit) for orbit in orbits if len(orbit) == group.order]
        self.fixed = [orbit[0] for orbit in orbits if len(orbit) == 1]
        self.number, rest = divmod(int(parameters.b), group.order)
        lengths = sorted(map(len, orbits))
        if lengths != [1] * len(self.fixed) + [group.order] * 2 or rest or not 3 <= self.number <= 5:
            raise InvalidParameters(
                "Argument 'group' must, for 'families', be regular on two orbits, fix all other points and leave three "
                f"to five base blocks, not have {group.order} elements and orbits of {lengths} points for {parameters}."
            )

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        rng = np.random.default_rng((self.seed, number))
        sizes = self._sizes(int(rng.integers(1 << 30)))
        if sizes is None or not len(sizes):
            return Outcome(None, [], exhausted=sizes is not None)
        sizes = sizes[:, rng.permutation(self.number)]
        lengths = self.group.pair_orbit_lengths
        weights = rng.integers(1 << 63, size=len(lengths), dtype=np.uint64)
        each = weights[self.group.pair_orbits] * (self.group.order // lengths)[self.group.pair_orbits].astype(np.uint64)
        np.fill_diagonal(each, 0)
        parts, families = [], []
        for orbit, in_orbit in zip(self.regular, sizes, strict=False):
            drawn = [_subsets(len(orbit), int(size), rng) for size in in_orbit]
            within = each[np.ix_(orbit, orbit)]
            twice = self._target(orbit, orbit, weights)
            family = _family([((part @ within) * part).sum(axis=1) for part in drawn], twice + twice, rng)
            if family is None:
                return Outcome(None, [])
            parts.append(drawn)
            families.append(family)
        return Outcome(*self._turned(sizes, parts, families, each, weights, rng))

    def _sizes(self, seed: int) -> Integers | None:
        n, k = self.group.order, self.parameters.k
        possible = [[list(range(min(n, k) + 1))] * self.number] * 2 + [[[0, n]] * self.number] * len(self.fixed)
        points = [n, n] + [1] * len(self.fixed)
        return decomposition(self.parameters, points, [n] * self.number, possible, False, seed)

    def _target(self, some: Integers, others: Integers, weights: Sums) -> Sums:
        """The sum of weights of the pair orbits between two point orbits, lam times each; shape (1,)."""
        between = np.setdiff1d(np.unique(self.group.pair_orbits[np.ix_(some, others)]), [-1])
        return np.uint64(self.parameters.lam) * weights[between].sum(keepdims=True)

    def _turned(
        self,
        sizes: Integers,
        parts: list[list[Sums]],
        families: list[tuple[Integers, Integers]],
        each: Sums,
        weights: Sums,
        rng: np.random.Generator,
    ) -> tuple[int | None, list[list[int]]]:
        """The parts so turned that every pair between the orbits is covered lam times, as cost and base blocks."""
        first, second = self.regular
        between, target = each[np.ix_(first, second)], self._target(first, second, weights)
        origins = np.argsort(self.group.elements[:, second], axis=1)

        def sums(block: int, chosen: tuple[Integers, Integers]) -> Sums:
            x, y = parts[0][block][chosen[0]], parts[1][block][chosen[1]]
            turned: Sums = np.einsum("ip,igp->ig", x @ between, y[:, origins])
            return turned

        def joined(half: int, most: int) -> tuple[Integers, Integers]:
            xs, ys = families[0][half], families[1][half]
            most = max(1, min(most, _MOST_SUMS // self.group.order**2))
            return xs[rng.integers(len(xs), size=most)], ys[rng.integers(len(ys), size=most)]

        early = joined(0, _JOINED)
        added = _added([sums(j, (early[0][:, j], early[1][:, j])) for j in (0, 1)])
        order = np.argsort(added, axis=None)
        flat = added.ravel()[order]
        for _ in range(_CHUNKS):
            late = joined(1, _CHUNK)
            by_block = [sums(j, (late[0][:, j - 2], late[1][:, j - 2])) for j in range(2, self.number)]
            by_block[0] = by_block[0][:, :1]
            others = _added(by_block)
            missing = target - others
            at = np.minimum(np.searchsorted(flat, missing), len(flat) - 1)
            met = np.argwhere(flat[at] == missing)
            if len(met):
                i, *turns = np.unravel_index(order[at[tuple(met[0])]], added.shape)
                j, *late_turns = met[0]
                xs, ys = (np.concatenate([early[orbit][i], late[orbit][j]]) for orbit in (0, 1))
                return 0, self._blocks(sizes, parts, xs, ys, [*turns, *late_turns])
        return None, []

    def _blocks(
        self, sizes: Integers, parts: list[list[Sums]], xs: Integers, ys: Integers, turns: list[int]
    ) -> list[list[int]]:
        first, second = self.regular
        blocks = []
        for j, (x, y, turn) in enumerate(zip(xs, ys, turns, strict=True)):
            turned = self.group.elements[turn][second[parts[1][j][y] > 0]]
            kept = [point for point, row in zip(self.fixed, sizes[2:], strict=True) if row[j]]
            blocks.append(sorted([*first[parts[0][j][x] > 0].tolist(), *turned.tolist(), *kept]))
        return blocks


def _subsets(n: int, size: int, rng: np.random.Generator) -> Sums:
    """Different subsets of so many of n points, as rows of zeros and ones."""
    ranks = np.argsort(rng.random((_PARTS, n)), axis=1)
    return np.unique((ranks < size).astype(np.uint64), axis=0)


def _added(terms: list[Sums]) -> Sums:
    """Sums of one entry of each term, rows apart: shape (rows, n, ..., n)."""
    total = terms[0]
    for term in terms[1:]:
        total = total[..., None] + term.reshape(len(term), *[1] * (total.ndim - 1), -1)
    return total


def _family(sums: list[Sums], target: Sums, rng: np.random.Generator) -> tuple[Integers, Integers] | None:
    """Places in the first two lists, and in the others, whose sums add up to the target: the most of some trials."""
    pairs = _added([sums[0][None], sums[1][None]]).ravel()
    kinds, counts = np.unique(pairs, return_counts=True)
    likely = kinds[np.argsort(-counts, kind="stable")[: 4 * _TRIALS]]
    best = None
    for i in rng.choice(len(likely), size=min(_TRIALS, len(likely)), replace=False):
        value = likely[i : i + 1]
        late = _places(sums[2:], target - value)
        if len(late) and (best is None or len(late) > len(best[1])):
            best = _places(sums[:2], value), late
    return best


def _places(sums: list[Sums], target: Sums) -> Integers:
    """Where one entry of each list can be taken so that they add up to the target; `_MOST` ways at most."""
    *before, last = sums
    order = np.argsort(last)
    found: list[Integers] = []
    left = _MOST
    for start in _prefixes(before):
        total = target - sum((s[i] for s, i in zip(before, start.T, strict=True)), np.zeros(len(start), np.uint64))
        low, high = (np.searchsorted(last[order], total, side=side) for side in ("left", "right"))
        which = np.repeat(np.arange(len(start)), high - low)
        within = np.arange(len(which)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
        found.append(np.column_stack([start[which], order[low[which] + within]])[:left])
        left -= len(found[-1])
        if not left:
            break
    return np.concatenate(found)


def _prefixes(before: list[Sums]) -> Iterator[Integers]:
    """The places of one entry of each list, in portions."""
    if not before:
        yield np.zeros((1, 0), dtype=np.int64)
        return
    for i in np.array_split(np.arange(len(before[0])), 10):
        grids = np.meshgrid(i, *[np.arange(len(s)) for s in before[1:]], indexing="ij")
        yield np.stack(grids, axis=-1).reshape(-1, len(before))
