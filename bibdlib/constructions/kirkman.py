"""Kirkman triple systems: triple systems whose triples fall into parallel classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.errors import InvalidParameters
from bibdlib.fields import finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["kirkman_classes", "kirkman_triple_system"]


def _matches_kirkman(p: Parameters) -> Matches:
    if (p.k, p.lam) == (3, 1) and p.v % 18 == 3 and prime_power(p.v // 3):
        yield Match({"q": p.v // 3})


@register(
    title="Kirkman triple systems",
    reference="D. K. Ray-Chaudhuri, R. M. Wilson, Proc. Sympos. Pure Math. 19 (1971) 187-203",
    matches=_matches_kirkman,
)
def kirkman_triple_system(q: int) -> npt.NDArray[Any]:
    """(3 q, 3, 1), resolvable, for a prime power q = 1 mod 6; `bibdlib.resolve.resolution` gives its parallel classes.

    Raises
    ------
    InvalidParameters
        If q is no prime power, or not 1 mod 6.
    """
    return kirkman_classes(q)[0]


def kirkman_classes(q: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The blocks of `kirkman_triple_system`, shape (b, 3), and the number of the parallel class of each, shape (b,).

    Points are x + q j, x in GF(q), j in Z_3; with q = 6 t + 1 and z primitive, the base blocks are {0, 0, 0} over
    the three levels, the cosets of the cube roots of unity on each level, and (z^i, z^(i + 2 t), z^(i + 4 t)) across.
    """
    field = finite_field(q)
    if q % 6 != 1:
        raise InvalidParameters(f"Argument 'q' must be 1 mod 6, not {q} = {q % 6} mod 6.")
    t = (q - 1) // 6
    exponents = np.arange(6 * t)[:, None] + 2 * t * np.arange(3)
    cosets = field.powers[exponents % (6 * t)]
    across, along = np.arange(3), np.repeat(np.arange(3), t)[:, None]
    odd = np.arange(6 * t) // t % 2 == 1
    elements = np.concatenate(
        [np.zeros((1, 3), dtype=np.int64), np.tile(cosets[:t], (3, 1)), cosets[odd], cosets[~odd]]
    )
    level = np.concatenate([across[None], np.tile(along, 3), np.tile(across, (6 * t, 1))])
    moved = field.add(elements[:, None], np.arange(q)[:, None]) + q * level[:, None]
    # One translate of each of the first 1 + 3 t + 3 t base blocks makes a class, all translates of each other one.
    together = np.broadcast_to(np.arange(q), (1 + 6 * t, q))
    apart = np.broadcast_to(q + np.arange(3 * t)[:, None], (3 * t, q))
    return moved.reshape(-1, 3), np.concatenate([together, apart]).reshape(-1)
