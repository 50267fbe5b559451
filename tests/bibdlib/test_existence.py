"""Verdicts: what exists, what cannot, what is not known, and what is no question at all."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibdlib
from bibdlib import (
    BibdError,
    InvalidParameters,
    NoKnownConstruction,
    NonexistentDesign,
    Parameters,
    Status,
    construct,
    existence,
    explain,
    find,
)
from tests.strategies import admissible_parameters, parameters

# A sample of IDDL_DATA/facts/admissible.csv, so that the verdicts are tested everywhere.
NONEXISTENT = [
    *[((22, 7, 2), "even"), ((29, 8, 2), "Bruck-Ryser-Chowla"), ((43, 7, 1), "Bruck-Ryser-Chowla")],
    *[((21, 6, 2), "Hall-Connor"), ((15, 5, 2), "Hall-Connor"), ((36, 6, 1), "Hall-Connor")],
    *[((111, 11, 1), "Lam"), ((100, 10, 1), "Lam"), ((46, 6, 1), "Houghten"), ((22, 8, 4), "Bilous")],
    *[((8, 3, 1), "whole number"), ((6, 3, 1), "r = "), ((16, 6, 1), "Fisher"), ((21, 6, 1), "Fisher")],
]
EXISTING = [
    *[(7, 3, 1), (13, 4, 1), (6, 3, 2), (16, 6, 2), (28, 4, 1), (25, 4, 1), (91, 10, 1), (40, 13, 4), (15, 7, 3)],
    *[(11, 5, 2), (19, 9, 4), (35, 17, 8), (37, 9, 2), (41, 5, 1), (61, 5, 1), (10, 4, 2), (21, 3, 1)],
]


@pytest.mark.parametrize(("p", "reason"), NONEXISTENT)
def test_the_impossible_is_refused_with_reason_and_reference(p, reason):
    verdict = existence(*p)
    assert verdict.status is Status.NONEXISTENT
    assert not verdict
    assert verdict.reference
    with pytest.raises(NonexistentDesign, match=reason) as refusal:
        construct(*p)
    assert refusal.value.existence == verdict


@pytest.mark.parametrize("p", EXISTING)
def test_the_known_is_built(p):
    assert existence(*p)
    assert construct(*p).parameters == Parameters(*p)


@pytest.mark.parametrize("p", [(51, 6, 1), (61, 6, 1), (22, 8, 12), (157, 13, 1)])
def test_the_open_stays_open(p):
    verdict = existence(*p)
    if verdict.status is Status.EXISTS:
        pytest.skip(f"{p} has been found since")
    assert verdict.status is Status.UNKNOWN
    with pytest.raises(BibdError, match="compare"):
        bool(verdict)
    with pytest.raises(NoKnownConstruction, match="unknown"):
        construct(*p)
    assert "unknown" in explain(*p)


def test_the_verdicts_of_the_table(shared):
    """All 1196 admissible sets with r <= 41: no "no" without proof, no "yes" to the impossible."""
    with (shared / "facts" / "admissible.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1196
    for row in rows:
        p = Parameters(*(int(row[name]) for name in ("v", "k", "lam")))
        assert (p.b, p.r) == (int(row["b"]), int(row["r"]))
        status = existence(p.v, p.k, p.lam).status
        assert (status is Status.NONEXISTENT) == (row["status"] == "no"), p
        assert not (status is Status.EXISTS and row["status"] == "open"), p


@given(parameters())
def test_a_verdict_never_builds_nor_fails(p):
    verdict = existence(p.v, p.k, p.lam)
    assert verdict.parameters == p
    assert verdict.reason
    assert (verdict.status is Status.EXISTS) == (find(p) is not None)
    assert str(p) in explain(p.v, p.k, p.lam)
    if not p.is_admissible:
        assert verdict.status is Status.NONEXISTENT


@given(admissible_parameters(max_v=40, max_lam=6))
def test_triple_systems_are_complete(p):
    """Hanani 1961: for k = 3 counting is all there is."""
    triples = Parameters(p.v + 1, 3, p.lam)
    assert (existence(p.v + 1, 3, p.lam).status is Status.EXISTS) == triples.is_admissible


@given(parameters(max_v=60))
def test_a_design_and_its_complement_exist_together(p):
    if p.has_complement:
        excluded = {existence(q.v, q.k, q.lam).status is Status.NONEXISTENT for q in (p, p.complement)}
        assert len(excluded) == 1


def test_explain_is_a_tree():
    lines = explain(28, 12, 11).splitlines() + explain(10, 7, 14).splitlines()
    assert lines[-1].startswith("  (10, 3, 2) ")
    assert all("[" in line for line in lines)


@pytest.mark.parametrize("function", [construct, existence, explain, Parameters])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((7.0, 3, 1), "'v' must be an integer, not 7.0"),
        ((7, 3.0, 1), "'k' must be an integer, not 3.0"),
        ((7, 3, "1"), "'lam' must be an integer, not '1'"),
        ((True, 3, 1), "'v' must be an integer, not True"),
        ((7, 3, np.True_), "'lam' must be an integer, not .*True"),
        ((7, 3, None), "'lam' must be an integer, not None"),
        ((np.float64(7), 3, 1), "'v' must be an integer"),
        ((-7, 3, 1), "'v' must be at least 2, not -7"),
        ((7, -3, 1), "'k' must be at least 2, not -3"),
        ((7, 1, 1), "'k' must be at least 2, not 1"),
        ((7, 3, 0), "'lam' must be at least 1, not 0"),
        ((7, 8, 1), "'k' must be at most v = 7, not 8"),
    ],
)
def test_bad_arguments_are_named_with_rule_and_value(function, arguments, message):
    with pytest.raises(InvalidParameters, match=message):
        function(*arguments)


@given(st.sampled_from([np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64]))
def test_numpy_integers_are_welcome(kind):
    assert construct(kind(7), kind(3), kind(1)) == construct(7, 3, 1)
    assert type(Parameters(kind(7), kind(3)).v) is int


def test_everything_exported_is_there():
    assert all(hasattr(bibdlib, name) for name in bibdlib.__all__)
