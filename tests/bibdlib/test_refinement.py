"""Parts of base blocks, counted in the orbits of one normal subgroup after another."""

from itertools import islice, pairwise

import numpy as np
import pytest

from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import named_group
from bibdlib.search import search
from bibdlib.search.families import Families
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


def _stabilizer(group, block):
    """The largest cyclic subgroup that fixes the block."""
    fixing = [s for s in cyclic_stabilizers(group) if all(len({*u} & {*block}) in (0, len(u)) for u in s.unions)]
    return max(fixing, key=lambda s: s.order)


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
