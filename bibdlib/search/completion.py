"""Few base blocks: all but the last two are drawn so that they fit, and these are met in the middle."""

from __future__ import annotations

from math import log

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.layouts import Layout, common_amounts, layouts
from bibdlib.search.outcome import Outcome
from bibdlib.search.stabilizers import Stabilizer, cyclic_stabilizers, generated_stabilizers

__all__ = ["Completion", "complete"]

Integers = npt.NDArray[np.int64]
Unions = npt.NDArray[np.int16]

_LAYOUTS = 4
_STEPS, _DOUBLINGS = 10_000_000, 4
_TRIES, _STEPS_OF_A_DRAW = 2_000, 100
_LAST = 2
_MOST = 2_000_000


class Completion:
    """Rounds that draw base blocks at random until one or two are missing; all that fit beside them are listed.

    Blocks with large stabilizers are drawn first. The last ones, two at most and with the same stabilizer, must cover
    exactly what the others leave: of the listed blocks, all that cover a certain pair orbit are looked up among all,
    by what they would leave. The more promising layouts have more of the rounds, and rounds grow longer.
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
        from bibdlib.search.backtracking import draw_fitting

        k, orbit_count = self.parameters.k, len(self.group.pair_orbit_lengths)
        kinds = [s for s, n in zip(layout.stabilizers, layout.counts, strict=True) for _ in range(n)]
        kinds.sort(key=lambda s: -s.order)
        last = kinds[-1]
        missing = min(_LAST, kinds.count(last))
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
                found, taken = complete(last, k, left, missing, order, budget - steps)
                steps += taken
                if len(found):
                    return drawn + [(last, union) for union in found]
        return []


def complete(
    stabilizer: Stabilizer, k: int, left: Integers, missing: int, order: Integers, budget: int
) -> tuple[Unions, int]:
    """The one or two unions of k points that cover exactly what is left, if they are found; and the steps taken.

    `order` says which pair orbits the listed unions are to cover first.
    """
    from bibdlib.search.backtracking import list_fitting

    tables = stabilizer.sizes, stabilizer.starts, stabilizer.orbits, stabilizer.amounts, *stabilizer.openings
    # A single one covers what is left if it fits.
    most = 1 if missing == 1 else _MOST
    listed, firsts, steps = list_fitting(*tables, order, k, left, most, budget)
    return (listed if missing == 1 else _meeting(stabilizer, listed, firsts, left)), steps


def _meeting(stabilizer: Stabilizer, listed: Unions, firsts: int, left: Integers) -> Unions:
    """Two of the listed unions, one of them among the first, that together cover what is left; or none."""
    from bibdlib.search.backtracking import weigh

    if not firsts:
        return listed[:0]
    tables, m = (stabilizer.starts, stabilizer.orbits, stabilizer.amounts), len(stabilizer.unions)
    # Two draws: that both agree by chance does not happen. Sums wrap around; so do differences, and still agree.
    weights = np.random.default_rng(0).integers(1 << 63, size=(2, len(left)))
    sums = weigh(*tables, m, listed, weights[0])
    order = np.argsort(sums)
    wanted = (left * weights[0]).sum() - sums[:firsts]
    places = order[np.searchsorted(sums, wanted, sorter=order) % len(sums)]
    for first in np.nonzero(sums[places] == wanted)[0]:
        pair = listed[[first, places[first]]]
        if weigh(*tables, m, pair, weights[1]).sum() == (left * weights[1]).sum():
            return pair
    return listed[:0]


def _log_designs(layout: Layout) -> float:
    """The expected number of designs: that of solutions, less that each base block may be any of its images."""
    return layout.log_expected - sum(n * log(s.index) for s, n in zip(layout.stabilizers, layout.counts, strict=True))
