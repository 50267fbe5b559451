"""Base blocks in an abelian group, and how those that a theorem gives enter the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Matches, register
from bibdlib.design import Design
from bibdlib.groups import AbelianGroup, develop
from bibdlib.implicit import DevelopedDesign
from bibdlib.parameters import Parameters
from bibdlib.verify import verified

__all__ = ["DifferenceFamily", "DifferenceSet", "register_base_blocks"]

Arguments = ParamSpec("Arguments")
Family = TypeVar("Family", bound="DifferenceFamily")


@dataclass(frozen=True, eq=False)
class DifferenceFamily:
    """Base blocks in an abelian group whose differences give every element but 0 equally often.

    Attributes
    ----------
    group
        The group of order v, its elements numbered 0..v-1.
    base_blocks
        Integer array of shape (t, k).
    """

    group: AbelianGroup
    base_blocks: npt.NDArray[np.int64]

    @property
    def parameters(self) -> Parameters:
        """(v, k, lam) with lam = t k (k - 1) / (v - 1)."""
        v, (t, k) = self.group.order, self.base_blocks.shape
        return Parameters(v, k, t * k * (k - 1) // (v - 1))

    def translates(self) -> npt.NDArray[np.int64]:
        """All v translates of each base block, shape (t v, k)."""
        return develop(self.base_blocks, self.group, short=False)

    def design(self) -> Design:
        """The design of the translates, verified.

        Raises
        ------
        NotADesign
            If the differences do not balance.
        """
        return verified(Design(self.parameters, self.translates()))


class DifferenceSet(DifferenceFamily):
    """A difference family of one base block; its design is symmetric."""

    @property
    def elements(self) -> npt.NDArray[np.int64]:
        """The set itself, shape (k,)."""
        return self.base_blocks[0]


def register_base_blocks(
    *, title: str, reference: str, matches: Callable[[Parameters], Matches]
) -> Callable[[Callable[Arguments, Family]], Callable[Arguments, Family]]:
    """Enter the design that the base blocks develop to; the decorated name keeps standing for the base blocks."""

    def enter(make: Callable[Arguments, Family]) -> Callable[Arguments, Family]:
        def implicit(*args: Arguments.args, **kwargs: Arguments.kwargs) -> DevelopedDesign:
            family = make(*args, **kwargs)
            return DevelopedDesign(family.group, family.base_blocks)

        @register(title=title, reference=reference, matches=matches, implicit=implicit)
        @wraps(make)
        def build(*args: Arguments.args, **kwargs: Arguments.kwargs) -> npt.NDArray[Any]:
            return make(*args, **kwargs).translates()

        return make

    return enter
