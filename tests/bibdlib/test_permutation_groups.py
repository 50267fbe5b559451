"""Groups by name: orders, orbits against brute force, bad names."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bibdlib.errors import InvalidParameters
from bibdlib.fields import finite_field
from bibdlib.permutation_groups import named_group, permutation_group

NAMED = [
    ("Z13", 13, 13),
    ("Z13:3", 13, 39),
    ("Z3xZ5", 15, 15),
    ("Z3xZ5:2", 15, 60),
    ("Z21:4,20", 21, 126),
    ("2*Z10+inf", 21, 10),
    ("3*Z7:2", 21, 21),
    ("3*Z7:2c", 21, 21),
    ("4*Z7:2c3+inf", 29, 21),
    ("GF(9)", 9, 9),
    ("GF(25):3", 25, 75),
    ("2*GF(9):4c", 18, 36),
    ("GF(16)xZ7:(5,1)", 112, 560),
    ("Z7xGF(4)+inf", 29, 28),
    ("Z3xZ35:(1,16)(2,6)", 105, 630),
    ("3*GF(4)xZ7:(3,2)c", 84, 84),
    ("Z12+2inf", 14, 12),
    ("PSL(2,5)", 6, 60),
    ("PSL(2,8)", 9, 504),
    ("PGL(2,9)", 10, 720),
    ("PGammaL(2,9)", 10, 1440),
    ("<(0, 1, 2, 3, 4), (0,1,2), (5,6,7)(8)>", 9, 180),
    ("<(0,1,2)(3,4),(1,5)> on {0,1} + inf", 7, 24),
    ("AGammaL(1,8)", 8, 168),
    ("AGammaL(1,8) on (0,1) + (0) + {{0,1},{2,3},{4,5},{6,7}}", 71, 168),
    ("PSL(2,7) on 2*{0,1} + inf", 57, 168),
    ("Z13:3 on {0,(1,2)}+2inf", 41, 39),
]


@pytest.mark.parametrize(("name", "v", "order"), NAMED)
def test_the_group_has_the_points_and_the_order_of_its_name(name, v, order):
    group = named_group(name)
    assert (group.v, group.order) == (v, order)


@pytest.mark.parametrize("name", ["Z7:2", "2*Z5+inf", "3*Z4:3c", "GF(9):2", "PSL(2,7)"])
def test_orbits_are_those_of_brute_force(name):
    group = named_group(name)
    seen = {}
    for pair in combinations(range(group.v), 2):
        orbit = frozenset(frozenset(int(x) for x in g[list(pair)]) for g in group.elements)
        seen.setdefault(group.pair_orbits[pair], set()).add(orbit)
        assert len(orbit) == group.pair_orbit_lengths[group.pair_orbits[pair]]
    assert all(len(orbits) == 1 for orbits in seen.values())
    assert len(set.union(*seen.values())) == len(seen) == len(group.pair_orbit_lengths)
    block = [0, 1, 3]
    expected = {tuple(sorted(int(x) for x in g[block])) for g in group.elements}
    assert {tuple(row) for row in group.orbit(block).tolist()} == expected


def test_a_group_on_sets_acts_as_on_their_points():
    group, on_pairs = named_group("PSL(2,7)"), named_group("PSL(2,7) on {0,1}")
    both = np.concatenate([group.generators, 8 + on_pairs.generators], axis=1)
    together = permutation_group(both).elements
    assert len(together) == group.order
    images = {frozenset(g[:2].tolist()): int(g[8]) for g in together}
    assert sorted(images.values()) == list(range(8, 36))
    for pair, number in images.items():
        for g in together[::13]:
            assert images[frozenset(g[list(pair)].tolist())] == g[number]


def test_a_multiplier_of_a_product_acts_on_each_factor():
    group, field = named_group("GF(16)xZ7:(5,2)"), finite_field(16)
    x, y = np.arange(112) % 16, np.arange(112) // 16
    expected = field.multiply(x, field.powers[3]) + 16 * (2 * y % 7)
    assert any(np.array_equal(generator, expected) for generator in group.generators)
    assert named_group("Z3xZ35:(2,1)").order == 2 * 105
    assert named_group("Z3xZ35:2").generators.tolist() == named_group("Z3xZ35:(2,2)").generators.tolist()


def test_a_cycled_multiplier_acts_regularly():
    group = named_group("3*Z7:2c")
    assert (group.elements[1:] != np.arange(21)).all()


def test_elements_are_a_group():
    elements = named_group("PSL(2,7)").elements
    known = {g.tobytes() for g in elements}
    assert all(g[h].tobytes() in known for g in elements[::7] for h in elements[::11])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Z",
        "Z1",
        "13",
        "Z21:3",
        "GF(6)",
        "GF(9):3",
        "PSL(3,2)",
        "Z7+inf+inf",
        "2*Z7:2c3",
        "AGammaL(1,6)",
        "xZ7",
        "Z3Z5",
        "GF(4)xZ7:3",
        "GF(4)xZ7:(3)",
        "GF(4)xZ7:(2,1)",
        "GF(4)xZ7:(3,7)",
        "GF(4)xZ7:(3,1",
        "GF(4)xZ7:(3,)",
        "Z5:0",
        "Z7:,",
        "Z7:2,",
        "PGammaL(2,6)",
        "<>",
        "<(0,1,2),>",
        "<(0,1)(1,2)>",
        "<(0,1),1>",
        "<(0,1000000000)>",
    ],
)
def test_bad_names_are_refused(name):
    with pytest.raises(InvalidParameters):
        named_group(name)


def test_bad_permutations_are_refused():
    with pytest.raises(InvalidParameters, match="row 1 is none"):
        permutation_group([[1, 0, 2], [0, 0, 1]])


def test_too_large_a_group_says_so():
    cycle, swap = [*range(1, 10), 0], [1, 0, *range(2, 10)]
    with pytest.raises(InvalidParameters, match="at most 200000 elements"):
        _ = permutation_group([cycle, swap]).elements


@pytest.mark.parametrize(
    ("name", "order", "lengths"),
    [
        ("Z15 on 2*15 + 2*5 + 1", 15, [15, 15, 5, 5, 1]),
        ("Z13:3 on 13c3 + 2*13 + 1c3 + 1", 39, [39, 13, 13, 3, 1]),
        ("Z7:3 on 7c2+7", 42, [14, 7]),
    ],
)
def test_a_group_on_orbits_of_given_lengths(name, order, lengths):
    group = named_group(name)
    images = group.elements.min(axis=0)
    assert group.order == order
    assert np.bincount(images)[np.unique(images)].tolist() == lengths


@pytest.mark.parametrize("name", ["Z15 on 4", "Z15 on 0", "Z15:3 on 15", "Z15 on 15c3", "Z15 on 15+", "Z13:3 on 13c0"])
def test_orbits_that_cannot_be_are_refused(name):
    with pytest.raises(InvalidParameters):
        named_group(name)


@pytest.mark.parametrize("figure", ["(0,8)", "(0,", "{0,'1'}", "{0,x}", "(0)+3*", "(0)+z*(1)", "(-1)"])
def test_figures_that_cannot_be_are_refused(figure):
    with pytest.raises(InvalidParameters):
        named_group(f"PSL(2,7) on {figure}")


@pytest.mark.parametrize("name", ["Z13:3", "PSL(2,5)", "<(0,1,2,3),(0,1)>"])
def test_conjugates_and_keys_of_permutations(name):
    group = named_group(name)
    p = group.generators[0]
    for g, conjugate in zip(group.elements, group.conjugates(p), strict=True):
        assert (conjugate[g] == g[p]).all()
    assert len(set(group.keys(group.elements).tolist())) == group.order
