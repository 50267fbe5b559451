"""Designs that compute their incidences: one suite for them and for those that hold their blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibdlib
from bibdlib import BlockDesign, Design, DesignTooLarge, InvalidParameters, NoKnownConstruction, NonexistentDesign
from bibdlib.constructions.difference_families import cyclotomic_difference_family
from bibdlib.constructions.difference_sets import (
    paley_difference_set,
    singer_difference_set,
    twin_prime_difference_set,
)
from bibdlib.constructions.finite_geometry import affine_geometry, projective_geometry
from bibdlib.constructions.triple_systems import bose_triple_system, skolem_triple_system
from bibdlib.groups import cyclic
from bibdlib.implicit import DevelopedDesign, ImplicitDesign
from bibdlib.implicit_geometry import AffineHyperplanes, AffineLines, ProjectiveHyperplanes, ProjectiveLines
from bibdlib.implicit_triples import BoseTriples, SkolemTriples
from bibdlib.verify import _count_differences, _transform_differences, verify, verify_sample

SPACES = [(2, 2), (2, 3), (2, 4), (2, 9), (3, 2), (3, 3), (3, 4), (4, 2)]
FAMILIES = [
    singer_difference_set(2, 4),
    paley_difference_set(27),
    twin_prime_difference_set(3),
    cyclotomic_difference_family(13, 3, 1),
]
PAIRS: list[tuple[ImplicitDesign, Design]] = [
    *((ProjectiveHyperplanes(n, q), projective_geometry(n, q, n - 1)) for n, q in SPACES),
    *((AffineHyperplanes(n, q), affine_geometry(n, q, n - 1)) for n, q in SPACES),
    *((ProjectiveLines(n, q), projective_geometry(n, q, 1)) for n, q in SPACES),
    *((AffineLines(n, q), affine_geometry(n, q, 1)) for n, q in SPACES),
    *((BoseTriples(v), bose_triple_system(v)) for v in (3, 9, 15, 33)),
    *((SkolemTriples(v), skolem_triple_system(v)) for v in (7, 13, 19, 37)),
    *((DevelopedDesign(family.group, family.base_blocks), family.design()) for family in FAMILIES),
]
BOTH_KINDS: list[BlockDesign] = [design for pair in PAIRS for design in pair]

a_design = st.sampled_from(BOTH_KINDS)


@pytest.mark.parametrize(("implicit", "explicit"), PAIRS, ids=lambda design: repr(design))
def test_implicit_designs_are_the_explicit_ones(implicit, explicit):
    assert implicit.explicit() == explicit
    assert (implicit.v, implicit.b, implicit.r, implicit.k, implicit.lam) == (
        explicit.v,
        explicit.b,
        explicit.r,
        explicit.k,
        explicit.lam,
    )
    assert verify(implicit)


@given(a_design, st.data())
def test_blocks_hold_k_points_and_each_point_knows_its_blocks(design, data):
    i = data.draw(st.integers(0, design.b - 1))
    block = design.block(i)
    assert block.shape == (design.k,)
    assert (np.diff(block) > 0).all()
    assert 0 <= block[0] <= block[-1] < design.v
    x = int(data.draw(st.sampled_from(block.tolist())))
    through = design.blocks_through(x)
    assert through.shape == (design.r,)
    assert (np.diff(through) > 0).all()
    assert i in through
    other = data.draw(st.integers(0, design.b - 1))
    assert (other in through) == (x in design.block(other))


@given(a_design, st.data())
def test_blocks_through_two_points_are_those_through_both(design, data):
    x, y = data.draw(st.integers(0, design.v - 1)), data.draw(st.integers(0, design.v - 1))
    joining = design.blocks_through(x, y)
    assert joining.tolist() == np.intersect1d(design.blocks_through(x), design.blocks_through(y)).tolist()
    assert len(joining) == (design.r if x == y else design.lam)


@given(a_design, st.integers(1, 50))
def test_blocks_stream_in_their_order(design, size):
    batches = list(design.batches(size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    blocks = np.concatenate(batches)
    assert blocks.shape == (design.b, design.k)
    assert np.array_equal(blocks[design.b // 2], design.block(design.b // 2))


@given(a_design)
def test_points_and_blocks_outside_are_refused(design):
    for call, argument in [
        (lambda: design.block(design.b), "i"),
        (lambda: design.block(-1), "i"),
        (lambda: design.blocks_through(design.v), "x"),
        (lambda: design.blocks_through(0, design.v), "y"),
        (lambda: design.blocks_through(0, True), "y"),
        (lambda: list(design.batches(0)), "size"),
    ]:
        with pytest.raises(InvalidParameters, match=f"'{argument}'"):
            call()


def test_a_plane_of_four_thousand_million_points():
    q = 65537
    plane = bibdlib.construct_implicit(q * q + q + 1, q + 1)
    certificate = verify(plane)
    assert certificate
    assert certificate.sampled
    assert "random pairs" in certificate.checked
    x, y = 123_456_789, 4_123_456_789
    (line,) = plane.blocks_through(x, y)
    assert {x, y} <= set(plane.block(int(line)).tolist())
    assert len(next(plane.batches(3))) == 3
    assert next(plane.batches()).size < 1 << 21


def test_a_triple_system_on_100003_points_is_proved_by_its_differences():
    certificate = verify(bibdlib.construct_implicit(100_003, 3))
    assert certificate
    assert not certificate.sampled
    assert "100002 differences" in certificate.checked


@given(st.integers(0, 6), st.data())
def test_differences_that_do_not_balance_are_refused_with_the_pair(shift, data):
    base = data.draw(st.lists(st.integers(0, 12), min_size=4, max_size=4))
    design = DevelopedDesign(cyclic(13), np.array([base]))
    certificate = verify(design)
    counted = verify(Design(design.parameters, [[(x + g) % 13 for x in base] for g in range(13)]))
    assert bool(certificate) == bool(counted)
    if certificate.counterexample is not None:
        _, y = certificate.counterexample
        meets = sum((x + y) % 13 in base for x in base)
        assert certificate.reason == f"pair (0, {y}) lies in {meets} blocks, expected 1"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.parameters))
def test_both_ways_of_counting_differences_agree(family):
    """On base blocks one element off, in groups of one, two and three factors."""
    bases = family.base_blocks.copy()
    bases[0, 0] = np.setdiff1d(np.arange(family.group.order), bases[0])[0]
    design = DevelopedDesign(family.group, bases)
    differences = family.group.subtract(design.base_blocks[:, :, None], design.base_blocks[:, None, :])
    by_hand = np.bincount(differences.ravel(), minlength=design.v)
    assert _count_differences(design).tolist() == by_hand.tolist()
    assert _transform_differences(design).tolist() == by_hand.tolist()


def test_a_difference_set_of_half_a_million_elements_is_proved_by_a_transform():
    certificate = verify(bibdlib.construct_implicit(1_000_003, 500_001, 250_000))
    assert certificate
    assert not certificate.sampled


class _Forged(ProjectiveHyperplanes):
    """A plane of which a share of the lines answers with the points of its neighbour."""

    share = 0.5

    def _block(self, i):
        return super()._block((i + (i % 100 < 100 * self.share)) % self.v)


def test_a_sample_finds_what_is_wrong_and_says_how_sure_it_is():
    forged = _Forged(2, 31)
    assert not verify(forged)
    certificate = verify_sample(forged)
    assert not certificate
    assert certificate.sampled
    x, y = certificate.counterexample
    assert not {x, y} <= set(forged.block(int(forged.blocks_through(x, y)[0])).tolist())
    assert "less than 0.69%" in verify_sample(ProjectiveHyperplanes(2, 31), pairs=1000).checked
    assert verify_sample(projective_geometry(2, 5), pairs=50).sampled


@pytest.mark.parametrize(
    ("bases", "message"),
    [
        ([[0, 1, 7]], "elements 0..6, not 7"),
        ([[0, 1]], "multiple of v - 1 = 6"),
        ([0, 1, 3], "shape"),
        ([[0.5]], "integer"),
    ],
)
def test_bad_base_blocks_are_refused(bases, message):
    with pytest.raises(InvalidParameters, match=message):
        DevelopedDesign(cyclic(7), np.array(bases))


@pytest.mark.parametrize(("v", "k"), [(4295163907, 65538), (4295098369, 65537), (100_003, 3), (100_005, 3)])
def test_a_design_too_large_says_how_large_and_offers_the_implicit_one(v, k):
    with pytest.raises(DesignTooLarge, match=rf"{v}.* blocks of {k} points.* GiB.*construct_implicit\({v}, {k}, 1\)"):
        bibdlib.construct(v, k)
    with pytest.raises(DesignTooLarge, match="GiB"):
        bibdlib.construct_implicit(v, k).explicit()


def test_a_design_too_large_without_implicit_form_offers_none():
    with pytest.raises(DesignTooLarge) as error:
        bibdlib.construct(100_002, 3, 2)
    assert "construct_implicit" not in str(error.value)


def test_what_has_no_implicit_form_is_said_apart_from_what_cannot_be():
    with pytest.raises(NoKnownConstruction):
        bibdlib.construct_implicit(6, 3, 2)
    with pytest.raises(NonexistentDesign):
        bibdlib.construct_implicit(22, 7, 2)
