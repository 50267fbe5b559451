"""Base blocks modulo a normal subgroup, what lies above them and meets, against brute force."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibdlib import Parameters, verify
from bibdlib.errors import InvalidParameters
from bibdlib.permutation_groups import named_group
from bibdlib.search import layouts, search
from bibdlib.search.meeting import meeting_places
from bibdlib.search.quotients import Quotients
from bibdlib.search.stabilizers import cyclic_stabilizers


@pytest.mark.parametrize(
    ("v_k_lam", "group"),
    [
        ((15, 3, 1), "Z15"),
        ((40, 4, 1), "Z40"),
        ((25, 4, 1), "Z5xZ5"),
        ((33, 8, 7), "Z33:10"),
        ((45, 5, 1), "GF(9)xZ5"),
    ],
)
def test_quotients_make_designs(v_k_lam, group):
    result = search(Parameters(*v_k_lam), group, method="quotients")
    assert verify(result.design())
    assert search(Parameters(*v_k_lam), group, method="quotients").base_blocks == result.base_blocks


@pytest.mark.parametrize(("v_k_lam", "group"), [((13, 4, 1), "Z13"), ((57, 3, 1), "Z57")])
def test_quotients_are_for_a_few_base_blocks_and_intransitive_normal_subgroups(v_k_lam, group):
    with pytest.raises(InvalidParameters, match="'group' must, for 'quotients', have an intransitive normal subgroup"):
        search(Parameters(*v_k_lam), group, method="quotients")


def test_nothing_is_annealed_before_the_first_round(monkeypatch):
    # Ctrl-C is understood in rounds only, see `bibdlib.search.run`.
    monkeypatch.setattr("bibdlib.search.quotients.annealed", lambda *_: pytest.fail("annealed"))
    Quotients(Parameters(40, 4, 1), named_group("Z40"), 0)


@pytest.mark.parametrize(("v", "group"), [(12, "Z12"), (13, "Z12:5+inf"), (16, "2*Z8"), (15, "GF(3)xZ5:(2,1)")])
def test_pairs_of_points_look_alike_where_the_group_and_the_subgroup_take_one_to_the_other(v, group):
    acting = named_group(group)
    for quotient, _ in _cases(v, acting):
        orbit = quotient.orbit
        images = {(x, y): {(orbit[g[x]], orbit[g[y]]) for g in acting.elements} for x, y in product(range(v), repeat=2)}
        for (x, y), (s, t) in product(combinations(range(v), 2), repeat=2):
            alike = {(orbit[s], orbit[t]), (orbit[t], orbit[s])} & images[x, y]
            kinds = [quotient.kind_of_pair[acting.pair_orbits[pair]] for pair in ((x, y), (s, t))]
            assert (kinds[0] == kinds[1]) == bool(alike)


@pytest.mark.parametrize(("v", "group"), [(12, "Z12"), (13, "Z12:5+inf"), (15, "GF(3)xZ5:(2,1)")])
def test_what_lies_above_is_all_that_covers_no_pair_too_often(v, group):
    acting = named_group(group)
    weights = np.random.default_rng(1).integers(1 << 64, size=len(acting.pair_orbit_lengths), dtype=np.uint64)
    lam = 2
    for (quotient, _), s in product(_cases(v, acting), cyclic_stabilizers(acting)):
        unions = [u for u in combinations(range(len(s.unions)), 3) if _covers(s, u).max() <= lam]
        image = {u: _image(quotient, s, u) for u in unions}
        for chosen in unions[::7]:
            finer, sums = quotient.above(s, list(chosen), weights, lam, np.random.default_rng(0))
            assert all(_image(quotient, s, u) == image[chosen] for u in finer.tolist())
            if s.order > 1:
                # Unions of orbits of several shapes may have the same image: those listed have the same shapes.
                assert int(_covers(s, chosen).astype(np.uint64) @ weights) in sums.tolist()
                continue
            alike = [u for u in unions if image[u] == image[chosen]]
            assert set(sums.tolist()) == {int(_covers(s, u).astype(np.uint64) @ weights) for u in alike}


@given(st.lists(st.lists(st.integers(0, 12), max_size=6), min_size=1, max_size=4), st.integers(0, 30))
def test_places_meet_wherever_entries_add_up(entries, target):
    lists = [np.array(each, dtype=np.uint64) * np.uint64(1 << 58 | 1) for each in entries]
    places = meeting_places(lists, np.uint64(target) * np.array([1 << 58 | 1], np.uint64)[0], np.random.default_rng(0))
    if places:
        assert sum(each[place] for each, place in zip(entries, places, strict=True)) == target
    else:
        assert all(sum(chosen) != target for chosen in product(*entries))


def _cases(v, group):
    for k, lam in product(range(3, 7), range(1, 20)):
        p = Parameters(v, k, lam)
        if p.is_admissible and any(len(layout.of_each) <= 4 for layout in layouts(p, group)):
            return Quotients(p, group, 0).cases
    raise AssertionError


def _image(quotient, s, union):
    return sorted(quotient.orbit[[x for orbit in union for x in s.unions[orbit]]].tolist())


def _covers(s, union):
    cells = [a * len(s.unions) + b for i, a in enumerate(union) for b in union[i:]]
    covers = np.zeros(len(s.group.pair_orbit_lengths), dtype=np.int64)
    for cell in cells:
        part = slice(s.starts[cell], s.starts[cell + 1])
        np.add.at(covers, s.orbits[part], s.amounts[part])
    return covers
