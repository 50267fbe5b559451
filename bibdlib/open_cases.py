"""Parameters that the literature lists as undecided, or builds where this library cannot; neither list is complete."""

from __future__ import annotations

from bibdlib.parameters import Parameters

__all__ = ["literature"]

_HANDBOOK = "C. J. Colbourn, J. H. Dinitz (eds.), Handbook of Combinatorial Designs, 2nd ed. (2007)"

_LISTED = {
    **{Parameters(v, 6, 1): f"{_HANDBOOK}, II.3" for v in (51, 61, 81, 166)},
    **{Parameters(*p): f"{_HANDBOOK}, II.1" for p in [(40, 10, 3), (39, 13, 6), (40, 14, 7)]},
}

_SYMMETRIC_IN_PRINT = {Parameters(105, 40, 15): "Z. Janko, J. Combin. Des. 7 (1999) 17-19"}
_IN_PRINT = _SYMMETRIC_IN_PRINT | {p.residual: source for p, source in _SYMMETRIC_IN_PRINT.items()}


_BUILT_ELSEWHERE = "known elsewhere: in print, but not built by this library"
_OPEN = "open: the literature neither builds nor excludes it"


def literature(p: Parameters) -> tuple[str, str] | None:
    """What the literature says of parameters, and its source, or None; ask it of what is neither built nor excluded."""
    for candidate in (p, p.complement) if p.has_complement else (p,):
        if candidate in _IN_PRINT:
            return _BUILT_ELSEWHERE, _IN_PRINT[candidate]
        if candidate in _LISTED:
            return _OPEN, _LISTED[candidate]
        # No plane is known whose order is no prime power. An affine plane completes to a projective one.
        if candidate.lam == 1 and candidate.v in (candidate.k**2, candidate.k**2 - candidate.k + 1):
            return _OPEN, f"{_HANDBOOK}, VII.2"
    return None
