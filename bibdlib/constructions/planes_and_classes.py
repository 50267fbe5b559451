"""Symmetric designs of a planar difference set and the cyclotomic classes of the same field."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.difference_sets import singer_difference_set
from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.fields import finite_field
from bibdlib.numbers import is_prime, prime_power
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import named_group

__all__ = ["shrikhande_singhi_design"]


def _field_order(m: int) -> int | None:
    """The prime m^2 - m + 1 if m - 1 is a prime power, so that a plane has a difference set in the field; else None."""
    n = m * m - m + 1
    return n if prime_power(m - 1) and is_prime(n) else None


def _matches(p: Parameters) -> Matches:
    m = p.lam
    if p.v == m**3 + m + 1 and p.k == m * m + 1 and _field_order(m):
        yield Match({"m": m})


@register(
    title="symmetric design of a planar difference set and cyclotomic classes",
    reference="S. S. Shrikhande, N. M. Singhi, Utilitas Math. 8 (1975) 187-192",
    matches=_matches,
)
def shrikhande_singhi_design(m: int) -> npt.NDArray[Any]:
    """(m^3 + m + 1, m^2 + 1, m), where m - 1 is a prime power and n = m^2 - m + 1 a prime.

    The points are m + 1 copies of GF(n), the last one apart, and m at infinity. Let D be a planar difference set and
    C_0, ..., C_(m-1) the classes of index m. The blocks are the translates of D on each copy with 0 on the last one,
    and for each j those of C_(i+j) on copy i with -D on the last and point j at infinity, and copy j with all points
    at infinity.

    Raises
    ------
    InvalidParameters
        If m is not such a number.
    """
    m = as_integer("m", m, 3)
    n = _field_order(m)
    if n is None:
        raise InvalidParameters(
            f"Argument 'm' must be such that m - 1 is a prime power and m^2 - m + 1 prime, not {m}."
        )
    field = finite_field(n)
    plane = singer_difference_set(2, m - 1).base_blocks[0]
    copies = n * np.arange(m)[:, None]
    last, infinite = m * n, (m + 1) * n + np.arange(m)
    base_blocks = [np.append(copies + plane, last)]
    for j in range(m):
        classes = copies + [field.coset(m, i + j) for i in range(m)]
        base_blocks.append(np.concatenate([classes.ravel(), last + field.subtract(0, plane), infinite[j : j + 1]]))
        base_blocks.append(np.append(copies[j] + np.arange(n), infinite))
    return named_group(f"{m + 1}*Z{n}+{m}inf").develop(base_blocks)
