"""Wishes beyond the parameters: granted where a construction has them, refused clearly where none has."""

import pytest

from bibdlib import NoKnownConstruction, NonexistentDesign, cli, construct, verify
from bibdlib.catalogue import recipes
from bibdlib.constructions.finite_geometry import affine_plane, projective_geometry
from bibdlib.isomorphism import isomorphism
from bibdlib.parameters import Parameters
from bibdlib.resolve import resolution
from bibdlib.variants import cycle_switches


@pytest.mark.parametrize("parameters", [(9, 3, 1), (15, 3, 1), (21, 3, 1), (16, 4, 1), (28, 4, 1), (8, 4, 3)])
def test_resolvable_designs(parameters):
    design = construct(*parameters, resolvable=True)
    assert verify(design)
    assert resolution(design) is not None


@pytest.mark.parametrize("parameters", [(7, 3, 1), (13, 3, 1), (19, 3, 1), (13, 4, 1), (31, 6, 1), (11, 5, 2)])
def test_cyclic_designs(parameters):
    design = construct(*parameters, cyclic=True)
    blocks = {tuple(block) for block in design.blocks.tolist()}
    assert {tuple(sorted((x + 1) % design.v for x in block)) for block in blocks} == blocks


@pytest.mark.parametrize("parameters", [(7, 3, 2), (9, 3, 2), (10, 4, 2), (13, 4, 2)])
def test_simple_designs(parameters):
    blocks = construct(*parameters, simple=True).blocks.tolist()
    assert len({tuple(block) for block in blocks}) == len(blocks)


def test_both_triple_systems_on_13_points_and_no_third():
    first = construct(13, 3)
    second = construct(13, 3, unlike=[first])
    assert verify(second)
    assert isomorphism(first, second) is None
    with pytest.raises(NoKnownConstruction, match="none of the 2 given"):
        construct(13, 3, unlike=[first, second])


def test_switched_cycles_leave_a_triple_system():
    switches = list(cycle_switches(projective_geometry(3, 2, 1)))
    assert len(switches) == 15 * 14 // 2 * 3
    assert not list(cycle_switches(affine_plane(3)))  # one cycle each, and exchanging all of it only renumbers
    assert all(verify(switched) for switched in switches)
    assert all(isomorphism(switched, switches[0]) is not None for switched in switches)
    assert isomorphism(switches[0], projective_geometry(3, 2, 1)) is None


def test_what_counting_excludes_is_nonexistent():
    with pytest.raises(NonexistentDesign, match=r"resolvable: .* k = 3 does not divide v = 7"):
        construct(7, 3, resolvable=True)
    with pytest.raises(NonexistentDesign, match=r"simple: .* 35 sets"):
        construct(7, 3, 6, simple=True)


def test_what_no_known_construction_has_is_refused_by_name():
    with pytest.raises(NoKnownConstruction, match="simple and isomorphic to none of the 1 given"):
        construct(7, 3, simple=True, unlike=[construct(7, 3)])


def test_recipes_build_what_they_say():
    ways = list(recipes(Parameters(13, 4)))
    assert len({recipe.construction.name for recipe in ways}) > 1
    assert all(verify(recipe.build()) for recipe in ways)


def test_from_the_shell(tmp_path, capsys):
    file = str(tmp_path / "plane.txt")
    assert cli.main(["construct", "9", "3", "--resolvable", "--simple", "-o", file]) == 0
    assert cli.main(["structure", file]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Design(v=9, b=12, r=4, k=3, lam=1)",
        "strength: 2",
        "efficiency: 3/4",
        "simple: yes",
        "blocks meet in: 0 (12 pairs), 1 (54 pairs) points",
        "automorphisms: 432, 1 orbits of points",
        "resolvable: yes",
    ]
    assert cli.main(["construct", "7", "3", "--resolvable"]) == 1
    assert cli.main(["construct", "15", "3", "--cyclic"]) == 3
    assert "cyclic" in capsys.readouterr().err
    assert cli.main(["construct", "15", "3", "-o", file]) == 0
    assert cli.main(["structure", file, "--time-limit", "0"]) == 0
    assert "resolvable: not decided in 0 seconds" in capsys.readouterr().out
