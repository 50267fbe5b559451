"""The laws of designs, and the mutants that are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibdlib import Design, InvalidParameters, NotADesign, Parameters, construct, verify
from bibdlib.verify import verified
from tests.strategies import designs, symmetric_designs


@given(designs())
def test_n_times_its_transpose(design):
    n = design.incidence_matrix().astype(np.int64)
    v = design.v
    assert np.array_equal(n @ n.T, (design.r - design.lam) * np.eye(v, dtype=int) + design.lam * np.ones((v, v), int))
    assert (n.sum(axis=0) == design.k).all()
    assert (n.sum(axis=1) == design.r).all()
    assert design.b * design.k == design.v * design.r


@given(designs())
def test_the_complement_of_the_complement(design):
    if not design.parameters.has_complement:
        with pytest.raises(InvalidParameters):
            design.complement()
        return
    complement = verified(design.complement())
    assert complement.parameters == design.parameters.complement
    assert complement.complement() == design
    points = set(range(design.v))
    assert set(map(frozenset, complement.blocks.tolist())) == {
        frozenset(points - set(block)) for block in design.blocks.tolist()
    }


@given(symmetric_designs(), st.data())
def test_residual_and_dual_of_a_symmetric_design(design, data):
    residual = verified(design.residual(data.draw(st.integers(0, design.b - 1))))
    v, k, lam = design.v, design.k, design.lam
    assert residual.parameters == Parameters(v - k, k - lam, lam)
    assert residual.r == design.k
    assert residual.b == design.b - 1


@given(symmetric_designs())
def test_the_dual_turns_the_incidence_matrix_around(design):
    dual = verified(design.dual())
    assert sorted(map(bytes, dual.incidence_matrix().T)) == sorted(map(bytes, design.incidence_matrix()))


@given(symmetric_designs(smallest_lam=3), st.data())
def test_derived_of_a_symmetric_design(design, data):
    block = data.draw(st.integers(0, design.b - 1))
    derived = verified(design.derived(block))
    assert derived.parameters == Parameters(design.k, design.lam, design.lam - 1)


@given(designs(), st.data())
def test_incidence_read_from_either_side(design, data):
    i, x, y = (data.draw(st.integers(0, n - 1)) for n in (design.b, design.v, design.v))
    assert (x in design.block(i)) == (i in design.blocks_through(x))
    common = [j for j in range(design.b) if x in design.blocks[j] and y in design.blocks[j]]
    assert design.blocks_through(x, y).tolist() == common
    assert len(common) == (design.r if x == y else design.lam)


@given(designs(), st.data())
def test_a_mutant_is_refused_with_a_counterexample(design, data):
    """One point of one block exchanged for another that was not on it."""
    block, place = data.draw(st.integers(0, design.b - 1)), data.draw(st.integers(0, design.k - 1))
    others = np.setdiff1d(np.arange(design.v), design.blocks[block])
    if not len(others):
        return
    blocks = design.blocks.copy()
    blocks[block, place] = data.draw(st.sampled_from(others.tolist()))
    mutant = Design(design.parameters, blocks)
    certificate = verify(mutant)
    assert not certificate
    wrong = certificate.counterexample
    meet = [i for i in range(mutant.b) if all(x in mutant.blocks[i] for x in wrong)]
    assert len(meet) != (mutant.r if len(wrong) == 1 else mutant.lam)
    with pytest.raises(NotADesign) as refusal:
        verified(mutant)
    assert refusal.value.certificate == certificate


@given(designs(), st.randoms(use_true_random=False))
def test_the_order_of_points_and_blocks_is_no_part_of_a_design(design, random):
    blocks = design.blocks.tolist()
    random.shuffle(blocks)
    for block in blocks:
        random.shuffle(block)
    assert Design(design.parameters, np.array(blocks)) == design
    assert Design.from_blocks(blocks, design.v) == design
    assert hash(Design(design.parameters, np.array(blocks))) == hash(design)


def test_blocks_are_read_only_and_their_own():
    given_blocks = construct(7, 3).blocks.copy()
    design = Design(Parameters(7, 3), given_blocks)
    given_blocks[0] = 6
    assert verify(design)
    with pytest.raises(ValueError, match="read-only"):
        design.blocks[0, 0] = 5


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([[0, 1, 2]], r"shape \(b, k\) = \(7, 3\), not \(1, 3\)"),
        (np.full((7, 3), 7), r"points 0\.\.6, not 7"),
        (np.full((7, 3), -1), r"points 0\.\.6, not -1"),
        (np.zeros((7, 3)), "must hold integers, not float64"),
    ],
)
def test_blocks_that_cannot_be_those_of_the_parameters(blocks, message):
    with pytest.raises(InvalidParameters, match=message):
        Design(Parameters(7, 3, 1), blocks)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([0, 1, 2], "shape"),
        ([[0.0, 1.0]], "float64"),
        ([[0, 1, 2], [0, 3, 4]], "10 pairs equally often"),
    ],
)
def test_blocks_from_which_no_parameters_can_be_read(blocks, message):
    with pytest.raises(InvalidParameters, match=message):
        Design.from_blocks(blocks)


def test_operations_name_what_they_need():
    plane = construct(9, 3, 1)
    for operation in (plane.residual, plane.derived, plane.dual):
        with pytest.raises(InvalidParameters):
            operation()
    with pytest.raises(InvalidParameters, match="'block' must be at most 6, not 7"):
        construct(7, 3).residual(7)
    assert plane != plane.blocks.tolist()
