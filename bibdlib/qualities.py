"""What may be asked of a design beyond its parameters: simple, resolvable, cyclic, unlike others."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from bibdlib.design import Design
from bibdlib.isomorphism import isomorphism
from bibdlib.nonexistence import Existence, Status
from bibdlib.parameters import Parameters
from bibdlib.resolve import resolution, unresolvable

__all__ = ["Qualities"]


@dataclass(frozen=True)
class Qualities:
    """A wish for a design: no repeated block, a resolution, x -> x + 1 an automorphism, isomorphic to none of some."""

    simple: bool = False
    resolvable: bool = False
    cyclic: bool = False
    unlike: tuple[Design, ...] = ()

    def __bool__(self) -> bool:
        return self.simple or self.resolvable or self.cyclic or bool(self.unlike)

    def __str__(self) -> str:
        asked = [name for name in ("simple", "resolvable", "cyclic") if getattr(self, name)]
        if self.unlike:
            asked.append(f"isomorphic to none of the {len(self.unlike)} given")
        return " and ".join(asked)

    def refute(self, parameters: Parameters) -> Existence | None:
        """The verdict of counting that no design with these parameters has the qualities, or None."""
        p = parameters
        reason = unresolvable(p) if self.resolvable else None
        if self.simple and p.b > comb(p.v, p.k):
            reason = (
                f"there are {comb(p.v, p.k)} sets of k = {p.k} points, so some of the b = {p.b} blocks are repeated"
            )
        return None if reason is None else Existence(p, Status.NONEXISTENT, f"{self}: {reason}", "counting")

    def hold(self, design: Design, time_limit: float) -> bool:
        """Whether the design has them all. A search for a resolution ends after `time_limit` seconds, as a no."""
        if (self.simple and not design.is_simple) or (self.cyclic and not design.is_cyclic):
            return False
        if any(isomorphism(design, other) is not None for other in self.unlike):
            return False
        return not self.resolvable or _resolves(design, time_limit)


def _resolves(design: Design, time_limit: float) -> bool:
    try:
        return resolution(design, time_limit=time_limit) is not None
    except TimeoutError:
        return False
