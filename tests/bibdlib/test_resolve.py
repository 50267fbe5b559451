"""Resolutions: read off where the construction gives them, searched elsewhere, refused where counting excludes them."""

import numpy as np
import pytest

from bibdlib import Design, Parameters, construct
from bibdlib.constructions.finite_geometry import affine_geometry, affine_plane, projective_geometry, projective_plane
from bibdlib.constructions.kirkman import kirkman_triple_system
from bibdlib.errors import InvalidParameters
from bibdlib.resolve import is_resolution, resolution, unresolvable

KNOWN = [
    affine_plane(3),
    affine_plane(4),
    affine_plane(9),
    affine_geometry(3, 3, 2),
    affine_geometry(3, 2, 1),
    affine_geometry(3, 4, 1),
    affine_geometry(4, 3, 1),
    kirkman_triple_system(7),
    kirkman_triple_system(13),
    kirkman_triple_system(25),
    construct(8, 4, 3),
    construct(5, 5, 2),
]


@pytest.mark.parametrize("design", KNOWN, ids=repr)
def test_classes_that_the_construction_gives_are_found_without_search(design):
    classes = resolution(design, time_limit=0)
    assert classes.shape == (design.r, design.v // design.k)
    assert is_resolution(design, classes)


@pytest.mark.parametrize("design", [affine_plane(4), affine_geometry(3, 3, 2)], ids=repr)
def test_affine_designs_are_resolved_whatever_the_numbers_of_their_points(design):
    renumbering = np.random.default_rng(0).permutation(design.v)
    renumbered = Design(design.parameters, renumbering[design.blocks])
    assert is_resolution(renumbered, resolution(renumbered, time_limit=0))


@pytest.mark.parametrize("design", [projective_geometry(3, 2, 1), construct(6, 3, 4)], ids=repr)
def test_others_are_resolved_by_search(design):
    assert is_resolution(design, resolution(design))


def test_what_cannot_be_resolved_is_none():
    assert resolution(projective_plane(2)) is None
    five = [
        [i % 6 for i in base]
        for j in range(5)
        for base in ([0, 1 + j, 1 + (j + 1) % 5], [1 + j, 1 + (j + 1) % 5, 1 + (j + 3) % 5])
    ]
    assert resolution(Design(Parameters(6, 3, 4), five * 2)) is None
    assert "does not divide" in unresolvable(Parameters(7, 3))
    assert "3/2 is no whole number" in unresolvable(Parameters(6, 3, 2))
    assert unresolvable(Parameters(15, 3)) is None


def test_a_search_that_may_not_run_says_so():
    with pytest.raises(TimeoutError, match="v=15"):
        resolution(projective_geometry(3, 2, 1), time_limit=0)
    with pytest.raises(InvalidParameters, match="'time_limit' must be at least 0 seconds, not -1"):
        resolution(projective_geometry(3, 2, 1), time_limit=-1)


def test_what_is_no_resolution_is_told():
    plane = affine_plane(3)
    classes = resolution(plane)
    assert is_resolution(plane, classes[::-1, ::-1])
    swapped = classes.copy()
    swapped[0, 0], swapped[1, 0] = classes[1, 0], classes[0, 0]
    assert not is_resolution(plane, swapped)
    assert not is_resolution(plane, np.tile(classes[0], (4, 1)))
    assert not is_resolution(plane, classes.T)
    assert not is_resolution(projective_plane(2), [[0]])
