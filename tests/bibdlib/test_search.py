"""Searches: what they find is a design, orbits against brute force, interrupted ones go on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from dataclasses import asdict
from functools import cache
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bibdlib import NotADesign, Parameters, verify
from bibdlib.cli import main
from bibdlib.constructions.sporadic import entries
from bibdlib.errors import InvalidParameters
from bibdlib.extras import MissingExtra
from bibdlib.permutation_groups import named_group, permutation_group
from bibdlib.search import ladder, layouts, orbit_matrix, rows, search, subset_orbits
from bibdlib.search.annealing import Annealing
from bibdlib.search.completion import complete
from bibdlib.search.joins import covers_of, fitting_unions
from bibdlib.search.orbitals import orbitals
from bibdlib.search.rows import Rows
from bibdlib.search.stabilizers import chained_stabilizers, cyclic_stabilizers, generated_stabilizers
from bibdlib.search.tactical import decomposition

pytest.importorskip("ortools", reason="OR-tools is an extra")

SOLVABLE = [
    ((13, 4, 1), "Z13"),
    ((21, 6, 3), "Z21:4"),
    ((16, 6, 2), "4*Z4"),
    ((18, 6, 5), "Z17+inf"),
    ((45, 5, 1), "Z3xZ15"),
    ((15, 5, 4), "2*Z7:2+inf"),
]


@pytest.mark.parametrize(("v_k_lam", "group"), SOLVABLE)
def test_annealing_finds_designs_and_repeats_itself(v_k_lam, group):
    result = search(Parameters(*v_k_lam), group, seed=1)
    assert result.found
    assert verify(result.design())
    assert search(Parameters(*v_k_lam), group, seed=1).base_blocks == result.base_blocks


@pytest.mark.parametrize(
    ("v_k_lam", "group", "number"),
    [
        ((7, 3, 1), "AGammaL(1,8) on {{0,1},{2,3},{4,5},{6,7}}", 1),
        ((56, 12, 3), "AGammaL(1,8) on (0,1)", 2),
        ((64, 10, 5), "Z63:2+inf", 5),
    ],
)
def test_unions_of_orbits_make_designs(v_k_lam, group, number):
    result = search(Parameters(*v_k_lam), group, method="unions")
    assert verify(result.design())
    assert len({tuple(block) for block in result.base_blocks}) <= number
    assert search(Parameters(*v_k_lam), group, method="unions").base_blocks == result.base_blocks


@pytest.mark.parametrize(
    ("v_k_lam", "group"),
    [
        ((10, 4, 2), "<(0,1,2,3,4),(0,1)> on {0,1}"),
        ((28, 12, 11), "PGL(2,7) on {0,1}"),
        ((100, 10, 2), "PGammaL(2,9) on (0)+(0,1)"),
    ],
)
def test_base_blocks_that_subgroups_fix_make_designs(v_k_lam, group):
    result = search(Parameters(*v_k_lam), group, method="subgroups")
    assert verify(result.design())
    assert search(Parameters(*v_k_lam), group, method="subgroups").base_blocks == result.base_blocks


@pytest.mark.parametrize(
    ("v_k_lam", "group"),
    [
        ((10, 4, 2), "2*Z5"),
        ((13, 3, 1), "Z13"),
        ((15, 7, 6), "Z14+inf"),
        ((16, 6, 4), "2*Z8"),
        ((22, 7, 4), "2*Z11"),
        ((28, 4, 1), "GF(27)+inf"),
        ((28, 7, 4), "2*Z14"),
        ((21, 5, 2), "2*Z10+inf"),
    ],
)
def test_families_refined_step_by_step_make_designs(v_k_lam, group):
    result = search(Parameters(*v_k_lam), group, method="families")
    assert verify(result.design())
    assert search(Parameters(*v_k_lam), group, method="families").base_blocks == result.base_blocks


def test_families_end_where_the_orbits_cannot_be_met_often_enough():
    # Blocks through the fixed point have three more in each orbit; the other four base blocks would have 14 points
    # in an orbit, and the squares of the four numbers would add up to 56, which they cannot.
    assert search(Parameters(35, 7, 3), "2*Z17+inf", method="families").exhausted


@pytest.mark.parametrize(("v_k_lam", "group"), [((27, 6, 5), "2*Z13:3+inf"), ((9, 3, 1), "3*Z3")])
def test_families_are_for_groups_that_are_regular_on_one_or_two_orbits(v_k_lam, group):
    with pytest.raises(InvalidParameters, match="'group' must, for 'families', be regular on one or two orbits"):
        search(Parameters(*v_k_lam), group, method="families")


@pytest.mark.parametrize(("v_k_lam", "group"), [((13, 4, 1), "Z13"), ((52, 4, 1), "2*Z26")])
def test_families_are_for_a_few_base_blocks(v_k_lam, group):
    with pytest.raises(InvalidParameters, match="'group' must, for 'families', leave two to six base blocks"):
        search(Parameters(*v_k_lam), group, method="families")


@pytest.mark.parametrize(
    ("k", "v_lam"),
    [
        (9, (117, 2)),
        (10, (46, 7)),
        (10, (55, 4)),
        (10, (100, 3)),
        (14, (42, 13)),
        (15, (57, 10)),
        (16, (49, 5)),
        (16, (56, 6)),
    ],
)
def test_the_command_of_an_entry_finds_it_again(capsys, k, v_lam):
    entry = entries(k)[v_lam]
    assert main(shlex.split(entry.origin)[1:]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == {**asdict(entry), "base_blocks": [list(block) for block in entry.base_blocks]}


@pytest.mark.parametrize("method", ["completion", "unions"])
def test_no_union_is_found_out_at_once(method):
    assert search(Parameters(9, 4, 3), "PSL(2,8)", method=method).exhausted


def test_unions_none_of_which_fits_find_nothing():
    result = search(Parameters(85, 7, 1), "Z85:18", method="unions", time_limit=0.1)
    assert not result.found
    assert not result.exhausted


@pytest.mark.parametrize(
    ("v_k_lam", "group"),
    [
        ((41, 5, 1), "Z41"),
        ((15, 3, 1), "Z15"),
        ((43, 7, 2), "Z43"),
        ((28, 7, 2), "3*Z9+inf"),
    ],
)
def test_base_blocks_are_completed(v_k_lam, group):
    result = search(Parameters(*v_k_lam), group, method="completion")
    assert verify(result.design())
    assert search(Parameters(*v_k_lam), group, method="completion").base_blocks == result.base_blocks


@given(st.sampled_from(["Z31", "Z30:11+inf", "3*Z7:2"]), st.integers(1, 2), st.data())
def test_what_was_taken_away_is_completed(name, levels, data):
    s = data.draw(st.sampled_from([s for s in _stabilizers(name) if _pairs(s)]))
    cells = data.draw(st.lists(st.sampled_from(_pairs(s)), min_size=levels, max_size=levels))
    sizes = {sum(int(s.sizes[i]) for i in pair) for pair in cells}
    assume(len(sizes) == 1)
    taken = _covered(s, cells)
    order = np.arange(len(taken))
    blocks, _ = complete(s, sizes.pop(), taken, levels, order)
    assert len(blocks) == levels
    assert (_covered(s, [[i for i in block if i >= 0] for block in blocks]) == taken).all()


def _pairs(stabilizer):
    return [pair for pair in combinations(range(len(stabilizer.unions)), 2) if _covered(stabilizer, [pair]).any()]


def _covered(stabilizer, unions):
    covered = np.zeros(len(stabilizer.group.pair_orbit_lengths), dtype=np.int64)
    for union in unions:
        for a, b in combinations_with_replacement(union, 2):
            part = slice(*stabilizer.starts[a * len(stabilizer.unions) + b :][:2])
            np.add.at(covered, stabilizer.orbits[part], stabilizer.amounts[part])
    return covered


@pytest.mark.parametrize(("v_k_lam", "group"), [((13, 4, 1), "Z13"), ((15, 7, 3), "Z15"), ((9, 3, 1), "2*Z4+inf")])
def test_the_exact_method_decides(v_k_lam, group):
    result = search(Parameters(*v_k_lam), group, method="exact")
    assert verify(result.design())


def test_the_exact_method_proves_that_there_is_none():
    # (16, 6, 2) has no cyclic difference set, though others.
    result = search(Parameters(16, 6, 2), "Z16", method="exact")
    assert result.exhausted
    assert not result.found
    with pytest.raises(InvalidParameters, match="has found no"):
        result.design()


@pytest.mark.parametrize(
    ("v_k_lam", "group"),
    [((31, 10, 3), "4*Z7+3inf"), ((13, 4, 1), "4*Z3+inf"), ((16, 6, 2), "Z2xZ8"), ((11, 5, 2), "Z5 on 2*5 + 1")],
)
@pytest.mark.parametrize("method", ["orbitals", "rows"])
def test_with_their_action_on_blocks_groups_give_symmetric_designs(v_k_lam, group, method):
    result = search(Parameters(*v_k_lam), group, method=method)
    assert verify(result.design())
    assert f"--method {method}" in result.command


@pytest.mark.parametrize(
    ("v_k_lam", "group", "on_blocks"),
    [((9, 3, 1), "3*Z3", "3*Z3+3inf"), ((10, 4, 2), "2*Z5", "3*Z5"), ((15, 3, 1), "3*Z5", "7*Z5")],
)
@pytest.mark.parametrize("method", ["orbitals", "rows"])
def test_designs_may_have_other_orbits_on_blocks(v_k_lam, group, on_blocks, method):
    result = search(Parameters(*v_k_lam), group, method=method, on_blocks=on_blocks)
    assert verify(result.design())
    assert f'--group "{group}" --on-blocks "{on_blocks}" --method {method}' in result.command


def test_orbitals_prove_that_there_is_none():
    assert search(Parameters(16, 6, 2), "Z16", method="orbitals").exhausted


def test_rows_prove_that_orbits_cannot_meet_as_they_must():
    assert search(Parameters(25, 9, 3), "Z8 on 3*8 + 1", method="rows").exhausted


def test_a_sample_of_the_rows_may_do(monkeypatch):
    for most in ("_MOST_PARTS", "_MOST_SUMS", "_MOST_ROWS"):
        monkeypatch.setattr(rows, most, 100)
    assert search(Parameters(16, 6, 2), "Z3 on 5*3 + 1", method="rows").found


def test_a_command_names_a_time_limit_that_was_longer():
    p, group = Parameters(13, 4, 1), "Z13"
    assert search(p, group, time_limit=600).command == 'bibd search 13 4 1 --group "Z13" --seed 0 --time-limit 600'
    assert "--time-limit" not in search(p, group, time_limit=5).command


def test_one_row_is_drawn_and_the_others_are_looked_up():
    group = named_group("Z7:2 on 7c3 + 2*7 + 1")
    rounds = Rows(Parameters(36, 15, 6), group, seed=0)
    assert [rounds.round(number).cost for number in range(4)] == [0] * 4


def test_an_orbit_matrix_satisfies_the_equations():
    # (36, 15, 6) under Z_7 with five orbits of 7 and a fixed point: N N^T = (r - lam) I + lam J, summed over orbits.
    lengths = np.array([7] * 5 + [1])
    possible = [[list(range(8)) if n == 7 else [0, n] for n in lengths] for _ in lengths]
    matrix = decomposition(Parameters(36, 15, 6), lengths.tolist(), lengths.tolist(), possible, True, 0)
    assert matrix is not None
    assert (matrix.sum(axis=1) == 15).all()
    met = (matrix[:, None] * matrix[None] / lengths).sum(axis=2) * lengths
    assert met == pytest.approx(6 * lengths + 9 * np.eye(6))


@pytest.mark.parametrize("method", ["orbitals", "rows"])
def test_the_action_on_blocks_must_fit(method):
    with pytest.raises(InvalidParameters, match=r"'on_blocks' must be given for .*: \(9, 3, 1\) is not symmetric"):
        search(Parameters(9, 3, 1), "Z9", method=method)
    with pytest.raises(InvalidParameters, match="'on_blocks' must act on b = 12 blocks, not 9"):
        search(Parameters(9, 3, 1), "3*Z3", method=method, on_blocks="3*Z3")
    with pytest.raises(InvalidParameters, match="as many generators, not 1 and 2"):
        search(Parameters(9, 3, 1), "3*Z3", method=method, on_blocks="4*Z3:2")
    with pytest.raises(InvalidParameters, match="for the methods 'orbitals' and 'rows', not 'annealing'"):
        search(Parameters(9, 3, 1), "3*Z3", on_blocks="4*Z3")


def test_orbitals_are_the_orbits_of_flags():
    points, blocks = named_group("3*Z5:4c2+inf"), named_group("2*Z5:4+2inf")
    labels = orbitals(points, blocks)
    both = permutation_group(np.concatenate([points.generators, 16 + blocks.generators], axis=1)).elements
    assert all((labels[g[:16]][:, g[16:] - 16] == labels).all() for g in both)
    fixed = both == np.arange(28)
    assert labels.max() + 1 == np.mean(fixed[:, :16].sum(axis=1) * fixed[:, 16:].sum(axis=1))


def test_no_layout_is_found_out_at_once():
    # 15 blocks are no sum of orbits of 7, and Z7 fixes no block of 4 points.
    assert not layouts(Parameters(10, 4, 2), named_group("Z7+3inf"))
    assert search(Parameters(10, 4, 2), "Z7+3inf").exhausted


@pytest.mark.parametrize(("name", "k"), [("Z7:2", 3), ("2*Z5+inf", 4), ("PSL(2,7)", 4), ("GF(9):2", 3)])
def test_subset_orbits_are_those_of_brute_force(name, k):
    group = named_group(name)
    members, lengths = subset_orbits(group, k)
    expected = {
        frozenset(frozenset(int(x) for x in g[list(subset)]) for g in group.elements)
        for subset in combinations(range(group.v), k)
    }
    found = {frozenset(map(frozenset, group.orbit(member).tolist())) for member in members}
    assert found == expected
    assert sorted(lengths) == sorted(map(len, expected))
    matrix, _ = orbit_matrix(group, k)
    for column, member in zip(matrix.T, members, strict=True):
        blocks = group.orbit(member)
        for x, y in combinations(range(group.v), 2):
            both = ((blocks == x).any(axis=1) & (blocks == y).any(axis=1)).sum()
            assert both == column[group.pair_orbits[x, y]]


@cache
def _stabilizers(name):
    group = named_group(name)
    chained = chained_stabilizers(group, np.random.default_rng(0), 20, group.order)
    return cyclic_stabilizers(group) + generated_stabilizers(group) + chained


@given(st.sampled_from(["Z12", "Z7:2", "2*Z6+inf", "3*Z7:2c", "GF(9):4", "Z15:4"]), st.data())
def test_a_stabilizer_counts_the_pairs_of_its_unions(name, data):
    stabilizer = data.draw(st.sampled_from(_stabilizers(name)))
    group = stabilizer.group
    m = len(stabilizer.unions)
    chosen = data.draw(st.lists(st.integers(0, m - 1), min_size=1, max_size=4, unique=True))
    block = sorted(x for s in chosen for x in stabilizer.unions[s])
    covered = np.zeros(len(group.pair_orbit_lengths), dtype=int)
    for i, s in enumerate(chosen):
        for t in chosen[i:]:
            part = slice(stabilizer.starts[s * m + t], stabilizer.starts[s * m + t + 1])
            np.add.at(covered, stabilizer.orbits[part], stabilizer.amounts[part])
    orbit = group.orbit(block)
    times = stabilizer.index // len(orbit)
    expected = np.zeros_like(covered)
    for developed in orbit:
        np.add.at(expected, [group.pair_orbits[pair] for pair in combinations(developed, 2)], times)
    assert (covered * group.pair_orbit_lengths == expected).all()


def test_chains_reach_every_soluble_subgroup():
    """Of S5 on points and pairs all proper ones but A5 and 1, up to conjugates; C6 has the orbits of another one."""
    group = named_group("<(0,1,2,3,4),(0,1)> on (0)+{0,1}")
    chained = chained_stabilizers(group, np.random.default_rng(0), 200, 60)
    assert sorted(s.order for s in chained) == [2, 2, 3, 4, 4, 4, 5, 6, 6, 8, 10, 12, 12, 20, 24]
    assert min(s.order for s in chained_stabilizers(group, np.random.default_rng(0), 1, 120)) == 1
    assert all(s.index <= 12 for s in chained_stabilizers(group, np.random.default_rng(0), 50, 12))


def test_all_unions_that_fit_are_listed():
    group = named_group("Z7:2")
    trivial = cyclic_stabilizers(group)[0]
    tables = trivial.starts, trivial.orbits, trivial.amounts
    arguments = np.arange(7), 7, trivial.sizes, *tables, 3
    for lam in (3, 4):
        unions = fitting_unions(*arguments, np.array([lam]), 100, 10_000)
        assert sorted(map(tuple, unions.tolist())) == list(combinations(range(7), 3))
        assert (covers_of(unions, *tables, 1) == 3).all()
    assert len(fitting_unions(*arguments, np.array([3]), 4, 10_000)) == 4
    assert len(fitting_unions(*arguments, np.array([2]), 100, 10_000)) == 0


@pytest.mark.parametrize("p", [Parameters(21, 6, 3), Parameters(25, 4, 1), Parameters(22, 7, 4)])
def test_layouts_have_the_right_number_of_blocks(p):
    for name in ladder(p):
        for layout in layouts(p, named_group(name)):
            assert sum(n * s.index for n, s in zip(layout.counts, layout.stabilizers, strict=True)) == p.b


def test_ctrl_c_reaches_a_search_while_it_solves(tmp_path):
    state, (p, group) = tmp_path / "state.json", (Parameters(71, 21, 6), "Z7:2 on 2*7c3 + 4*7 + 1")

    def after_a_round():
        while not state.exists():
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=after_a_round, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        search(p, group, method="orbitals", time_limit=120, state=state)
    assert json.loads(state.read_text())["rounds"] > 0


def test_ctrl_c_reaches_a_search_out_of_a_compiled_loop(monkeypatch):
    def interrupted(self, number):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as signalled:
            raise SystemError("returned a result with an exception set") from signalled

    monkeypatch.setattr(Annealing, "round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(Parameters(13, 4, 1), "Z13")


def test_an_interrupted_search_goes_on(tmp_path, monkeypatch):
    p, group, state = Parameters(28, 7, 2), "3*Z9+inf", tmp_path / "state.json"
    seed, whole = next((s, r) for s in range(50) if (r := search(p, group, seed=s)).rounds > 2)
    one_round = Annealing.round

    def interrupted(self, number):
        if number == 2:
            raise KeyboardInterrupt
        return one_round(self, number)

    monkeypatch.setattr(Annealing, "round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(p, group, seed=seed, state=state)
    kept = json.loads(state.read_text())
    assert kept["rounds"] == 2
    assert kept["cost"] > 0
    assert kept["base_blocks"]
    monkeypatch.undo()
    resumed = search(p, group, seed=seed, state=state)
    assert (resumed.rounds, resumed.base_blocks) == (whole.rounds, whole.base_blocks)
    assert search(p, group, seed=seed, state=state, time_limit=0).base_blocks == whole.base_blocks


def test_a_time_limit_stops_between_rounds(tmp_path):
    result = search(Parameters(28, 7, 2), "3*Z9+inf", time_limit=0)
    assert (result.rounds, result.cost, result.found) == (0, None, False)


def test_states_of_other_searches_and_damaged_ones_are_refused(tmp_path):
    state = tmp_path / "state.json"
    search(Parameters(13, 4, 1), "Z13", state=state)
    with pytest.raises(InvalidParameters, match="of another one"):
        search(Parameters(13, 4, 1), "Z13", seed=5, state=state)
    kept = json.loads(state.read_text())
    kept["base_blocks"][0] = [0, 1, 2, 3]
    state.write_text(json.dumps(kept))
    with pytest.raises(NotADesign, match="pair"):
        search(Parameters(13, 4, 1), "Z13", state=state)
    for damage in ("{", "[]", "{}"):
        state.write_text(damage)
        with pytest.raises(InvalidParameters, match="state of a search"):
            search(Parameters(13, 4, 1), "Z13", state=state)


def test_bad_arguments_are_named():
    p = Parameters(13, 4, 1)
    for arguments, match in [
        ({"group": "Z12"}, "'group' must act on v = 13"),
        ({"group": "Z13", "method": "magic"}, "'method'"),
        ({"group": "Z13", "seed": -1}, "'seed'"),
        ({"group": "Z13", "time_limit": -1}, "'time_limit' must be at least 0 seconds"),
        ({"group": "Z13", "time_limit": "soon"}, "'time_limit' must be a number of seconds, not 'soon'"),
        ({"group": "Z13", "time_limit": float("nan")}, "'time_limit' must be at least 0 seconds"),
    ]:
        with pytest.raises(InvalidParameters, match=match):
            search(p, **arguments)
    with pytest.raises(InvalidParameters, match="whole b and r"):
        search(Parameters(14, 4, 1), "Z14")
    with pytest.raises(InvalidParameters, match="at most 50000000"):
        search(Parameters(91, 10, 1), "Z91", method="exact")


def test_a_user_may_give_permutations(tmp_path):
    cycle = [*range(1, 13), 0]
    result = search(Parameters(13, 4, 1), permutation_group([cycle]), state=tmp_path / "state.json")
    assert result.entry()["group"] == [cycle]


def test_the_command_prints_an_entry(capsys, tmp_path):
    assert main(["search", "13", "4", "1", "--group", "Z13"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert entry["origin"] == 'bibd search 13 4 1 --group "Z13" --seed 0'
    assert main(["search", "16", "6", "2", "--group", "Z16", "--method", "exact"]) == 3
    assert "no design" in capsys.readouterr().err
    file = tmp_path / "cycle.json"
    file.write_text(json.dumps([[*range(1, 13), 0]]))
    assert main(["search", "13", "4", "1", "--group", str(file)]) == 0
    file.write_text("oops")
    capsys.readouterr()
    for option in ("--group", "--on-blocks"):
        assert main(["search", "13", "4", "1", "--group", "Z13", option, str(file)]) == 2
        assert f"Option '{option}' must name a JSON file of permutations" in capsys.readouterr().err
    assert main(["search", "13", "4", "1", "--state", "x"]) == 2


def test_the_command_climbs_the_ladder(capsys):
    assert main(["search", "21", "6", "3", "--time-limit", "5"]) == 0
    assert json.loads(capsys.readouterr().out)["v"] == 21


@pytest.mark.parametrize("method", ["exact", "orbitals", "subgroups"])
def test_without_ortools_the_error_says_what_to_install(monkeypatch, method):
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    with pytest.raises(MissingExtra, match=r"iddl\[search\]"):
        search(Parameters(15, 7, 3), "Z15", method=method)
