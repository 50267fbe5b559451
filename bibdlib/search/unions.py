"""Few base blocks, each a union of orbits of a subgroup: many are drawn, and some of them add up to a design."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.outcome import Outcome
from bibdlib.search.stabilizers import cyclic_stabilizers, generated_stabilizers

__all__ = ["Unions"]

Integers = npt.NDArray[np.int64]

_DRAWS, _DOUBLINGS = 2_000, 5
_FOR_FIVE = 800


class Unions:
    """Rounds that draw base blocks, and look for three of them, or for five of a few, that cover each pair lam times.

    Covers are compared as sums of random weights of the pair orbits, so large that two that differ hardly ever agree.
    Each round draws anew, the first ones less.
    """

    def __init__(self, parameters: Parameters, group: PermutationGroup, seed: int) -> None:
        self.parameters, self.group, self.seed = parameters, group, seed
        subgroups = cyclic_stabilizers(group) + generated_stabilizers(group)
        self.stabilizers = [s for s in subgroups if s.index <= int(parameters.b) and s.shapes(parameters.k)]

    def round(self, number: int) -> Outcome:
        """The base blocks of a design, or none."""
        from bibdlib.search.joins import draw_unions

        if not self.stabilizers:
            return Outcome(None, [], exhausted=True)
        k, lam = self.parameters.k, self.parameters.lam
        rng = np.random.default_rng((self.seed, number))
        orbit_count = len(self.group.pair_orbit_lengths)
        weights = rng.integers((1 << 60) // (lam * orbit_count), size=orbit_count)
        draws = _DRAWS * 2 ** min(number, _DOUBLINGS) // len(self.stabilizers) + 1
        blocks: list[tuple[int, Integers]] = []
        sums: list[Integers] = []
        few: list[int] = []
        for t, s in enumerate(self.stabilizers):
            seed = int(rng.integers(1 << 31))
            unions, covers = draw_unions(s.sizes, s.starts, s.orbits, s.amounts, k, lam, weights, draws, seed)
            different = np.sort(np.unique(covers, return_index=True)[1])
            few += range(len(blocks), len(blocks) + min(len(different), _FOR_FIVE // len(self.stabilizers) + 1))
            blocks += [(t, union) for union in unions[different]]
            sums.append(covers[different])
        chosen = _adding_up(np.concatenate(sums), np.array(few, dtype=np.int64), lam * int(weights.sum()))
        base_blocks = []
        for t, union in (blocks[i] for i in chosen):
            block = sorted(x for s in union if s >= 0 for x in self.stabilizers[t].unions[s])
            base_blocks += self.stabilizers[t].listed(block)
        return Outcome(0 if base_blocks else None, base_blocks)


def _adding_up(sums: Integers, few: Integers, target: int) -> list[int]:
    """Places of at most three of the sums, or of at most five of a few of them, that add up to the target; or []."""
    from bibdlib.search.joins import summands

    none = len(sums)
    sums = np.append(sums, 0)
    places = np.argsort(sums)
    found = [places[i] for i in summands(sums[places], sums[places], target, 3)]
    if not found:
        places = np.append(none, few)
        places = places[np.argsort(sums[places])]
        first, second = np.triu_indices(len(places))
        pairs = sums[places[first]] + sums[places[second]]
        order = np.argsort(pairs)
        indices = summands(sums[places], pairs[order], target, 5)
        ends = [(first[order[i]], second[order[i]]) for i in indices[1:]]
        found = [places[i] for i in (*indices[:1], *(i for pair in ends for i in pair))]
    return [int(place) for place in found if place != none]
