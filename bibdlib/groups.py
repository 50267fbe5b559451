"""Abelian groups, and the development of base blocks under them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AbelianGroup", "cyclic", "develop"]

Elements = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AbelianGroup:
    """Z_m1 x Z_m2 x ..., its elements numbered in mixed radix, the first factor fastest."""

    moduli: tuple[int, ...]

    @property
    def order(self) -> int:
        """Number of elements."""
        return prod(self.moduli)

    def add(self, a: Any, b: Any) -> Elements:
        """a + b, elementwise on element numbers, with broadcasting."""
        return self._combine(a, b, 1)

    def subtract(self, a: Any, b: Any) -> Elements:
        """a - b, elementwise on element numbers, with broadcasting."""
        return self._combine(a, b, -1)

    def _combine(self, a: Any, b: Any, sign: int) -> Elements:
        a, b = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
        if len(self.moduli) == 1:
            return (a + sign * b) % self.moduli[0]
        if set(self.moduli) == {2}:
            return a ^ b
        total, radix = np.zeros(np.broadcast_shapes(a.shape, b.shape), dtype=np.int64), 1
        for modulus in self.moduli:
            total += (a // radix % modulus + sign * (b // radix % modulus)) % modulus * radix
            radix *= modulus
        return total


def cyclic(n: int) -> AbelianGroup:
    """Z_n."""
    return AbelianGroup((n,))


def develop(base_blocks: Any, group: AbelianGroup, *, orbits: int = 1, short: bool = True) -> npt.NDArray[np.int64]:
    """All translates of the base blocks under a group, as an array of shape (b, k).

    Points: element g of the i-th copy of the group is i * order + g, for i < `orbits`;
    the numbers from orbits * order on are points at infinity, fixed by every translation.
    A base block that some translations fix is developed once (`short`), or |group| times.
    """
    order = group.order
    translations = np.arange(order)[:, None]
    developed = []
    for base in base_blocks:
        base = np.asarray(base, dtype=np.int64)
        copy, element = np.divmod(base, order)
        moved = copy * order + group.add(element, translations)
        translates = np.sort(np.where(copy < orbits, moved, base), axis=1)
        developed.append(np.unique(translates, axis=0) if short else translates)
    return np.concatenate(developed)
