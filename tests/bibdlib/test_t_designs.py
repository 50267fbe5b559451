"""t-designs: their strength is counted, and what is weaker is refused with the points."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibdlib import Design, InvalidParameters, NonexistentDesign, Parameters, construct, verify
from bibdlib.quadruple_systems import _WAYS, steiner_quadruple_system
from bibdlib.t_designs import (
    derived_at,
    hadamard_3_design,
    residual_at,
    strength,
    verify_t,
    witt_design,
)


@pytest.mark.parametrize(
    ("v", "b", "t"),
    [(24, 759, 5), (23, 253, 4), (22, 77, 3), (21, 21, 2), (12, 132, 5), (11, 66, 4), (10, 30, 3), (9, 12, 2)],
)
def test_witt_designs(v, b, t):
    design = witt_design(v)
    assert (design.b, strength(design)) == (b, t)
    assert verify(design)


def test_octads_meet_in_even_numbers():
    assert witt_design(24).block_intersections == {0: 759 * 30 // 2, 2: 759 * 448 // 2, 4: 759 * 280 // 2}


@pytest.mark.parametrize("v", [v for v in range(4, 53) if v % 6 in (2, 4)] + [62, 70, 86])
def test_quadruple_systems_hold_every_three_points_once(v):
    design = steiner_quadruple_system(v)
    assert design.b == v * (v - 1) * (v - 2) // 24
    triples = np.concatenate([design.blocks[:, list(chosen)] for chosen in combinations(range(4), 3)])
    assert len(np.unique(triples, axis=0)) == len(triples) == comb(v, 3)


@given(st.integers(1, 10**12), st.sampled_from([2, 4]))
def test_every_order_of_a_quadruple_system_comes_from_a_smaller_one(w, residue):
    v = 6 * w + residue
    smaller = [
        (v + less) // multiple
        for multiple, less, residue, modulus, _ in _WAYS
        if (v + less) % multiple == 0 and (v + less) // multiple % modulus == residue
    ]
    assert v == 14 or any(4 <= u < v and u % 6 in (2, 4) for u in smaller)


@pytest.mark.parametrize("v", [8, 12, 16, 20, 24])
def test_hadamard_3_designs(v):
    design = hadamard_3_design(v)
    assert (design.v, design.k, strength(design)) == (v, v // 2, 3)
    assert set(design.block_intersections) == {0, v // 4}
    assert derived_at(design).parameters == Parameters(v - 1, v // 2 - 1, v // 4 - 1)
    assert residual_at(design, 3).parameters == Parameters(v - 1, v // 2, v // 4)


@given(st.sampled_from([8, 10, 14, 16]), st.data())
def test_derived_and_residual_designs_of_quadruple_systems(v, data):
    design = steiner_quadruple_system(v)
    point = data.draw(st.integers(0, v - 1))
    assert verify(derived_at(design, point))
    assert derived_at(design, point).parameters == Parameters(v - 1, 3)
    assert verify(residual_at(design, point))


@given(st.sampled_from([witt_design(12), steiner_quadruple_system(10), construct(7, 3)]), st.data())
def test_the_verdict_is_that_of_counting_by_hand(design, data):
    blocks = design.blocks.copy()
    for _ in range(data.draw(st.integers(0, 2))):
        i = data.draw(st.integers(0, design.b - 1))
        blocks[i] = data.draw(st.lists(st.integers(0, design.v - 1), min_size=design.k, max_size=design.k, unique=True))
    mutant = Design(design.parameters, blocks)
    t = data.draw(st.integers(1, 3))
    expected, remainder = divmod(design.b * comb(design.k, t), comb(design.v, t))
    sets = [set(block) for block in mutant.blocks.tolist()]
    by_hand = {points: sum(set(points) <= block for block in sets) for points in combinations(range(design.v), t)}
    certificate = verify_t(mutant, t)
    assert bool(certificate) == (remainder == 0 and set(by_hand.values()) == {expected})
    if certificate.counterexample is not None:
        found = by_hand[certificate.counterexample]
        assert found != expected
        assert certificate.reason == f"points {certificate.counterexample} lie in {found} blocks, expected {expected}"


def test_what_is_none_is_refused():
    with pytest.raises(NonexistentDesign, match="2 or 4 mod 6"):
        steiner_quadruple_system(12)
    for call in (lambda: witt_design(13), lambda: hadamard_3_design(10), lambda: steiner_quadruple_system(True)):
        with pytest.raises(InvalidParameters, match="'v'"):
            call()
    with pytest.raises(InvalidParameters, match="'t'"):
        verify_t(construct(7, 3), 4)
