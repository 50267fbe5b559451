"""Designs that no theorem here gives: base blocks from print or from a search, kept as data.

The files `data/k<k>.json` hold a list of entries, one a line: v, k, lam, the name of a permutation group
(`bibdlib.permutation_groups.named_group`), base blocks whose orbits under it are the blocks, and their origin:
the paper, or the command that searches for them again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.design import Design
from bibdlib.errors import BibdError
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import named_group
from bibdlib.verify import verified

__all__ = ["DamagedEntry", "Entry", "entries", "kept_base_blocks"]


class DamagedEntry(BibdError):
    """An entry of the data is not what it says; the message names file and entry."""


@dataclass(frozen=True)
class Entry:
    """Base blocks of one design.

    Attributes
    ----------
    v, k, lam
        The design's parameters.
    group
        The name of a permutation group on the v points.
    base_blocks
        Tuples of k points; their orbits are the blocks, and one that is listed twice counts twice.
    origin
        Where they come from: the paper, or the command of the search.
    """

    v: int
    k: int
    lam: int
    group: str
    base_blocks: tuple[tuple[int, ...], ...]
    origin: str

    @property
    def parameters(self) -> Parameters:
        """v, k, lam."""
        return Parameters(self.v, self.k, self.lam)

    def design(self) -> Design:
        """Develop the base blocks, and count every pair.

        Raises
        ------
        DamagedEntry
            If they do not make the design.
        """
        try:
            return verified(Design(self.parameters, named_group(self.group).develop(self.base_blocks)))
        except (BibdError, ValueError, TypeError, IndexError) as error:
            message = f"The entry for {self.parameters} under {self.group} in {_name(self.k)} is damaged: {error}"
            raise DamagedEntry(message) from error

    def __str__(self) -> str:
        return f"{len(self.base_blocks)} base blocks under {self.group} ({self.origin})"


def _name(k: int) -> str:
    return f"data/k{k}.json"


@cache
def _kept() -> frozenset[int]:
    """The k for which there are entries."""
    names = [file.name for file in (files("bibdlib.constructions") / "data").iterdir()]
    return frozenset(int(name[1:-5]) for name in names if name.endswith(".json"))


@cache
def entries(k: int) -> dict[tuple[int, int], Entry]:
    """The entries with blocks of k points, by (v, lam).

    Raises
    ------
    DamagedEntry
        If the file cannot be read, an entry lacks a part or has the wrong type, or two are for the same design.
    """
    if k not in _kept():
        return {}
    try:
        raw = json.loads((files("bibdlib.constructions") / _name(k)).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedEntry(f"{_name(k)} is damaged: {error}") from error
    found: dict[tuple[int, int], Entry] = {}
    for number, item in enumerate(raw):
        entry = _entry(item, k, number)
        if (entry.v, entry.lam) in found:
            raise DamagedEntry(f"Entry {number} of {_name(k)} is damaged: {entry.parameters} is there already.")
        found[entry.v, entry.lam] = entry
    return found


def _entry(item: Any, k: int, number: int) -> Entry:
    where = f"Entry {number} of {_name(k)} is damaged"
    parts = [part.name for part in fields(Entry)]
    if not isinstance(item, dict) or sorted(item) != sorted(parts):
        raise DamagedEntry(f"{where}: it must have the parts {', '.join(parts)}, not {item!r:.80}.")
    blocks = item["base_blocks"]
    if item["k"] != k or not all(isinstance(item[name], int) for name in ("v", "lam")):
        raise DamagedEntry(f"{where}: v, k = {k} and lam must be integers, not {[item[n] for n in ('v', 'k', 'lam')]}.")
    if not isinstance(blocks, list) or any(not isinstance(block, list) or len(block) != k for block in blocks):
        raise DamagedEntry(f"{where}: base_blocks must be lists of {k} points.")
    return Entry(**{**item, "base_blocks": tuple(tuple(block) for block in blocks)})


def _matches_kept_base_blocks(p: Parameters) -> Matches:
    if p.k in _kept() and (entry := entries(p.k).get((p.v, p.lam))) is not None:
        yield Match({"entry": entry})


@register(
    title="base blocks kept as data",
    reference="the paper or the command that the entry names",
    matches=_matches_kept_base_blocks,
)
def kept_base_blocks(entry: Entry) -> npt.NDArray[np.integer]:
    """The orbits of the entry's base blocks under its group."""
    return entry.design().blocks
