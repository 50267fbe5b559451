"""What one round of a search brings back."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """The best base blocks of a round.

    Attributes
    ----------
    cost
        Sum over the pair orbits of (covered - lam)^2, so 0 is a design; None if there are no base blocks to speak of.
    base_blocks
        One list of points each; listed n times if its orbit counts n times.
    exhausted
        Whether the round proves that the group has no such design, at least none that the method can find.
    """

    cost: int | None
    base_blocks: list[list[int]] = field(repr=False)
    exhausted: bool = False
