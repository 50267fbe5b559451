"""Parameters that the literature lists as undecided; the list is not complete."""

from __future__ import annotations

from bibdlib.parameters import Parameters

__all__ = ["open_problem"]

_HANDBOOK = "C. J. Colbourn, J. H. Dinitz (eds.), Handbook of Combinatorial Designs, 2nd ed. (2007)"

_LISTED = {
    **{Parameters(v, 6, 1): f"{_HANDBOOK}, II.3" for v in (51, 61, 81, 166)},
    **{Parameters(*p): f"{_HANDBOOK}, II.1" for p in [(40, 10, 3), (39, 13, 6), (40, 14, 7)]},
}


def open_problem(p: Parameters) -> str | None:
    """The source that lists parameters as undecided, or None; ask it only of what is neither built nor excluded."""
    for candidate in (p, p.complement) if p.has_complement else (p,):
        if candidate in _LISTED:
            return _LISTED[candidate]
        # No plane is known whose order is no prime power. An affine plane completes to a projective one.
        if candidate.lam == 1 and candidate.v in (candidate.k**2, candidate.k**2 - candidate.k + 1):
            return f"{_HANDBOOK}, VII.2"
    return None
