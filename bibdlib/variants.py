"""Other designs with the parameters of one: its dual, its summands renumbered, its cycles switched."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from bibdlib.design import Design

__all__ = ["cycle_switches", "renumbered_sums", "variants"]

_RENUMBERINGS = 32


def variants(design: Design, summands: tuple[Design, ...] = ()) -> Iterator[Design]:
    """The design, and others made from it, some of which may be isomorphic to it; not verified."""
    yield design
    if design.parameters.is_symmetric:
        yield design.dual()
    if (design.k, design.lam) == (3, 1):
        yield from cycle_switches(design)
    if summands:
        yield from renumbered_sums(*summands)


def renumbered_sums(first: Design, second: Design) -> Iterator[Design]:
    """The blocks of one design with those of another, whose points are renumbered by lot, always the same."""
    parameters = Design.from_blocks(np.concatenate([first.blocks, second.blocks]), v=first.v).parameters
    random = np.random.default_rng(first.v)
    for _ in range(_RENUMBERINGS):
        yield Design(parameters, np.concatenate([first.blocks, random.permutation(second.v)[second.blocks]]))


def cycle_switches(system: Design) -> Iterator[Design]:
    """The triple systems one switch away: points a and b exchanged in the blocks along one of their cycles.

    The blocks through a or b but not both pair the other points into a graph of even cycles, of blocks through a
    and through b in turn.

    M. J. Grannell, T. S. Griggs, J. P. Murphy, Utilitas Math. 56 (1999) 3-21.
    """
    blocks = system.blocks
    third = np.zeros((system.v, system.v), dtype=np.int64)
    for x, y, z in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]:
        third[blocks[:, x], blocks[:, y]] = third[blocks[:, y], blocks[:, x]] = blocks[:, z]
    for a, b in combinations(range(system.v), 2):
        rest = set(range(system.v)) - {a, b, int(third[a, b])}
        while rest:
            cycle = [min(rest)]
            while len(cycle) == 1 or cycle[-1] != cycle[0]:
                x = int(third[a, cycle[-1]])
                cycle += [x, int(third[b, x])]
            if len(cycle) <= system.v - 3:
                inside = np.isin(blocks, cycle).sum(axis=1) == 2
                switched = blocks.copy()
                for old, new in [(a, b), (b, a)]:
                    switched[inside[:, None] & (blocks == old)] = new
                yield Design(system.parameters, switched)
            rest -= set(cycle)
