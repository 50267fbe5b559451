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
        from bibdlib.search.kernel import Tables, anneal

        if not self.layouts:
            return Outcome(None, [], exhausted=True)
        rng = np.random.default_rng((self.seed, number))
        turn, place = divmod(number, len(self.layouts))
        layout = self.layouts[min(place, int(rng.integers(len(self.layouts))))]
        kinds = layout.stabilizers
        kind = np.repeat(np.arange(len(kinds)), layout.counts)
        start = [self._random_block(kinds[t], rng) for t in kind]
        width = np.array([len(block) for block in start])
        blocks = np.zeros((len(start), width.max()), dtype=np.int64)
        for row, block in zip(blocks, start, strict=True):
            row[: len(block)] = block
        moves, kernel_seed = _MOVES * 2 ** min(turn, 5), int(rng.integers(1 << 31))
        lam, covered = self.parameters.lam, _covered(layout, kind, start)
        tables = Tables(*_tables(layout))
        cost, best = anneal(tables, kind, blocks, width, lam, covered, moves, _HOT, _COLD, kernel_seed)
        base_blocks: list[list[int]] = []
        for t, row, n in zip(kind, best, width, strict=True):
            block = sorted(x for s in row[:n] for x in kinds[t].unions[s])
            # More than its stabilizer may fix the block: then its orbit is shorter, and counts more than once.
            base_blocks += kinds[t].listed(block)
        return Outcome(int(cost), base_blocks)

    def _random_block(self, stabilizer: Stabilizer, rng: np.random.Generator) -> list[int]:
        shapes = stabilizer.shapes(self.parameters.k)
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


def _covered(layout: Layout, block_type: Integers, blocks: list[list[int]]) -> Integers:
    covered = np.zeros(len(layout.stabilizers[0].group.pair_orbit_lengths), dtype=np.int64)
    for t, block in zip(block_type, blocks, strict=True):
        s = layout.stabilizers[t]
        for i, a in enumerate(block):
            for b in block[i:]:
                cell = a * len(s.unions) + b
                part = slice(s.starts[cell], s.starts[cell + 1])
                np.add.at(covered, s.orbits[part], s.amounts[part])
    return covered
