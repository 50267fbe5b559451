"""Every kept entry is a design, is used, and is named if damaged."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

import pytest

from bibdlib import construct, explain, verify
from bibdlib.constructions import CONSTRUCTIONS, sporadic
from bibdlib.constructions.sporadic import DamagedEntry, Entry, entries
from bibdlib.parameters import Parameters

DATA: Traversable = files("bibdlib.constructions") / "data"
ENTRIES = [entry for file in DATA.iterdir() for entry in entries(int(file.name[1:-5])).values()]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.v}-{e.k}-{e.lam}")
def test_every_entry_is_a_design_with_a_source(entry):
    assert verify(entry.design())
    command = f'bibd search {entry.v} {entry.k} {entry.lam} --group "{entry.group}"'
    printed = re.match(r"([A-Z]\. )+[A-Z][a-z]+", entry.origin)
    assert entry.origin.startswith(command) or printed


def test_an_entry_is_found_by_its_parameters_alone():
    entry = ENTRIES[0]
    p = entry.parameters
    (match,) = CONSTRUCTIONS["kept_base_blocks"].matches(p)
    assert match.arguments == {"entry": entry}
    assert sporadic.kept_base_blocks(entry).parameters == p
    for other in (Parameters(p.v + 1, p.k, p.lam), Parameters(p.v, p.k, p.lam + 1000), Parameters(10**9, 10**8, 1)):
        assert not list(CONSTRUCTIONS["kept_base_blocks"].matches(other))


def test_explain_names_the_origin():
    assert 'bibd search 21 7 3 --group "3*Z7"' in explain(21, 7, 3)
    assert verify(construct(21, 7, 3))


def _damage(monkeypatch, tmp_path, text):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "k3.json").write_text(text)
    monkeypatch.setattr(sporadic, "files", lambda package: tmp_path)
    sporadic.entries.cache_clear()
    sporadic._kept.cache_clear()
    monkeypatch.setattr(sporadic, "entries", sporadic.entries.__wrapped__)


@pytest.fixture(autouse=True)
def _fresh_caches():
    yield
    entries.cache_clear()
    sporadic._kept.cache_clear()


FANO = {"v": 7, "k": 3, "lam": 1, "group": "Z7", "base_blocks": [[0, 1, 3]], "origin": "Fano 1892"}


def test_a_sound_file_passes(monkeypatch, tmp_path):
    _damage(monkeypatch, tmp_path, json.dumps([FANO]))
    assert verify(sporadic.entries(3)[7, 1].design())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"k": 4}, "Entry 0 of data/k3.json"),
        ({"v": "7"}, "Entry 0 of data/k3.json"),
        ({"base_blocks": [[0, 1]]}, "lists of 3 points"),
        ({"colour": "red"}, "must have the parts"),
    ],
)
def test_a_damaged_entry_is_named_when_read(monkeypatch, tmp_path, change, named):
    _damage(monkeypatch, tmp_path, json.dumps([{**FANO, **change}]))
    with pytest.raises(DamagedEntry, match=named):
        sporadic.entries(3)


@pytest.mark.parametrize(
    "change",
    [{"base_blocks": [[0, 1, 2]]}, {"base_blocks": [[0, 1, 9]]}, {"group": "Z8"}, {"group": "Q7"}, {"base_blocks": []}],
)
def test_a_damaged_entry_is_named_when_developed(monkeypatch, tmp_path, change):
    _damage(monkeypatch, tmp_path, json.dumps([{**FANO, **change}]))
    with pytest.raises(DamagedEntry, match=r"entry for \(7, 3, 1\)"):
        sporadic.entries(3)[7, 1].design()


def test_damaged_files_and_doubles_are_named(monkeypatch, tmp_path):
    _damage(monkeypatch, tmp_path, json.dumps([FANO, FANO]))
    with pytest.raises(DamagedEntry, match="is there already"):
        sporadic.entries(3)
    (tmp_path / "data" / "k3.json").write_text("[")
    with pytest.raises(DamagedEntry, match=r"k3\.json is damaged"):
        sporadic.entries(3)


def test_an_entry_prints_its_source():
    entry = Entry(7, 3, 1, "Z7", ((0, 1, 3),), "G. Fano 1892")
    assert str(entry) == "1 base blocks under Z7 (G. Fano 1892)"
