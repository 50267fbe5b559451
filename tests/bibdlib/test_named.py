"""Constructions called by name: geometries, difference sets and families, triple systems."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibdlib import Design, InvalidParameters, Parameters, difference_families, difference_sets, find
from bibdlib.constructions import CONSTRUCTIONS
from bibdlib.constructions.finite_geometry import affine_geometry, affine_plane, projective_geometry, projective_plane
from bibdlib.constructions.planes_and_classes import shrikhande_singhi_design
from bibdlib.constructions.triple_systems import (
    bose_triple_system,
    netto_triple_system,
    skolem_triple_system,
    triple_system,
)

PRIME_POWERS = [2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 25, 27]
SETS = [
    *[(difference_sets.singer_difference_set, a) for a in [(2, 2), (2, 3), (2, 4), (3, 3), (2, 9), (5, 2), (3, 4)]],
    *[(difference_sets.paley_difference_set, (q,)) for q in (7, 11, 19, 27, 43)],
    *[(difference_sets.twin_prime_difference_set, (q,)) for q in (3, 5, 7, 9, 11)],
    *[(difference_sets.quartic_difference_set, (q,)) for q in (13, 37, 101, 109)],
    (difference_sets.octic_difference_set, (73,)),
    *[(difference_sets.hall_difference_set, (q,)) for q in (31, 43, 127)],
]
FAMILIES = [
    *[
        (difference_families.cyclotomic_difference_family, a)
        for a in [(13, 4, 3), (13, 4, 2), (25, 4, 2), (16, 4, 4), (16, 5, 4)]
    ],
    *[
        (difference_families.radical_difference_family, a)
        for a in [(41, 5), (81, 5), (401, 5), (121, 4), (433, 4), (337, 7)]
    ],
    *[(difference_families.starter_difference_family, a) for a in [(181, 6), (421, 7), (37, 4), (9, 4, 3)]],
]


@pytest.mark.parametrize("q", PRIME_POWERS)
def test_planes(q):
    assert projective_plane(q).parameters == Parameters(q * q + q + 1, q + 1, 1)
    assert affine_plane(q).parameters == Parameters(q * q, q, 1)


@pytest.mark.parametrize("m", [3, 4, 6, 9])
def test_planar_difference_set_and_classes(m):
    assert shrikhande_singhi_design(m).parameters == Parameters(m**3 + m + 1, m * m + 1, m)


def gaussian(n: int, d: int, q: int) -> int:
    """Subspaces of dimension d in dimension n, by Pascal's rule."""
    if d in (0, n):
        return 1
    return gaussian(n - 1, d - 1, q) + q**d * gaussian(n - 1, d, q)


SPACES = [(n, q, d) for q, top in [(2, 6), (3, 4), (4, 3), (5, 3)] for n in range(2, top + 1) for d in range(1, n)]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_flats_of_every_dimension(space):
    n, q, d = space
    lam = gaussian(n - 1, d - 1, q)
    assert projective_geometry(n, q, d).parameters == Parameters(gaussian(n + 1, 1, q), gaussian(d + 1, 1, q), lam)
    assert affine_geometry(n, q, d).parameters == Parameters(q**n, q**d, lam)


@pytest.mark.parametrize("name", ["projective_geometry", "affine_geometry"])
@given(data=st.data())
def test_spaces_are_recognised_with_their_witness(name, data):
    """However large: recognition is arithmetic."""
    q = data.draw(st.sampled_from([*PRIME_POWERS, 127, 1024, 65537]))
    n = data.draw(st.integers(2, 12))
    d = data.draw(st.integers(1, n - 1))
    lam = gaussian(n - 1, d - 1, q)
    sizes = [q**i if name == "affine_geometry" else gaussian(i + 1, 1, q) for i in (n, d)]
    witnesses = [match.arguments for match in CONSTRUCTIONS[name].matches(Parameters(*sizes, lam))]
    assert {"n": n, "q": q, "d": d} in witnesses
    for v, k, near in [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        p = Parameters(sizes[0] + v, sizes[1] + k, lam + near)
        assert {"n": n, "q": q, "d": d} not in [match.arguments for match in CONSTRUCTIONS[name].matches(p)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: projective_plane(6), r"'q' must be a prime power, not 6 = 2 \* 3"),
        (lambda: affine_plane(12), r"'q' must be a prime power, not 12 = 2\^2 \* 3"),
        (lambda: projective_plane(1), "'q' must be at least 2"),
        (lambda: projective_plane(7.0), "'q' must be an integer"),
        (lambda: projective_geometry(3, 2, 3), "'d' must be at most 2, not 3"),
        (lambda: affine_geometry(1, 2, 1), "'n' must be at least 2"),
        (lambda: shrikhande_singhi_design(5), r"m\^2 - m \+ 1 prime, not 5"),
        (lambda: shrikhande_singhi_design(7), "m - 1 is a prime power"),
        (lambda: bose_triple_system(13), "'v' must be 3 mod 6, not 13 = 1 mod 6"),
        (lambda: skolem_triple_system(9), "'v' must be 1 mod 6"),
        (lambda: netto_triple_system(13), "'q' must be 7 mod 12"),
        (lambda: triple_system(8, 1), "whole b and r"),
        (lambda: difference_sets.paley_difference_set(13), "'q' must be 3 mod 4"),
        (lambda: difference_sets.twin_prime_difference_set(2), "'q' must be odd, not 2"),
        (lambda: difference_sets.twin_prime_difference_set(13), "not 15 = 3"),
        (lambda: difference_sets.quartic_difference_set(17), "must be a prime 1"),
        (lambda: difference_sets.octic_difference_set(41), "must be a prime 1"),
        (lambda: difference_sets.hall_difference_set(37), "4 x"),
        (lambda: difference_sets.singer_difference_set(2, 6), "prime power"),
        (lambda: difference_families.radical_difference_family(29, 8), "must fit"),
        (lambda: difference_families.starter_difference_family(15, 3), "prime power"),
        (lambda: difference_families.cyclotomic_difference_family(13, 5, 1), "must fit"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(InvalidParameters, match=message):
        call()


@pytest.mark.parametrize(("function", "arguments"), SETS + FAMILIES)
def test_differences_balance(function, arguments):
    """By the definition: the differences of the base blocks, counted in the group."""
    family = function(*arguments)
    group, lam = family.group, family.parameters.lam
    counts = np.zeros(group.order, dtype=int)
    for block in family.base_blocks:
        differences = group.subtract(block[:, None], block)
        np.add.at(counts, differences[~np.eye(len(block), dtype=bool)], 1)
    assert (counts[1:] == lam).all()
    assert isinstance(family.design(), Design)
    assert family.design().parameters == family.parameters


@pytest.mark.parametrize(("function", "arguments"), SETS)
def test_a_difference_set_is_one_base_block(function, arguments):
    found = function(*arguments)
    assert found.base_blocks.shape == (1, found.parameters.k)
    assert found.elements.tolist() == sorted(set(found.elements.tolist()))
    assert found.design().parameters.is_symmetric
    assert function.__name__ in [
        match for match in CONSTRUCTIONS if any(CONSTRUCTIONS[match].matches(found.parameters))
    ]


@pytest.mark.parametrize(
    ("function", "q"),
    [(difference_sets.octic_difference_set, 26041), (difference_sets.hall_difference_set, 110251)],
)
def test_large_cyclic_sets_balance(function, q):
    """By autocorrelation: the eighth powers with 0, and a prime whose primitive root must be inverted."""
    found = function(q)
    indicator = np.zeros(q)
    indicator[found.elements] = 1
    spectrum = np.abs(np.fft.rfft(indicator)) ** 2
    assert set(np.rint(np.fft.irfft(spectrum, q)).astype(int)[1:].tolist()) == {found.parameters.lam}


def test_no_twins_where_one_is_no_prime_power():
    """13 is a prime and 15 = 3 * 5."""
    assert not list(CONSTRUCTIONS["twin_prime_difference_set"].matches(Parameters(195, 97, 48)))


@pytest.mark.parametrize("v", range(3, 30))
def test_triple_systems(v):
    for lam in range(1, 13):
        if Parameters(v, 3, lam).is_admissible:
            assert triple_system(v, lam).parameters == Parameters(v, 3, lam)


def test_a_large_triple_system_is_recognised_at_once_and_built_in_a_moment():
    assert find(Parameters(10**5 + 9, 3, 6)) is not None
    assert skolem_triple_system(601).b == 60100


@pytest.mark.parametrize("p", [(73, 57, 133), (97, 88, 319)], ids=str)
def test_blocks_of_nearly_all_points_are_found_by_their_complement(p):
    """Starters of as many cosets cannot be drawn by lot: there is none to try."""
    assert find(Parameters(*p)).construction.name == "complement"
