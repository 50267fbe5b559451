"""From parameters to a design: recognise, explain, build, verify."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bibdlib.constructions import CONSTRUCTIONS, Construction
from bibdlib.constructions.registry import precedes
from bibdlib.design import Design, memory_shortage
from bibdlib.errors import DesignTooLarge, NoKnownConstruction, NonexistentDesign
from bibdlib.implicit import ImplicitDesign
from bibdlib.nonexistence import Existence, Status, refute
from bibdlib.open_cases import literature
from bibdlib.parameters import Parameters
from bibdlib.qualities import Qualities
from bibdlib.variants import variants
from bibdlib.verify import verified

__all__ = ["Recipe", "construct", "construct_implicit", "existence", "explain", "find", "recipes"]


@dataclass(frozen=True)
class Recipe:
    """How to build a design: a construction, its arguments, and the recipes of the designs it starts from."""

    parameters: Parameters
    construction: Construction
    arguments: dict[str, Any] = field(default_factory=dict)
    ingredients: tuple[Recipe, ...] = ()

    def build(self) -> Design:
        """Build the ingredients, then the design, and count every pair of it.

        Raises
        ------
        NotADesign
            If the count fails, which would be an error of the construction.
        """
        designs = [ingredient.build() for ingredient in self.ingredients]
        return verified(Design(self.parameters, self.construction.build(*designs, **self.arguments)))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self, indent: str = "") -> Iterator[str]:
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        call = f"{self.construction.name}({arguments})"
        yield f"{indent}{self.parameters} {self.construction.title}: {call} [{self.construction.reference}]"
        for ingredient in self.ingredients:
            yield from ingredient._lines(indent + "  ")


def construct(
    v: int,
    k: int,
    lam: int = 1,
    *,
    simple: bool = False,
    resolvable: bool = False,
    cyclic: bool = False,
    unlike: Iterable[Design] = (),
) -> Design:
    """Build and verify a design on v points with blocks of k points, every two points in lam of them.

    With further wishes the first is returned that has them, of the designs that the registered constructions give
    and those made from them by `bibdlib.variants`.

    Parameters
    ----------
    v, k, lam
        The parameters.
    simple
        No block is repeated.
    resolvable
        The blocks fall into parallel classes, which `bibdlib.resolve.resolution` gives. Where the construction does
        not, they are searched for, half a minute for each design, with OR-tools (extra `iddl[search]`).
    cyclic
        x -> x + 1 modulo v is an automorphism.
    unlike
        Designs that the new one must not be isomorphic to; needs pynauty (extra `iddl[structure]`).

    Examples
    --------
    >>> construct(7, 3).blocks.tolist()[0]
    [0, 1, 2]

    Raises
    ------
    InvalidParameters
        Unless v, k, lam are integers with 2 <= k <= v and lam >= 1.
    NonexistentDesign
        If a theorem or an exhaustive search excludes the design; the message names it.
    NoKnownConstruction
        If neither a construction nor a proof against one is known here, or no known one has what is wished.
    DesignTooLarge
        If this machine cannot hold the blocks; the message offers `construct_implicit` where that helps.
    """
    verdict = existence(v, k, lam)
    if verdict.status is Status.NONEXISTENT:
        raise NonexistentDesign(verdict)
    if verdict.status is Status.UNKNOWN:
        raise NoKnownConstruction(verdict)
    recipe = find(verdict.parameters)
    assert recipe is not None
    shortage = memory_shortage(verdict.parameters)
    if shortage:
        offer = f" bibdlib.construct_implicit{verdict.parameters} computes its incidences instead of holding them."
        raise DesignTooLarge(shortage + (offer if any(_implicit_designs(verdict.parameters)) else ""))
    qualities = Qualities(simple, resolvable, cyclic, tuple(unlike))
    return _chosen(verdict.parameters, qualities) if qualities else recipe.build()


def _chosen(p: Parameters, qualities: Qualities) -> Design:
    excluded = qualities.refute(p)
    if excluded is not None:
        raise NonexistentDesign(excluded)
    # First what the constructions give, then what a search makes of it.
    for time_limit in (0, 30) if qualities.resolvable else (0,):
        for recipe in recipes(p):
            summands = (
                tuple(r.build() for r in recipe.ingredients) if recipe.construction.name == "sum_of_designs" else ()
            )
            for design in variants(recipe.build(), summands):
                if qualities.hold(design, time_limit):
                    return verified(design)
    raise NoKnownConstruction(Existence(p, Status.UNKNOWN, f"no construction known here gives one that is {qualities}"))


def construct_implicit(v: int, k: int, lam: int = 1) -> ImplicitDesign:
    """A design that computes its incidences instead of holding them, verified by its differences or by a sample.

    Hyperplanes and lines of projective and affine geometries, difference sets and families.

    Examples
    --------
    >>> plane = construct_implicit(4295163907, 65538)
    >>> plane.blocks_through(3, 4294967295)
    array([2454473000])

    Raises
    ------
    InvalidParameters
        Unless v, k, lam are integers with 2 <= k <= v and lam >= 1.
    NonexistentDesign
        If a theorem or an exhaustive search excludes the design; the message names it.
    NoKnownConstruction
        If no such form of it is known here; `construct` may still build it.
    """
    p = Parameters(v, k, lam)
    excluded = refute(p)
    if excluded is not None:
        raise NonexistentDesign(excluded)
    for design in _implicit_designs(p):
        return verified(design)
    raise NoKnownConstruction(Existence(p, Status.UNKNOWN, "no form that computes its incidences is known here"))


def _implicit_designs(p: Parameters) -> Iterator[ImplicitDesign]:
    for construction in CONSTRUCTIONS.values():
        if construction.implicit is not None:
            for match in construction.matches(p):
                design = construction.implicit(**match.arguments)
                if design is not None:
                    yield design


def existence(v: int, k: int, lam: int = 1) -> Existence:
    """Whether a (v, k, lam) design exists, with reason and reference; builds nothing."""
    p = Parameters(v, k, lam)
    excluded = refute(p)
    if excluded is not None:
        return excluded
    recipe = find(p)
    if recipe:
        return Existence(p, Status.EXISTS, recipe.construction.title, recipe.construction.reference)
    if said := literature(p):
        return Existence(p, Status.UNKNOWN, *said)
    return Existence(p, Status.UNKNOWN, "no construction and no proof of nonexistence is known to this library")


def explain(v: int, k: int, lam: int = 1) -> str:
    """The recipe of a (v, k, lam) design as an indented tree, or the verdict if there is none."""
    verdict = existence(v, k, lam)
    recipe = None if verdict.status is not Status.EXISTS else find(verdict.parameters)
    return str(recipe or verdict)


@cache
def find(parameters: Parameters) -> Recipe | None:
    """The first recipe of a design in the order of the registry, or None if no registered construction gives it."""
    return next(recipes(parameters), None)


def recipes(parameters: Parameters) -> Iterator[Recipe]:
    """Every recipe of a design in the order of the registry, each with the first recipes of what it needs.

    Only ingredients that come before the design in `precedes` are tried, so every search ends.
    """
    if refute(parameters) is not None:
        return
    for construction in CONSTRUCTIONS.values():
        for match in construction.matches(parameters):
            if all(precedes(need, parameters) for need in match.needs):
                ingredients = _find_all(match.needs)
                if ingredients is not None:
                    yield Recipe(parameters, construction, match.arguments, ingredients)


def _find_all(needs: tuple[Parameters, ...]) -> tuple[Recipe, ...] | None:
    found = []
    for need in needs:
        recipe = find(need)
        if recipe is None:
            return None
        found.append(recipe)
    return tuple(found)
