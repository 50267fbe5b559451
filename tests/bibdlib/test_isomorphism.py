"""Automorphism groups of known order, isomorphisms that carry blocks to blocks, canonical forms."""

import sys
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibdlib import Design, Parameters, construct
from bibdlib.constructions.finite_geometry import affine_geometry, affine_plane, projective_geometry, projective_plane
from bibdlib.extras import MissingExtra
from bibdlib.isomorphism import automorphism_group, canonical_form, isomorphism

FANO = projective_plane(2)
DESIGNS = [
    FANO,
    affine_plane(3),
    projective_geometry(3, 2, 1),
    construct(6, 3, 4),
    Design(Parameters(7, 3, 2), np.tile(FANO.blocks, (2, 1))),
    construct(16, 6, 2),
]


@pytest.mark.parametrize(
    ("design", "order"),
    [
        (FANO, 168),
        (projective_plane(4), 120960),  # PGammaL(3, 4)
        (projective_plane(16), 17108582400),  # PGammaL(3, 16): more than nauty counts exactly
        (affine_geometry(3, 3, 2), 303264),  # AGL(3, 3)
        (construct(6, 3, 4), 720),  # every permutation
        (Design(Parameters(7, 3, 2), np.tile(FANO.blocks, (2, 1))), 168),
    ],
)
def test_groups_have_their_orders(design, order):
    group = automorphism_group(design)
    assert group.order == order
    assert group.orbits == [list(range(design.v))]
    for generator in group.generators:
        assert Design(design.parameters, generator[design.blocks]) == design


def test_blocks_repeated_unequally_are_not_exchanged():
    """Two Fano planes that a transposition exchanges, one of them taken twice; the group counted by hand."""
    transposed = np.array([1, 0, 2, 3, 4, 5, 6])[FANO.blocks]
    design = Design(Parameters(7, 3, 3), np.concatenate([FANO.blocks, FANO.blocks, transposed]))
    wanted = sorted(design.blocks.tolist())
    keeps = (sorted(sorted(p[x] for x in block) for block in wanted) == wanted for p in permutations(range(7)))
    assert automorphism_group(design).order == sum(keeps)


def test_a_design_without_symmetry_has_the_trivial_group():
    """A triple system on 15 points, rigid: some trades of Pasch configurations away from PG(3, 2)."""
    blocks = {tuple(block) for block in projective_geometry(3, 2, 1).blocks.tolist()}
    random = np.random.default_rng(5)
    while automorphism_group(Design(Parameters(15, 3), np.array(sorted(blocks)))).order > 1:
        _switch_a_pasch(blocks, random)
    rigid = Design(Parameters(15, 3), np.array(sorted(blocks)))
    group = automorphism_group(rigid)
    assert group.generators.shape == (0, 15)
    assert group.orbits == [[x] for x in range(15)]
    assert isomorphism(rigid, projective_geometry(3, 2, 1)) is None


def _switch_a_pasch(blocks, random):
    """Replace {a b c, a d e, f b d, f c e} by {f b c, f d e, a b d, a c e}."""
    through = {frozenset(pair): set(block) for block in blocks for pair in [block[:2], block[1:], block[::2]]}
    while True:
        a, b, d = random.choice(15, 3, replace=False).tolist()
        (c,), (e,), (f,) = (through[frozenset(p)] - set(p) for p in [(a, b), (a, d), (b, d)])
        if len({a, b, c, d, e, f}) == 6 and through[frozenset((c, e))] == {c, e, f}:
            for x, y in [(a, f), (f, a)]:
                for pair in [(b, c), (d, e)] if x == a else [(b, d), (c, e)]:
                    blocks.remove(tuple(sorted((x, *pair))))
                    blocks.add(tuple(sorted((y, *pair))))
            return


@given(st.sampled_from(DESIGNS), st.randoms(use_true_random=False))
def test_renumbered_designs_are_isomorphic_and_have_one_canonical_form(design, random):
    renumbering = np.array(random.sample(range(design.v), design.v))
    other = Design(design.parameters, renumbering[design.blocks])
    mapping = isomorphism(design, other)
    assert mapping is not None
    assert Design(design.parameters, mapping[design.blocks]) == other
    assert canonical_form(design) == canonical_form(other)


def test_designs_that_are_not_isomorphic_are_told_apart():
    twice = Design(Parameters(7, 3, 2), np.tile(FANO.blocks, (2, 1)))
    swapped = np.array([1, 0, 2, 3, 4, 5, 6])
    mixed = Design(Parameters(7, 3, 2), np.concatenate([FANO.blocks, swapped[FANO.blocks]]))
    assert isomorphism(twice, mixed) is None
    assert canonical_form(twice) != canonical_form(mixed)
    assert isomorphism(FANO, affine_plane(3)) is None


def test_without_pynauty_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynauty", None)
    with pytest.raises(MissingExtra, match=r"pip install 'iddl\[structure\]'"):
        automorphism_group(FANO)
