"""Designs on sets of points of a plane that meet every line in few ways: unitals and maximal arcs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.fields import Field, finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["hermitian_unital", "maximal_arc"]


def _matches_unital(p: Parameters) -> Matches:
    q = p.k - 1
    if p.lam == 1 and p.v == q**3 + 1 and prime_power(q):
        yield Match({"q": q})


@register(
    title="Hermitian unital",
    reference="R. C. Bose, Golden Jubilee Commemoration Volume, Calcutta Math. Soc. (1958-59) 341-354",
    matches=_matches_unital,
)
def hermitian_unital(q: int) -> npt.NDArray[Any]:
    """The points x^(q+1) + y^(q+1) + z^(q+1) = 0 of PG(2, q^2) and the lines not tangent there: (q^3+1, q+1, 1)."""
    field = finite_field(q * q)
    points = _plane(field)
    norm = _sum(field, field.power(points, q + 1))
    unital = points[norm == 0]
    return _sections(_sum(field, field.multiply(points[:, None, :], unital[None, :, :])) == 0, q + 1)


def _matches_maximal_arc(p: Parameters) -> Matches:
    # v = q k - q + k, so r = q + 1.
    if p.lam == 1 and isinstance(p.r, int) and p.r > 3:
        q, n = p.r - 1, p.k
        if q & (q - 1) == 0 and n & (n - 1) == 0 and 2 < n < q and p.v == q * n - q + n:
            yield Match({"q": q, "n": n})


@register(
    title="maximal arc and its secants",
    reference="R. H. F. Denniston, J. Combin. Theory 6 (1969) 317-319",
    matches=_matches_maximal_arc,
)
def maximal_arc(q: int, n: int) -> npt.NDArray[Any]:
    """The points (x, y) of AG(2, q), q even, where x^2 + c x y + y^2 lies in an additive group of order n, and the
    lines that meet them: (q n - q + n, n, 1). The form has no zero but 0."""
    field = finite_field(q)
    t = np.arange(q)
    c = next(c for c in range(1, q) if (_sum(field, _terms(t, field.multiply(c, t), field)) != 0).all())
    x, y = (a.ravel() for a in np.meshgrid(t, t))
    form = _sum(
        field, np.stack([field.power(x, 2), field.multiply(c, field.multiply(x, y)), field.power(y, 2)], axis=-1)
    )
    # The numbers below n are a subgroup: they are the spans of 1, 2, 4, ... under exclusive or.
    arc = np.stack([0 * x + 1, x, y], axis=1)[form < n]
    return _sections(_sum(field, field.multiply(_plane(field)[:, None, :], arc[None, :, :])) == 0, n)


def _terms(t: npt.NDArray[np.int64], ct: npt.NDArray[np.int64], field: Field) -> npt.NDArray[np.int64]:
    return np.stack([field.power(t, 2), ct, 0 * t + 1], axis=-1)


def _sections(incident: npt.NDArray[np.bool_], size: int) -> npt.NDArray[Any]:
    """The lines, given by rows, that meet the set in `size` points."""
    return np.nonzero(incident[incident.sum(axis=1) == size])[1].reshape(-1, size)


def _plane(field: Field) -> npt.NDArray[np.int64]:
    """The points of PG(2, q), and its lines, as vectors whose first coordinate other than 0 is 1."""
    x, y = (a.ravel() for a in np.meshgrid(np.arange(field.q), np.arange(field.q)))
    affine = np.stack([0 * x + 1, x, y], axis=1)
    infinite = np.stack([0 * x[: field.q], 0 * x[: field.q] + 1, np.arange(field.q)], axis=1)
    return np.concatenate([affine, infinite, [[0, 0, 1]]])


def _sum(field: Field, terms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum over the last axis."""
    total = terms[..., 0]
    for i in range(1, terms.shape[-1]):
        total = field.add(total, terms[..., i])
    return total
