"""Recursion: group divisible designs that are filled, designs on blocks, and what they settle for every v."""

import numpy as np
import pytest

from bibdlib import CONSTRUCTIONS, Parameters, Recipe, construct, find, verify
from bibdlib.constructions.group_divisible import fill_groups
from bibdlib.constructions.registry import precedes


def through(name: str, v: int, k: int, lam: int = 1, **arguments: int):
    """The first design that a construction gives, with these among its arguments."""
    p = Parameters(v, k, lam)
    for match in CONSTRUCTIONS[name].matches(p):
        if arguments.items() <= match.arguments.items() and all(map(find, match.needs)):
            ingredients = tuple(find(need) for need in match.needs)
            return Recipe(p, CONSTRUCTIONS[name], match.arguments, ingredients).build()
    raise AssertionError(f"{name} does not give {p} with {arguments}")


@pytest.mark.parametrize(
    ("name", "parameters", "arguments"),
    [
        ("inflated_design", (49, 4, 1), {"extra": 1}),
        ("inflated_design", (64, 4, 1), {"extra": 0}),
        ("inflated_design", (125, 5, 1), {"extra": 0}),
        ("inflated_design", (88, 4, 1), {"extra": 4}),
        ("inflated_punctured_design", (49, 4, 1), {"extra": 1}),
        ("inflated_punctured_design", (52, 4, 1), {"extra": 4}),
        ("truncated_transversal", (61, 4, 1), {"m": 4}),
        ("truncated_transversal", (52, 4, 1), {"m": 1}),
        ("truncated_transversal", (49, 4, 2), {"m": 0}),
        ("pairwise_balanced", (29, 4, 3), {}),
        ("pairwise_balanced", (73, 4, 3), {"extra": 1}),
        ("designs_on_blocks", (28, 3, 2), {}),
        ("woven_from_hadamard", (61, 25, 10), {"m": 2}),
        ("woven_from_hadamard", (79, 27, 9), {"m": 3}),
    ],
)
def test_each_way_of_recursion_gives_designs(name, parameters, arguments):
    design = through(name, *parameters, **arguments)
    assert design.parameters == Parameters(*parameters)
    assert verify(design)


def test_every_recipe_uses_ingredients_that_come_before_it():
    def check(recipe):
        for ingredient in recipe.ingredients:
            assert precedes(ingredient.parameters, recipe.parameters)
            check(ingredient)

    for p in [(1996, 4, 1), (1001, 5, 1), (400, 4, 1), (21, 6, 8), (45, 5, 2)]:
        recipe = find(Parameters(*p))
        assert recipe is not None
        check(recipe)


def test_designs_with_blocks_of_four_are_known_for_every_v():
    """Hanani's theorem for lam = 1, as far as recursion from small designs reaches."""
    assert [v for v in range(13, 500) if v % 12 in (1, 4) and find(Parameters(v, 4)) is None] == []


@pytest.mark.parametrize("p", [(1996, 4, 1), (1001, 5, 1), (505, 4, 1), (40, 3, 2)])
def test_large_designs_by_recursion_hold(p):
    assert construct(*p).parameters == Parameters(*p)


def test_a_common_block_of_the_fillers_is_kept_once():
    plane = construct(7, 3)
    groups = [np.arange(4), np.arange(4, 8)]
    blocks = fill_groups(np.empty((0, 3), dtype=int), groups, [plane, plane], extra=3)
    assert len(blocks) == 7 + 6
    assert (np.sort(blocks, axis=1) == [8, 9, 10]).all(axis=1).sum() == 1
