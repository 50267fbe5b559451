"""Balanced generalized weighing matrices over cyclic groups, and the symmetric designs woven with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.parallel_classes import hyperplane_labels, products, projective_points
from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.design import Design
from bibdlib.fields import finite_field
from bibdlib.numbers import prime_power
from bibdlib.parameters import Parameters

__all__ = ["balanced_weighing_matrix", "woven_from_hadamard", "woven_symmetric_design"]


def balanced_weighing_matrix(r: int, m: int) -> npt.NDArray[np.int64]:
    """BGW((r^m - 1)/(r - 1), r^(m-1), r^(m-1) - r^(m-2)) over Z_(r-1): exponents, and -1 for the entry 0.

    For any two rows the differences of entries where both are not 0 give each element of the group equally often.
    The entries are traces of products in GF(r^m) (D. Jungnickel, Arch. Math. 39 (1982) 550-555).
    """
    field = finite_field(r**m)
    size = (field.q - 1) // (r - 1)
    trace = 0 * field.powers
    for i in range(m):
        trace = field.add(trace, field.power(field.powers, r**i))
    exponents = np.where(trace == 0, -1, field.logarithms[trace] // size)
    rows = np.arange(size)
    return np.asarray(exponents[rows[:, None] + rows])


def _powers(p: Parameters) -> Iterator[tuple[int, int, int]]:
    """The r, m and q for which k = r^m, r a prime power, m > 1, and v = 1 + q r (r^m - 1) / (r - 1)."""
    witness = prime_power(p.k) if p.is_symmetric else None
    if witness:
        prime, exponent = witness
        for m in range(2, exponent + 1):
            r = prime ** (exponent // m)
            q, remainder = divmod((p.v - 1) * (r - 1), r * (p.k - 1))
            if exponent % m == 0 and remainder == 0:
                yield r, m, q


def _matches_woven(p: Parameters) -> Matches:
    for r, m, q in _powers(p):
        if prime_power(q):
            for d in range(2, r.bit_length() + 1):
                if (q**d - 1) // (q - 1) == r:
                    yield Match({"q": q, "d": d, "m": m})


@register(
    title="symmetric design woven from affine hyperplanes by a weighing matrix",
    reference="D. P. Rajkundlia, Discrete Math. 44 (1983) 61-96; Y. J. Ionin, Electron. J. Combin. 8 (2001) R12",
    matches=_matches_woven,
)
def woven_symmetric_design(q: int, d: int, m: int) -> npt.NDArray[Any]:
    """(1 + q r (r^m - 1)/(r - 1), r^m, r^(m-1) (r - 1)/q), where r = (q^d - 1)/(q - 1) and q are prime powers.

    Blocks are (class j of AG(m, r), hyperplane class t of AG(d, q), label): points of AG(m, r) lie on it whatever
    the label; points of the i-th copy of AG(d, q) lie on it if their label in t is shifted there by entry (i, j).
    """
    directions = projective_points(d - 1, q)
    r = len(directions)
    weights = balanced_weighing_matrix(r, m)
    outer, inner = hyperplane_labels(m, r), hyperplane_labels(d, q)
    meets = products(q, directions, directions) == 0
    classes = len(weights)

    on_outer = meets[outer][..., None].repeat(q, axis=-1)
    shifted = (inner[None, :, None, :] + weights[:, None, :, None]) % q
    on_inner = (shifted[..., None] == np.arange(q)) & (weights >= 0)[:, None, :, None, None]
    incidence = np.concatenate([on_outer, on_inner.reshape(-1, classes, r, q)]).reshape(-1, classes * r * q)
    blocks = np.nonzero(incidence.T)[1].reshape(-1, r**m)
    return np.concatenate([blocks, np.arange(r**m)[None]])


def _matches_woven_from_hadamard(p: Parameters) -> Matches:
    for r, m, q in _powers(p):
        if q == 2 and r % 2:
            yield Match({"m": m}, (Parameters(2 * r + 1, r, (r - 1) // 2),))


@register(
    title="symmetric design woven from a Hadamard design by a weighing matrix",
    reference="A. E. Brouwer, An infinite series of symmetric designs, Math. Centrum Amsterdam ZW 136/80 (1980)",
    matches=_matches_woven_from_hadamard,
)
def woven_from_hadamard(hadamard: Design, m: int) -> npt.NDArray[Any]:
    """A Hadamard design (2r + 1, r, (r - 1)/2), r a power of an odd prime, gives
    (1 + 2r (r^m - 1)/(r - 1), r^m, r^(m-1) (r - 1)/2).

    Blocks are (class j of AG(m, r), block c but the first of the Hadamard design): points of AG(m, r) lie on it if c
    holds the point of the first block with their label in j; points of the i-th copy of the residual design if
    they lie on c, or if they do not, by the sign of entry (i, j).
    """
    r = hadamard.k
    weights = balanced_weighing_matrix(r, m)
    incidence = hadamard.incidence_matrix() == 1
    on_first, rest = incidence[:, 0], incidence[:, 1:]
    on_outer = rest[on_first][hyperplane_labels(m, r)]
    on_inner = (rest[~on_first][None, :, None] ^ (weights % 2 == 1)[:, None, :, None]) & (weights >= 0)[
        :, None, :, None
    ]
    columns = len(weights) * 2 * r
    joined = np.concatenate([on_outer.reshape(-1, columns), on_inner.reshape(-1, columns)])
    blocks = np.nonzero(joined.T)[1].reshape(-1, r**m)
    return np.concatenate([blocks, np.arange(r**m)[None]])
