"""Local search: base blocks exchange members until every pair orbit is covered lam times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.layouts import Layout, layouts
from bibdlib.search.outcome import Outcome
from bibdlib.search.stabilizers import Stabilizer

__all__ = ["Annealing"]

Integers = npt.NDArray[np.int64]

_MOVES = 200_000
_HOT, _COLD = 1.2, 0.5


class Annealing:
    """Rounds of simulated annealing on the layouts of a group; round i of a seed is always the same.

    Layouts take turns, the more promising ones more often, and rounds grow longer.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        self.layouts = layouts(parameters, group)[:8]

    def round(self, number: int) -> Outcome:
        """The base blocks of lowest cost that one round meets; cost 0 is a design."""
        if not self.layouts:
            return Outcome(None, [], exhausted=True)
        rng = np.random.default_rng((self.seed, number))
        turn, place = divmod(number, len(self.layouts))
        layout = self.layouts[min(place, int(rng.integers(len(self.layouts))))]
        moves, lam = _MOVES * 2 ** min(turn, 5), self.parameters.lam
        target = np.full(len(self.group.pair_orbit_lengths), lam)
        cost, unions = annealed(layout, self.parameters.k, target, moves, _HOT, _COLD, rng)
        base_blocks: list[list[int]] = []
        for s, union in unions:
            block = sorted(x for orbit in union for x in s.unions[orbit])
            # More than its stabilizer may fix the block: then its orbit is shorter, and counts more than once.
            base_blocks += s.listed(block)
        return Outcome(cost, base_blocks)


def annealed(
    layout: Layout, k: int, target: Integers, moves: int, hot: float, cold: float, rng: np.random.Generator
) -> tuple[int, list[tuple[Stabilizer, list[int]]]]:
    """Base blocks of k points in a layout, each with its stabilizer and as orbits of it, after the cost of all.

    The cost is the sum of (covered - target)^2 over the pair orbits; `target` says how often to cover each.
    """
    from bibdlib.search.kernel import Tables, anneal

    kinds = layout.stabilizers
    kind = np.repeat(np.arange(len(kinds)), layout.counts)
    start = [_random_block(kinds[t], k, rng) for t in kind]
    width = np.array([len(block) for block in start])
    blocks = np.zeros((len(start), width.max()), dtype=np.int64)
    for row, block in zip(blocks, start, strict=True):
        row[: len(block)] = block
    excess = _covered(layout, kind, start, len(target)) - target
    cost, best = anneal(
        Tables(*_tables(layout)), kind, blocks, width, excess, moves, hot, cold, int(rng.integers(1 << 31))
    )
    return int(cost), [(kinds[t], row[:n].tolist()) for t, row, n in zip(kind, best, width, strict=True)]


def _random_block(stabilizer: Stabilizer, k: int, rng: np.random.Generator) -> list[int]:
    shapes = stabilizer.shapes(k)
    weights = np.array([float(number) for _, number in shapes])
    lengths, _ = shapes[int(rng.choice(len(shapes), p=weights / weights.sum()))]
    chosen: list[int] = []
    for length in set(lengths):
        of_length = np.nonzero(stabilizer.sizes == length)[0]
        chosen += rng.choice(of_length, lengths.count(length), replace=False).tolist()
    return chosen


def _tables(layout: Layout) -> tuple[Integers, ...]:
    """The tables of the stabilizers one after the other, and the pools of exchangeable orbits."""
    starts, orbits, amounts, first, number, pools, pool_start = [], [], [], [], [], [], [0]
    entries, cells = 0, 0
    most = max(len(s.unions) for s in layout.stabilizers)
    pool_of = np.zeros((len(layout.stabilizers), most), dtype=np.int64)
    for t, s in enumerate(layout.stabilizers):
        m = len(s.unions)
        starts.append(s.starts[:-1] + entries)
        orbits.append(s.orbits)
        amounts.append(s.amounts)
        first.append(cells)
        number.append(m)
        entries, cells = entries + len(s.orbits), cells + m * m
        for length in np.unique(s.sizes):
            alike = np.nonzero(s.sizes == length)[0]
            pool_of[t, alike] = len(pool_start) - 1
            pools.append(alike)
            pool_start.append(pool_start[-1] + len(alike))
    starts.append(np.array([entries]))
    joined = (
        np.concatenate(starts),
        np.concatenate(orbits),
        np.concatenate(amounts),
        np.array(first),
        np.array(number),
    )
    return (*joined, np.concatenate(pools), np.array(pool_start), pool_of)


def _covered(layout: Layout, block_type: Integers, blocks: list[list[int]], number: int) -> Integers:
    covered = np.zeros(number, dtype=np.int64)
    for t, block in zip(block_type, blocks, strict=True):
        s = layout.stabilizers[t]
        for i, a in enumerate(block):
            for b in block[i:]:
                cell = a * len(s.unions) + b
                part = slice(s.starts[cell], s.starts[cell + 1])
                np.add.at(covered, s.orbits[part], s.amounts[part])
    return covered
