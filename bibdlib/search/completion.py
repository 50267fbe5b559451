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

_LAYOUTS = 4
_STEPS, _DOUBLINGS = 10_000_000, 4
_TRIES, _STEPS_OF_A_DRAW = 2_000, 100
_LAST = 2
_MOST, _STEPS_OF_A_LIST = 30_000_000, 200_000_000


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
            base_blocks += stabilizer.listed(block)
        return Outcome(0 if base_blocks else None, base_blocks)

    def _search(self, layout: Layout, rng: np.random.Generator, budget: int) -> list[tuple[Stabilizer, Integers]]:
        from bibdlib.search.backtracking import draw_fitting

        k, orbit_count = self.parameters.k, len(self.group.pair_orbit_lengths)
        kinds = layout.of_each
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
                found, taken = complete(last, k, left, missing, order[np.argsort(left[order], kind="stable")])
                steps += taken
                if len(found):
                    return drawn + [(last, union) for union in found]
        return []


def complete(
    stabilizer: Stabilizer, k: int, left: Integers, missing: int, order: Integers
) -> tuple[list[Integers], int]:
    """The one or two unions of k points that cover exactly what is left, if they are found; and the steps taken.

    `order` says which pair orbits the listed unions are to cover first: best those of which the least is left.
    """
    from bibdlib.search.backtracking import list_fitting, take

    s = stabilizer
    cells = s.starts, s.orbits, s.amounts
    # Sums of these wrap around; so do differences, and still agree.
    weights = np.random.default_rng(0).integers(1 << 63, size=len(left))
    target = int((left * weights).sum())

    def listed(wanted: int) -> tuple[Integers, int, Integers, int]:
        return list_fitting(s.sizes, *cells, *s.openings, order, k, left, weights, wanted, _MOST, _STEPS_OF_A_LIST)

    if missing == 1:
        *_, union, steps = listed(target)
        return [union] * (len(union) > 0), steps
    sums, firsts, _, steps = listed(0)
    some = np.sort(target - sums[:firsts])
    sums.sort()
    some = some[sums[np.searchsorted(sums, some) % max(1, len(sums))] == some] if firsts else some
    for both in zip(some, target - some, strict=True):
        pair = [listed(int(weight))[2] for weight in both]
        rest = left.copy()
        if all(take(len(s.unions), *cells, union, rest) for union in pair):
            return pair, steps
    return [], steps


def _log_designs(layout: Layout) -> float:
    """The expected number of designs: that of solutions, less that each base block may be any of its images."""
    return layout.log_expected - sum(n * log(s.index) for s, n in zip(layout.stabilizers, layout.counts, strict=True))
