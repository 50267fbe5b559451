"""The five numbers of a balanced incomplete block design and what counting says of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from bibdlib.errors import InvalidParameters, as_integer

__all__ = ["Parameters"]


@dataclass(frozen=True, order=True)
class Parameters:
    """Parameters of a design: v points, blocks of k points, every two points in lam blocks.

    Failing divisibility is no misuse but a verdict, found by `bibdlib.existence`;
    of such parameters `b` and `r` are the fractions that counting gives.

    Raises
    ------
    InvalidParameters
        Unless the three are integers with 2 <= k <= v and lam >= 1.
    """

    v: int
    k: int
    lam: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", as_integer("k", self.k, 2))
        object.__setattr__(self, "v", as_integer("v", self.v, 2))
        object.__setattr__(self, "lam", as_integer("lam", self.lam, 1))
        if self.k > self.v:
            raise InvalidParameters(f"Argument 'k' must be at most v = {self.v}, not {self.k}.")

    @property
    def r(self) -> int | Fraction:
        """Blocks through a point: lam (v - 1) / (k - 1)."""
        return _whole(Fraction(self.lam * (self.v - 1), self.k - 1))

    @property
    def b(self) -> int | Fraction:
        """Number of blocks: v r / k."""
        return _whole(Fraction(self.lam * self.v * (self.v - 1), self.k * (self.k - 1)))

    @property
    def order(self) -> int | Fraction:
        """r - lam, the eigenvalue of N N^T that belongs to contrasts between points."""
        return _whole(Fraction(self.r) - self.lam)

    @property
    def is_admissible(self) -> bool:
        """Whether b and r are whole numbers."""
        return isinstance(self.r, int) and isinstance(self.b, int)

    @property
    def is_complete(self) -> bool:
        """Whether each block holds every point (k = v)."""
        return self.k == self.v

    @property
    def is_symmetric(self) -> bool:
        """Whether there are as many blocks as points."""
        return self.b == self.v

    @property
    def has_complement(self) -> bool:
        """Whether the complements of the blocks are blocks of a design: k <= v - 2 and b > 2r - lam."""
        return self.is_admissible and self.v - self.k >= 2 and self.b - 2 * self.r + self.lam >= 1

    @property
    def complement(self) -> Parameters:
        """Parameters of the complementary blocks: (v, v - k, b - 2r + lam)."""
        if not self.has_complement:
            raise InvalidParameters(f"Parameters {self} have no complement that is a design.")
        return Parameters(self.v, self.v - self.k, int(self.b - 2 * self.r + self.lam))

    @property
    def residual(self) -> Parameters:
        """Parameters of the residual of a symmetric design: (v - k, k - lam, lam)."""
        return Parameters(self.v - self.k, self.k - self.lam, self.lam)

    @property
    def derived(self) -> Parameters:
        """Parameters of the derived of a symmetric design: (k, lam, lam - 1)."""
        return Parameters(self.k, self.lam, self.lam - 1)

    def __str__(self) -> str:
        return f"({self.v}, {self.k}, {self.lam})"


def _whole(value: Fraction) -> int | Fraction:
    return value.numerator if value.denominator == 1 else value
