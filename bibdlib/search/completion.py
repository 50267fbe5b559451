"""Few base blocks: all but the last are drawn so that they fit, and the last are searched for by backtracking."""

from __future__ import annotations

from math import log

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.layouts import Layout, common_amounts, layouts
from bibdlib.search.outcome import Outcome
from bibdlib.search.stabilizers import Stabilizer, cyclic_stabilizers, generated_stabilizers

__all__ = ["Completion", "openings"]

Integers = npt.NDArray[np.int64]

_LAYOUTS = 4
_STEPS, _DOUBLINGS = 10_000_000, 4
_TRIES, _STEPS_OF_A_DRAW = 2_000, 100
_LAST = 2


class Completion:
    """Rounds that draw base blocks at random until one or two are missing, and then find these by backtracking.

    Blocks with large stabilizers are drawn first. The last ones, two at most and with the same stabilizer, must cover
    exactly what the others leave. The more promising layouts have more of the rounds, and rounds grow longer.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        subgroups = cyclic_stabilizers(group) + generated_stabilizers(group)
        self.layouts = sorted(layouts(parameters, group, subgroups), key=_log_designs, reverse=True)[:_LAYOUTS]

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        if not self.layouts:
            return Outcome(None, [], exhausted=True)
        rng = np.random.default_rng((self.seed, number))
        turn, place = divmod(number, len(self.layouts))
        layout = self.layouts[min(place, int(rng.integers(len(self.layouts))))]
        base_blocks = []
        for stabilizer, union in self._search(layout, rng, _STEPS * 2 ** min(turn, _DOUBLINGS)):
            block = sorted(x for s in union if s >= 0 for x in stabilizer.unions[s])
            base_blocks += [block] * (stabilizer.index // len(self.group.orbit(block)))
        return Outcome(0 if base_blocks else None, base_blocks)

    def _search(self, layout: Layout, rng: np.random.Generator, budget: int) -> list[tuple[Stabilizer, Integers]]:
        from bibdlib.search.backtracking import complete, draw_fitting

        k, orbit_count = self.parameters.k, len(self.group.pair_orbit_lengths)
        kinds = [s for s, n in zip(layout.stabilizers, layout.counts, strict=True) for _ in range(n)]
        kinds.sort(key=lambda s: -s.order)
        last = kinds[-1]
        missing = min(_LAST, kinds.count(last))
        tables = last.sizes, last.starts, last.orbits, last.amounts, *openings(last)
        divisors = common_amounts(last, orbit_count)
        steps = 0
        while steps < budget:
            left = np.full(orbit_count, self.parameters.lam)
            drawn = []
            for s in kinds[:-missing]:
                seed = int(rng.integers(1 << 31))
                union = draw_fitting(s.sizes, s.starts, s.orbits, s.amounts, k, left, _TRIES, seed)
                steps += _STEPS_OF_A_DRAW
                if not len(union):
                    break
                drawn.append((s, union))
            if len(drawn) + missing == len(kinds) and not (left % divisors).any():
                order = rng.permutation(orbit_count)
                found, taken = complete(*tables, order, k, left, missing, budget - steps)
                steps += taken
                if len(found):
                    return drawn + [(last, union) for union in found]
        return []


def _log_designs(layout: Layout) -> float:
    """The expected number of designs: that of solutions, less that each base block may be any of its images."""
    return layout.log_expected - sum(n * log(s.index) for s, n in zip(layout.stabilizers, layout.counts, strict=True))


def openings(stabilizer: Stabilizer) -> tuple[Integers, Integers]:
    """Cells with which a base block that covers a pair orbit may begin, and where those of each pair orbit start.

    All cells that cover it, but a single one where only the identity fixes the block: the others are its images.
    """
    m = len(stabilizer.unions)
    cells = np.repeat(np.arange(m * m), np.diff(stabilizer.starts))
    upper = cells // m <= cells % m
    cells, covered = cells[upper], stabilizer.orbits[upper]
    order = np.argsort(covered, kind="stable")
    cells, covered = cells[order], covered[order]
    if stabilizer.order == 1:
        covered, first = np.unique(covered, return_index=True)
        cells = cells[first]
    return cells, np.searchsorted(covered, np.arange(len(stabilizer.group.pair_orbit_lengths) + 1))
