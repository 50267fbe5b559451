"""Parts of base blocks, counted in the orbits of one normal subgroup after another."""

from itertools import islice, pairwise, product
from math import inf

import numpy as np
import pytest

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import named_group
from bibdlib.search import search
from bibdlib.search.classes import class_meetings
from bibdlib.search.covers import pair_sums
from bibdlib.search.families import Families, _unlike
from bibdlib.search.refinement import Refinement
from bibdlib.search.stabilizers import cyclic_stabilizers

CASES = [
    ((16, 6, 4), "2*Z8", [8, 4, 2, 1]),
    ((25, 5, 2), "2*Z12+inf", [12, 4, 2, 1]),
    ((22, 7, 4), "2*Z11", [11, 1]),
    ((15, 7, 6), "Z14+inf", [14, 2, 1]),
    ((28, 4, 1), "GF(27)+inf", [27, 9, 3, 1]),
    ((28, 7, 4), "2*Z14", [14, 2, 1]),
    ((21, 5, 2), "2*Z10+inf", [10, 2, 1]),
]


@pytest.mark.parametrize(("v_k_lam", "group", "orders"), CASES)
def test_the_chain_descends_to_the_trivial_subgroup(v_k_lam, group, orders):
    chain = Families(Parameters(*v_k_lam), named_group(group), 0).chain
    assert [len(subgroup) for subgroup in chain] == orders
    for large, small in pairwise(chain):
        assert {tuple(g) for g in small.tolist()} < {tuple(g) for g in large.tolist()}


@pytest.mark.parametrize(("v_k_lam", "name", "orders"), CASES)
def test_refined_parts_meet_as_often_as_those_of_a_design(v_k_lam, name, orders):
    parameters, group = Parameters(*v_k_lam), named_group(name)
    r, lam = int(parameters.r), parameters.lam
    families = Families(parameters, group, 0)
    base_blocks = search(parameters, group, method="families").base_blocks
    stabilizers = [_stabilizer(group, block) for block in base_blocks]
    known = [np.array([[np.isin(orbit, block).sum()] for block in base_blocks]) for orbit in families.regular]
    for large, small in pairwise(families.chain):
        rng = np.random.default_rng(0)
        step = Refinement(parameters, group, families.regular, large, small, stabilizers, rng)
        met = list(islice(step.refined(known, rng), 3))
        assert met
        for parts in met:
            counts = _developed(parts, group.elements, families.regular, small)
            once = counts / np.repeat([s.order for s in stabilizers], group.order)
            size = len(small)
            wanted = lam * size**2 + (r - lam) * size * np.eye(len(counts), dtype=int)
            assert np.allclose(once @ counts.T, wanted)
            assert [part.sum(axis=1).tolist() for part in parts] == [part.sum(axis=1).tolist() for part in known]
        known = [np.stack([_counted(orbit, block, small) for block in base_blocks]) for orbit in families.regular]


def test_no_parts_are_met_twice():
    families = Families(Parameters(22, 7, 4), named_group("2*Z11"), 0)
    known = [np.array([[4], [5], [3], [2]]), np.array([[3], [2], [4], [5]])]
    rng = np.random.default_rng(0)
    step = Refinement(families.parameters, families.group, families.regular, *families.chain, families.layouts[0], rng)
    met = [np.concatenate(parts).tobytes() for parts in step.refined(known, rng)]
    assert len(met) == len(set(met)) > 1


@pytest.mark.parametrize(
    ("n", "cells", "finer", "part", "most"),
    [
        (15, 5, 15, [1, 0, 3, 2, 1], 100),
        (15, 5, 15, [1, 0, 3, 2, 1], 5),
        (15, 1, 5, [5], 10**4),
        (12, 2, 4, [2, 2], 1000),
        (24, 1, 4, [12], inf),
    ],
)
def test_one_of_the_parts_that_are_turns_of_each_other(monkeypatch, n, cells, finer, part, most):
    monkeypatch.setattr("bibdlib.search.refinement._LONG", 2)
    group = named_group(f"Z{n}")
    rng = np.random.default_rng(0)
    large, small = group.elements[::cells], group.elements[::finer]
    step = Refinement(Parameters(15, 7, 3), group, [np.arange(n)], large, small, cyclic_stabilizers(group)[:1], rng)
    unions = step.unions[0][0]
    parts = unions.drawn(np.array(part), most, rng)
    drawn = unions.counts(parts[np.arange(parts.number)]).astype(int)
    possible = {
        _least_turn(row, cells)
        for row in product(range(n // finer + 1), repeat=finer)
        if [sum(row[cell::cells]) for cell in range(cells)] == part
    }
    met = {_least_turn(row, cells) for row in drawn.tolist()}
    assert len(met) == parts.number
    assert met == possible if len(possible) <= most else met < possible
    assert (unions.drawn(np.array(part), most, rng) is parts) == (len(possible) <= most)


def test_pair_sums_of_unions_of_rows():
    rng = np.random.default_rng(0)
    tables = [
        np.array(rows, dtype=np.int16) for rows in ([[0, 1], [1, 2], [0, 2]], [[3]], [[4], [5]], np.empty((1, 0)))
    ]
    weights = rng.integers(1 << 63, size=(6, 6), dtype=np.uint64)
    members = np.concatenate([table.ravel() for table in tables])
    widths, numbers = (np.array([table.shape[axis] for table in tables]) for axis in (1, 0))
    wanted = [weights[np.ix_(x, x)].sum() for rows in product(*tables) for x in [np.concatenate(rows)]]
    assert pair_sums(members, widths, numbers, weights).tolist() == wanted


def test_blocks_that_a_subgroup_fixes_have_the_images_of_their_points_as_well(monkeypatch):
    # Three base blocks with six orbits of Z3 each would cover pairs that it moves onto each other 18 times, not nine.
    families = Families(Parameters(69, 18, 9), named_group("Z69"), 0)
    assert len(families.layouts) == 3
    tried = []
    monkeypatch.setattr(families, "_sizes", lambda stabilizers, seed: tried.append([s.order for s in stabilizers]))
    for number in range(3):
        families.round(number)
    assert tried == [[1, 1]] * 3


@pytest.mark.parametrize("half", [1, 2])
@pytest.mark.parametrize("numbers", [(5, 4), (4, 6, 5), (7, 3, 5, 2)])
def test_class_meetings_are_all_places_whose_sums_reach_the_target(monkeypatch, numbers, half):
    rng = np.random.default_rng(0)
    weights = rng.integers(1 << 63, size=3, dtype=np.uint64)
    counts = [rng.integers(2, size=(n, 3)).astype(np.uint64) for n in numbers]
    lists = [np.stack([each[:, 0] * weights[0], each @ weights]) for each in counts]
    places = [*product(*(range(n) for n in numbers))]
    sums = [sum(each[:, i] for each, i in zip(lists, row, strict=True)) for row in places]
    target = sums[0]
    possible = {row for row, total in zip(places, sums, strict=True) if (total == target).all()}
    met = [tuple(map(int, row)) for row in class_meetings(lists, half, target, rng)]
    assert len(met) == len(set(met)) < len(places)
    assert set(met) == possible
    for limit in ("_EARLY", "_PAIRS", "_MOST"):
        monkeypatch.setattr(f"bibdlib.search.classes.{limit}", 2)
        assert {tuple(map(int, row)) for row in class_meetings(lists, half, target, rng)} <= possible


def test_a_step_looks_across_the_least_subgroup_that_it_does_not_know():
    families = Families(Parameters(106, 10, 3), named_group("Z105+inf"), 0)
    assert [len(subgroup) for subgroup in families.chain] == [105, 15, 3, 1]
    across = [families._across(large) for large in families.chain[:-1]]
    assert [each and each.order for each in across] == [None, 7, 5]


def test_solutions_that_differ_in_the_order_of_like_base_blocks_are_one():
    full, short = (cyclic_stabilizers(named_group("Z6"))[i] for i in (0, 1))
    a, b = np.array([1, 0, 2]), np.array([0, 1, 2])
    found = [[np.array(rows)] for rows in ([a, b, a], [b, a, a], [a, b, b], [a, a, b])]
    assert [*map(str, _unlike(found, [full, full, short]))] == [str(found[i]) for i in (0, 2, 3)]


def _stabilizer(group, block):
    """The largest cyclic subgroup that fixes the block."""
    fixing = [s for s in cyclic_stabilizers(group) if all(len({*u} & {*block}) in (0, len(u)) for u in s.unions)]
    return max(fixing, key=lambda s: s.order)


def _least_turn(row, cells):
    return min(tuple(np.roll(row, turn)) for turn in range(0, len(row), cells))


def _counted(orbit, block, subgroup):
    """How many points of a block are in each of the subgroup's orbits within an orbit."""
    cells = subgroup[:, orbit].min(axis=0)
    return np.array([np.isin(orbit[cells == cell], block).sum() for cell in np.unique(cells)])


def _developed(parts, elements, orbits, subgroup):
    """The parts' images under all elements: one row for each of the subgroup's orbits, one column for each image."""
    cells = subgroup.min(axis=0)
    names = np.concatenate([np.unique(cells[orbit]) for orbit in orbits])
    images = np.searchsorted(names, cells[elements[:, names]])
    return np.concatenate([np.concatenate(block)[images] for block in zip(*parts, strict=True)]).T
