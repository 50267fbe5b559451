"""Every registered construction, whichever they are: what it matches it builds, and the count holds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibdlib import CONSTRUCTIONS, Parameters, Recipe, find, verify
from bibdlib.nonexistence import refute
from tests.strategies import buildable, examples, parameters

every_construction = pytest.mark.parametrize("name", CONSTRUCTIONS)


def build(name: str, p: Parameters, match):
    return Recipe(p, CONSTRUCTIONS[name], match.arguments, tuple(map(find, match.needs))).build()


@every_construction
def test_it_has_examples_and_a_source(name):
    construction = CONSTRUCTIONS[name]
    assert examples(name), "add parameters that it matches to tests/strategies.py"
    assert construction.title
    assert construction.reference


@every_construction
@settings(max_examples=8)
@given(data=st.data())
def test_what_it_matches_it_builds(name, data):
    p = data.draw(st.sampled_from(examples(name)))
    for match, _ in zip(buildable(name, p), range(3), strict=False):
        design = build(name, p, match)
        assert design.parameters == p
        assert verify(design)


@every_construction
@settings(max_examples=8)
@given(data=st.data())
def test_next_to_an_example_it_matches_only_what_it_builds(name, data):
    p = data.draw(st.sampled_from(examples(name)))
    steps = data.draw(st.tuples(*[st.sampled_from([-1, 0, 1])] * 3).filter(any))
    v, k, lam = (a + step for a, step in zip((p.v, p.k, p.lam), steps, strict=True))
    if not 2 <= k <= v or lam < 1:
        return
    neighbour = Parameters(v, k, lam)
    for match, _ in zip(buildable(name, neighbour), range(2), strict=False):
        assert refute(neighbour) is None, f"{name} says it gives the impossible {neighbour}"
        assert build(name, neighbour, match).parameters == neighbour


@every_construction
@settings(max_examples=60)
@given(p=parameters(max_v=10**4, max_lam=100))
def test_it_recognises_large_parameters_without_building(name, p):
    """Recognition takes any parameters in its stride and says nothing of the impossible."""
    for match in CONSTRUCTIONS[name].matches(p):
        if not match.needs:
            assert refute(p) is None
