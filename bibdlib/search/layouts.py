"""How b blocks can fall into orbits of a group: how many base blocks with which stabilizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, lgamma, log

import numpy as np

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup
from bibdlib.search.stabilizers import Stabilizer, cyclic_stabilizers

__all__ = ["Layout", "common_amounts", "layouts"]


@dataclass(frozen=True)
class Layout:
    """Base blocks by stabilizer: `counts[i]` of them are unions of orbits of `stabilizers[i]`.

    `log_expected` estimates the logarithm of the number of solutions: the choices of base blocks, times the chance
    that each pair orbit is covered lam times if covers were Poisson.
    """

    stabilizers: tuple[Stabilizer, ...]
    counts: tuple[int, ...]
    log_expected: float

    @property
    def of_each(self) -> list[Stabilizer]:
        """The stabilizer of each base block."""
        return [s for s, n in zip(self.stabilizers, self.counts, strict=True) for _ in range(n)]

    def __str__(self) -> str:
        return " + ".join(f"{n} x {s.index}" for n, s in zip(self.counts, self.stabilizers, strict=True))


def layouts(
    parameters: Parameters,
    group: PermutationGroup,
    stabilizers: list[Stabilizer] | None = None,
    *,
    most: int = 200,
) -> list[Layout]:
    """The layouts that counting does not exclude, the most promising first; by default with cyclic stabilizers.

    Of the ways to add the lengths of orbits up to b, `most` at most are looked at.
    """
    p = parameters
    possible = cyclic_stabilizers(group) if stabilizers is None else stabilizers
    usable = [s for s in possible if s.index <= int(p.b) and s.log_number(p.k) >= 0]
    logs = np.array([s.log_number(p.k) for s in usable])
    orbit_count = len(group.pair_orbit_lengths)
    steps = np.array([common_amounts(s, orbit_count) for s in usable]).reshape(len(usable), orbit_count)
    miss = orbit_count * (p.lam - p.lam * log(p.lam) + lgamma(p.lam + 1))
    found = []
    for tried, counts in enumerate(_partitions(int(p.b), [s.index for s in usable])):
        if tried == most:
            break
        used = np.array(counts) > 0
        if (p.lam % np.gcd.reduce(steps[used], axis=0)).any():
            continue
        chosen = tuple(s for s, n in zip(usable, counts, strict=True) if n)
        numbers = tuple(n for n in counts if n)
        choices = sum(_log_multisets(x, n) for x, n in zip(logs[used], numbers, strict=True))
        found.append(Layout(chosen, numbers, choices - miss))
    return sorted(found, key=lambda layout: -layout.log_expected)


def common_amounts(stabilizer: Stabilizer, orbit_count: int) -> list[int]:
    """For each pair orbit the greatest common divisor of what a base block can add to it, vast if that is nothing."""
    steps = np.zeros(orbit_count, dtype=np.int64)
    np.gcd.at(steps, stabilizer.orbits, stabilizer.amounts)
    return [step or 1 << 62 for step in steps.tolist()]


def _log_multisets(log_kinds: float, n: int) -> float:
    """Logarithm of the number of multisets of n things of exp(log_kinds) kinds."""
    if log_kinds > 20:
        return n * log_kinds - lgamma(n + 1)
    kinds = exp(log_kinds)
    return lgamma(kinds + n) - lgamma(kinds) - lgamma(n + 1)


def _partitions(total: int, parts: list[int]) -> Iterator[tuple[int, ...]]:
    """All ways to write total as a sum of the parts, most of the first part first."""
    reachable = [{0}]
    for part in reversed(parts):
        sums = reachable[0]
        reachable.insert(0, {s + n * part for s in sums for n in range((total - s) // part + 1)})
    return _sums(total, parts, reachable)


def _sums(total: int, parts: list[int], reachable: list[set[int]]) -> Iterator[tuple[int, ...]]:
    if total not in reachable[0]:
        return
    if not parts:
        yield ()
        return
    for n in range(total // parts[0], -1, -1):
        for rest in _sums(total - n * parts[0], parts[1:], reachable[1:]):
            yield (n, *rest)
