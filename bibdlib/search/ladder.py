"""Which groups to prescribe: those that leave few equations, yet room for a solution."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from bibdlib.numbers import factorization, is_prime, prime_power
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import named_group
from bibdlib.search.layouts import layouts

__all__ = ["ladder"]

_MOST_ELEMENTS = 1500


def ladder(parameters: Parameters, *, most_pair_orbits: int = 100, least_log_expected: float = -1.0) -> list[str]:
    """Names of groups worth prescribing, those with the fewest orbits on pairs first.

    They act semiregularly on the points but for at most two fixed ones, up to multipliers. Left out are groups with
    more than `most_pair_orbits` orbits on pairs, and those for which the expected number of solutions, see `Layout`,
    has a logarithm under `least_log_expected`.
    """
    p = parameters
    rungs = []
    for name in _candidates(p.v):
        group = named_group(name)
        if group.order > min(_MOST_ELEMENTS, 2 * int(p.b)) or len(group.pair_orbit_lengths) > most_pair_orbits:
            continue
        possible = layouts(p, group)
        if possible and possible[0].log_expected >= least_log_expected:
            rungs.append((len(group.pair_orbit_lengths), -possible[0].log_expected, name))
    return [name for *_, name in sorted(rungs)]


def _candidates(v: int) -> Iterator[str]:
    for infinity in (0, 1, 2):
        moved = v - infinity
        for copies in range(1, moved // 2 + 1):
            n, rest = divmod(moved, copies)
            if rest or copies * v > 2 * _MOST_ELEMENTS or copies * copies * n > 400 * 2 + n:
                continue
            before = f"{copies}*" if copies > 1 else ""
            after = ("", "+inf", "+2inf")[infinity]
            for group in _groups(n, copies):
                yield f"{before}{group}{after}"


def _groups(n: int, copies: int) -> Iterator[str]:
    yield f"Z{n}"
    for units in _cyclic_units(n):
        u, order = units
        yield f"Z{n}:{u}"
        if copies > 1 and order % copies == 0:
            yield f"Z{n}:{u}c"
    if prime_power(n) and not is_prime(n):
        yield f"GF({n})"
        for m in range(2, n):
            if (n - 1) % m == 0:
                yield f"GF({n}):{m}"
                if copies > 1 and m % copies == 0:
                    yield f"GF({n}):{m}c"
    for p, e in factorization(n):
        if e > 1 and n != p**e:
            yield f"Z{p}xZ{n // p}"
            for m in range(1, p**e):
                if (p**e - 1) % m == 0:
                    yield f"GF({p**e})xZ{n // p**e}:({m},1)"


def _cyclic_units(n: int) -> Iterator[tuple[int, int]]:
    """A generator of each cyclic subgroup of the units of Z_n but the trivial one, with its order."""
    seen = set()
    for u in range(2, n):
        if gcd(u, n) == 1:
            powers, x = {1}, u
            while x != 1:
                powers.add(x)
                x = x * u % n
            if frozenset(powers) not in seen and len(powers) * n <= _MOST_ELEMENTS:
                seen.add(frozenset(powers))
                yield u, len(powers)
