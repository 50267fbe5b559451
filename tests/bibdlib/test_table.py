"""The table: which sets it lists, that its verdicts agree with the library, and its four formats."""

import csv
import io
import json
from pathlib import Path

import pytest

from bibdlib import InvalidParameters, Parameters, existence
from bibdlib.cli import main
from bibdlib.nonexistence import Status
from bibdlib.table import FORMATS, admissible, render, table, totals


@pytest.fixture(scope="module")
def rows():
    return table(12)


def test_it_lists_each_admissible_set_once():
    listed = list(admissible(9))
    brute = {
        p
        for v in range(6, 82)
        for k in range(3, v // 2 + 1)
        for lam in range(1, 9)
        if (p := Parameters(v, k, lam)).is_admissible and 3 <= p.r <= 9 and p.b >= p.v
    }
    assert set(listed) == brute
    assert len(listed) == len(brute)


def test_the_range_of_the_handbook_has_1196_sets(shared: Path):
    with (shared / "facts" / "admissible.csv").open() as stream:
        known = {(int(r["v"]), int(r["k"]), int(r["lam"])): r["status"] for r in csv.DictReader(stream)}
    assert {(p.v, p.k, p.lam) for p in admissible(41)} == set(known)
    for (v, k, lam), status in known.items():
        verdict = existence(v, k, lam)
        assert (verdict.status is Status.NONEXISTENT) == (status == "no")
        assert verdict.reason.startswith("open") == (status == "open")


def test_verdicts_are_those_of_existence(rows):
    for row in rows:
        verdict = existence(row.v, row.k, row.lam)
        assert row.verdict == verdict.status.value
        assert row.construction
        assert row.reference or row.verdict == "unknown" or row.construction == "all k-subsets"
    assert sum(totals(rows).values()) == len(rows)


def test_formats_say_the_same(rows):
    text, table_csv, page = (render(rows, name) for name in ("text", "csv", "html"))
    document = json.loads(render(rows, "json"))
    assert document["totals"] == totals(rows)
    assert [(s["v"], s["verdict"]) for s in document["sets"]] == [(row.v, row.verdict) for row in rows]
    read = list(csv.DictReader(io.StringIO(table_csv)))
    assert [(int(s["lam"]), s["construction"]) for s in read] == [(row.lam, row.construction) for row in rows]
    assert len(text.splitlines()) == len(rows) + 2
    assert page.count('<tr class="exists">') == totals(rows)["exists"]


def test_the_command_prints_it(capsys):
    for name in FORMATS:
        assert main(["table", "--r-max", "5", "--format", name]) == 0
        assert capsys.readouterr().out == render(table(5), name)
    assert main(["table", "--r-max", "2"]) == 2
    assert "'r_max' must be at least 3, not 2" in capsys.readouterr().err


def test_other_formats_are_refused(rows):
    with pytest.raises(InvalidParameters, match="not 'pdf'"):
        render(rows, "pdf")


OPEN = [(39, 13, 6), (39, 26, 25), (51, 6, 1), (144, 12, 1), (157, 13, 1)]
IN_PRINT = [(105, 40, 15), (65, 25, 15), (65, 40, 39)]


@pytest.mark.parametrize(
    ("p", "begins", "source"),
    [(p, "open", "Handbook") for p in OPEN] + [(p, "known elsewhere", "Janko") for p in IN_PRINT],
)
def test_unknown_is_what_the_literature_leaves_open_or_builds_elsewhere(p, begins, source):
    verdict = existence(*p)
    assert verdict.status is Status.UNKNOWN
    assert verdict.reason.startswith(begins)
    assert source in verdict.reference
