"""The registry: each theorem that makes designs, as a thing that recognises first and builds second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec

import numpy.typing as npt

from bibdlib.design import Design
from bibdlib.implicit import ImplicitDesign
from bibdlib.parameters import Parameters
from bibdlib.verify import verified

__all__ = ["CONSTRUCTIONS", "Construction", "Match", "Matches", "precedes", "register"]


@dataclass(frozen=True)
class Match:
    """One way in which a theorem gives the parameters: its arguments, and the designs it starts from."""

    arguments: dict[str, Any] = field(default_factory=dict)
    needs: tuple[Parameters, ...] = ()


Matches = Iterator[Match]


@dataclass(frozen=True)
class Construction:
    """A theorem that makes designs.

    Attributes
    ----------
    name
        Key in the registry, as in "projective_geometry".
    title
        One line for tables, as in "flats of PG(n, q)".
    reference
        The primary source.
    matches
        Yields the ways in which the theorem gives the parameters, cheapest first; builds nothing.
    build
        Takes the arguments of a match, and the designs it needs in their order, returns the blocks,
        an integer array of shape (b, k). Whoever asked verifies them.
    implicit
        Takes the same arguments, returns the design without its blocks, or None if these arguments have
        no such form; None where the theorem has none.
    """

    name: str
    title: str
    reference: str
    matches: Callable[[Parameters], Matches]
    build: Callable[..., npt.NDArray[Any]]
    implicit: Callable[..., ImplicitDesign | None] | None = None


CONSTRUCTIONS: dict[str, Construction] = {}


def precedes(need: Parameters, parameters: Parameters) -> bool:
    """Whether a design may be built from the one it needs: the order, without descending chains, of all recursion.

    Symmetric designs come first, since residual and derived ones are cut from larger symmetric ones;
    then fewer points, then smaller lam, then larger blocks.
    """
    return _rank(need) < _rank(parameters)


def _rank(p: Parameters) -> tuple[bool, int, int, int]:
    return not p.is_symmetric, p.v, p.lam, -p.k


Arguments = ParamSpec("Arguments")


def register(
    *,
    title: str,
    reference: str,
    matches: Callable[[Parameters], Matches],
    implicit: Callable[..., ImplicitDesign | None] | None = None,
) -> Callable[[Callable[Arguments, npt.NDArray[Any]]], Callable[Arguments, Design]]:
    """Enter the decorated builder under its own name; the order of entry is the order of search.

    The registry keeps the builder of blocks. Whoever calls the function by name gets
    the verified design, its parameters read off the blocks.
    """

    def enter(build: Callable[Arguments, npt.NDArray[Any]]) -> Callable[Arguments, Design]:
        name = build.__name__
        if name in CONSTRUCTIONS:
            raise ValueError(f"Construction '{name}' is registered twice.")
        CONSTRUCTIONS[name] = Construction(name, title, reference, matches, build, implicit)

        @wraps(build)
        def named(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Design:
            return verified(Design.from_blocks(build(*args, **kwargs)))

        named.__signature__ = signature(build).replace(return_annotation="Design")  # type: ignore[attr-defined]
        return named

    return enter
