"""Base blocks listed by stabilizer, drawn and met, against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bibdlib import Parameters, verify
from bibdlib.errors import InvalidParameters
from bibdlib.permutation_groups import named_group
from bibdlib.search import search
from bibdlib.search.lists import Lists
from bibdlib.search.stabilizers import cyclic_stabilizers


@pytest.mark.parametrize(
    ("v_k_lam", "group"),
    [
        ((13, 3, 1), "Z13"),
        ((15, 3, 1), "Z7:2 on 2*7 + 1"),
        ((25, 4, 1), "Z21 on 21 + 3 + 1"),
        ((33, 8, 7), "Z33:10"),
        ((45, 5, 1), "GF(9)xZ5"),
    ],
)
def test_lists_make_designs(v_k_lam, group):
    result = search(Parameters(*v_k_lam), group, method="lists")
    assert verify(result.design())
    assert search(Parameters(*v_k_lam), group, method="lists").base_blocks == result.base_blocks


@pytest.mark.parametrize(
    ("v_k_lam", "group", "lengths"),
    [((16, 4, 1), "Z15:2+inf", [5, 15]), ((21, 5, 1), "Z5:4 on 4*5 + 1", [1, 5, 5, 5, 5])],
)
def test_subgroups_that_are_not_cyclic_and_the_whole_group_may_fix_base_blocks(v_k_lam, group, lengths):
    result = search(Parameters(*v_k_lam), group, method="lists")
    assert verify(result.design())
    assert sorted(len(result.group.orbit(block)) for block in result.base_blocks) == lengths


@pytest.mark.parametrize(("v_k_lam", "group"), [((25, 9, 3), "GF(25):8"), ((13, 3, 1), "Z2 on 6*2 + 1")])
def test_groups_that_leave_too_many_base_blocks_or_none_that_fit_are_refused(v_k_lam, group):
    """Not called exhausted: of (13, 3, 1) there is a design with an involution, of more than nine base blocks."""
    with pytest.raises(InvalidParameters, match="'group' must, for 'lists', leave at most 9 base blocks that fit"):
        search(Parameters(*v_k_lam), group, method="lists")


@pytest.mark.parametrize(("v", "group"), [(9, "Z9:4"), (10, "Z9:2+inf"), (12, "Z6 on 6 + 3 + 2 + 1"), (11, "2*Z5+inf")])
def test_of_all_base_blocks_that_fit_an_image_is_listed(v, group):
    k, acting = 4, named_group(group)
    room = np.random.default_rng(0).integers(1, 6, size=len(acting.pair_orbit_lengths))
    method = Lists(Parameters(v, k, 12), acting, 0)
    for s in cyclic_stabilizers(acting):
        fitting = set()
        for n in range(1, k + 1):
            for chosen in combinations(range(len(s.unions)), n):
                block = [x for orbit in chosen for x in s.unions[orbit]]
                if len(block) == k and (_covers(acting, s, block) <= room).all():
                    fitting.add(_images(acting, block))
        listed = method._listed(s, room, 1000, np.random.default_rng(1)).tolist()
        blocks = [[x for orbit in union if orbit >= 0 for x in s.unions[orbit]] for union in listed]
        assert {_images(acting, block) for block in blocks} == fitting


def _images(group, block):
    return frozenset(map(tuple, group.orbit(block).tolist()))


def _covers(group, s, block):
    """How often the block, developed |G : H| times, covers each pair orbit, by counting pairs in all its images."""
    images = group.orbit(block)
    covers = np.zeros(len(group.pair_orbit_lengths), dtype=np.int64)
    for image in images:
        np.add.at(covers, [group.pair_orbits[pair] for pair in combinations(image, 2)], s.index // len(images))
    return covers // group.pair_orbit_lengths
