"""Counting: what is a design passes, what is none fails with the points concerned."""

from collections import Counter
from importlib import import_module
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bibdlib import Design, NotADesign, Parameters, construct, verify
from bibdlib.verify import verified

DESIGNS = [construct(*p) for p in [(7, 3, 1), (9, 3, 1), (13, 4, 1), (6, 3, 4), (8, 3, 6), (7, 7, 2), (5, 2, 3)]]


@pytest.fixture(params=["table", "compiled loop"])
def _way(request, monkeypatch):
    """Both ways of counting pairs, whatever the size."""
    if request.param == "compiled loop":
        monkeypatch.setattr(import_module("bibdlib.verify"), "_LARGEST_TABLE", 0)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("design", DESIGNS, ids=repr)
def test_a_design_holds_and_the_certificate_says_what_was_counted(design):
    certificate = verify(design)
    assert certificate
    assert f"all {design.v * (design.v - 1) // 2} pairs" in certificate.checked
    assert certificate.counterexample is None
    assert verified(design) is design


@pytest.mark.usefixtures("_way")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(DESIGNS), st.data())
def test_the_verdict_is_that_of_counting_by_hand(design, data):
    """Some points of some blocks are replaced, so that any of the three counts may fail, or none."""
    blocks = design.blocks.copy()
    for _ in range(data.draw(st.integers(0, 3))):
        i = data.draw(st.integers(0, design.b - 1))
        j = data.draw(st.integers(0, design.k - 1))
        blocks[i, j] = data.draw(st.integers(0, design.v - 1))
    mutant = Design(design.parameters, blocks)
    certificate = verify(mutant)
    by_hand = Counter(pair for block in mutant.blocks.tolist() for pair in combinations(block, 2))
    balanced = all(by_hand[pair] == design.lam for pair in combinations(range(design.v), 2))
    assert bool(certificate) == (balanced and all(len(set(block)) == design.k for block in blocks.tolist()))


@pytest.mark.usefixtures("_way")
def test_the_counterexample_is_the_first_pair_and_its_count_is_exact():
    """Two points of two blocks exchanged: replication stays, pairs do not."""
    blocks = construct(13, 4, 1).blocks.copy()
    i, j = next((i, j) for i, j in permutations(range(13), 2) if blocks[i, 3] not in blocks[j])
    x = next(p for p in range(4) if blocks[j, p] not in blocks[i])
    blocks[i, 3], blocks[j, x] = blocks[j, x], blocks[i, 3]
    certificate = verify(Design(Parameters(13, 4, 1), blocks))
    counts = Counter(tuple(sorted(pair)) for block in blocks.tolist() for pair in combinations(block, 2))
    first = next(pair for pair in combinations(range(13), 2) if counts[pair] != 1)
    assert certificate.counterexample == first
    assert certificate.reason == f"pair {first} lies in {counts[first]} blocks, expected 1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({(0, 1): 0}, "block 0 holds point 0 twice"),
        ({(6, 2): 0}, "point 0 lies in 4 blocks, expected 3"),
    ],
)
def test_repeated_points_and_unequal_replication_are_named(change, reason):
    blocks = construct(7, 3, 1).blocks.copy()
    for place, point in change.items():
        blocks[place] = point
    with pytest.raises(NotADesign, match=reason):
        verified(Design(Parameters(7, 3, 1), blocks))


@pytest.mark.usefixtures("_way")
def test_counts_modulo_256_do_not_hide_a_surplus():
    """Pair (0, 1) lies in 256 + 1 blocks too many and others too few: no residue may pass for lam."""
    v, lam = 4, 256
    balanced = np.array(list(combinations(range(v), 2)) * lam)
    assert verify(Design(Parameters(v, 2, lam), balanced))
    for moved in (255, 256):
        unbalanced = balanced.copy()
        rows = {pair: np.flatnonzero((balanced == pair).all(axis=1))[:moved] for pair in [(0, 2), (1, 3)]}
        unbalanced[rows[0, 2]], unbalanced[rows[1, 3]] = (0, 1), (2, 3)
        certificate = verify(Design(Parameters(v, 2, lam), unbalanced))
        assert certificate.counterexample == (0, 1)
        assert certificate.reason == f"pair (0, 1) lies in {lam + moved} blocks, expected {lam}"
