"""Theorems and exhaustive searches that exclude a design, each with its source."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from functools import partial

from bibdlib.errors import BibdError
from bibdlib.numbers import factorization, hilbert_symbol, is_square
from bibdlib.parameters import Parameters

__all__ = ["Existence", "Status", "refute"]


class Status(Enum):
    """What is known of a design."""

    EXISTS = "exists"
    NONEXISTENT = "nonexistent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Existence:
    """A verdict on parameters with its reason and the reference that proves it.

    Its truth value is that of "the design exists"; asking it of an unknown one raises BibdError.
    """

    parameters: Parameters
    status: Status
    reason: str
    reference: str = ""

    def __bool__(self) -> bool:
        if self.status is Status.UNKNOWN:
            raise BibdError(f"{self}; compare `.status` instead of asking for its truth.")
        return self.status is Status.EXISTS

    def __str__(self) -> str:
        source = f" [{self.reference}]" if self.reference else ""
        return f"{self.parameters} {self.status.value}: {self.reason}{source}"


@dataclass(frozen=True)
class Obstruction:
    """A theorem that excludes parameters: `excludes` returns the reason, or None if it is silent."""

    name: str
    reference: str
    excludes: Callable[[Parameters], str | None]


def counting(p: Parameters) -> str | None:
    """Every point lies in r blocks and there are b of them, so both are whole numbers."""
    if not isinstance(p.r, int):
        return f"r = lam (v - 1) / (k - 1) = {p.r} is no whole number"
    if not isinstance(p.b, int):
        return f"b = v r / k = {p.b} is no whole number"
    return None


def fisher(p: Parameters) -> str | None:
    """An incomplete design has at least as many blocks as points."""
    if not p.is_complete and p.b < p.v:
        return f"b = {p.b} blocks are fewer than v = {p.v} points"
    return None


def bruck_ryser_chowla(p: Parameters) -> str | None:
    """For symmetric designs: n is a square if v is even, else z^2 = n x^2 + (-1)^((v-1)/2) lam y^2 has a solution."""
    if p.is_complete or not p.is_symmetric:
        return None
    n = p.k - p.lam
    if p.v % 2 == 0:
        return None if is_square(n) else f"v = {p.v} is even and the order k - lam = {n} is no square"
    a, b = n, p.lam if p.v % 4 == 1 else -p.lam
    primes = {2, *(q for q, _ in factorization(n)), *(q for q, _ in factorization(p.lam))}
    for q in sorted(primes):
        if hilbert_symbol(a, b, q) == -1:
            return f"z^2 = {a} x^2 {'+' if b > 0 else '-'} {abs(b)} y^2 has no solution but 0 (Hilbert symbol at {q})"
    return None


def hall_connor(p: Parameters) -> str | None:
    """A quasi-residual design with lam 1 or 2 is the residual of a symmetric one, which must not be excluded."""
    if p.lam > 2 or p.r != p.k + p.lam:
        return None
    symmetric = Parameters(p.v + p.k + p.lam, p.k + p.lam, p.lam)
    reason = bruck_ryser_chowla(symmetric) or exhaustive_search(symmetric)
    source = f" ({_SEARCHED[symmetric]})" if symmetric in _SEARCHED else ""
    return reason and f"it would be the residual of the symmetric design {symmetric}, but {reason}{source}"


# Designs that no theorem excludes, but a computer.
_SEARCHED = {
    Parameters(111, 11, 1): "C. W. H. Lam, L. Thiel, S. Swiercz, Canad. J. Math. 41 (1989) 1117-1123",
    Parameters(46, 6, 1): "S. K. Houghten, L. H. Thiel, J. Janssen, C. W. H. Lam, J. Combin. Des. 9 (2001) 60-71",
    Parameters(22, 8, 4): "R. T. Bilous and others, J. Combin. Des. 15 (2007) 262-267",
}


def exhaustive_search(p: Parameters, searched: Collection[Parameters] = _SEARCHED) -> str | None:
    """Some designs are excluded by computer alone."""
    return "an exhaustive search by computer found none" if p in searched else None


OBSTRUCTIONS = (
    Obstruction("counting", "double counting of flags and of pairs", counting),
    Obstruction("Fisher", "R. A. Fisher, Ann. Eugenics 10 (1940) 52-75", fisher),
    Obstruction(
        "Bruck-Ryser-Chowla",
        "S. Chowla, H. J. Ryser, Canad. J. Math. 2 (1950) 93-99; R. H. Bruck, H. J. Ryser, ibid. 1 (1949) 88-93",
        bruck_ryser_chowla,
    ),
    Obstruction("Hall-Connor", "M. Hall, W. S. Connor, Canad. J. Math. 6 (1954) 35-41", hall_connor),
    *(
        Obstruction("exhaustive search", source, partial(exhaustive_search, searched={p}))
        for p, source in _SEARCHED.items()
    ),
)


def refute(p: Parameters) -> Existence | None:
    """The verdict of the first obstruction that excludes p or its complement, or None if all are silent."""
    for candidate, prefix in _with_complement(p):
        for obstruction in OBSTRUCTIONS:
            reason = obstruction.excludes(candidate)
            if reason:
                return Existence(p, Status.NONEXISTENT, f"{obstruction.name}: {prefix}{reason}", obstruction.reference)
    return None


def _with_complement(p: Parameters) -> list[tuple[Parameters, str]]:
    candidates = [(p, "")]
    if p.has_complement:
        candidates.append((p.complement, f"its complement is {p.complement}, and "))
    return candidates
