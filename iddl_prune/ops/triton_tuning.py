"""Sizes of the tiles for a layer, a batch, a type and a card: a first guess, a search, and a file that remembers.

Nothing is searched unless `search` is called, so no product ever takes time that the one before it did not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor

from iddl_prune.files import cache_dir, write_whole
from iddl_prune.ops.convolution import Places
from iddl_prune.ops.triton_launch import Settings
from iddl_prune.ops.triton_work import reads_runs
from iddl_prune.pattern import SparsePattern

__all__ = ["first_guess", "forget", "search", "settings"]

_FORMAT = 1

# Values that the search tries, one field at a time.
_TRIED = {
    "rows": (16, 32, 64, 128, 256),
    "outputs": (16, 32, 64, 128),
    "inputs": (16, 32, 64, 128),
    "stages": (2, 3, 4, 5),
    "warps": (2, 4, 8),
    "shares": (1, 2, 4, 8, 16, 32, 64),
}
_TRIED_VECTOR = {"outputs": (1, 2, 4, 8, 16), "inputs": (64, 128, 256, 512, 1024), "warps": (1, 2, 4, 8)}

# A tile of more numbers than this does not stay in the registers.
_LARGEST_TILE = 256 * 128

# From more rows than this on, reading channel by channel costs more than a pass that sorts them.
_FEW_ROWS = 32

# Up to so many rows of a linear layer the vector kernel is a candidate.
_VECTOR_ROWS = 8


def settings(what: str, pattern: SparsePattern, x: Tensor, places: Places | None) -> Settings:
    """What the search found for this product, else the first guess.

    Parameters
    ----------
    what
        "forward", "backward" (gradient by x) or "gradient" (by the weights).
    x
        What is multiplied: its type, its device, and without `places` its rows.
    """
    return _settings(what, pattern, _count(what, x, places), x.dtype, x.device, places)


@lru_cache(4096)
def _settings(
    what: str, pattern: SparsePattern, rows: int, dtype: torch.dtype, device: torch.device, places: Places | None
) -> Settings:
    found = _remembered().get(_key(what, pattern, rows, dtype, device, places))
    return found if found is not None else first_guess(what, pattern, rows, device, places)


def first_guess(
    what: str, pattern: SparsePattern, rows: int, device: torch.device, places: Places | None = None
) -> Settings:
    """Tiles as large as the groups of channels fill, and as many as the card has processors for."""
    height, width = len(pattern.out_groups) / len(pattern.blocks), pattern.in_features / pattern.reads.shape[1]
    if what == "forward" and places is None and rows == 1:
        fan_in = width * pattern.blocks.shape[1]
        return Settings(1, _power(height, 1, 8), _power(fan_in, 16, 512), warps=4, stages=1)
    outputs, inputs = (width, height) if what == "backward" else (height, width)
    guess = Settings(_power(rows, 16, 128), _power(outputs, 16, 128), _power(inputs, 16, 64))
    if rows > _FEW_ROWS:
        guess = replace(guess, in_order=not reads_runs(pattern, guess.inputs, what))
    if what == "gradient":
        tiles = pattern.kept / (guess.outputs * guess.inputs) * (1 if places is None else places.taps)
        wanted = min(2 * _processors(device) / tiles, rows / (4 * guess.rows))
        guess = replace(guess, rows=_power(rows, 16, 64), shares=_power(wanted, 1, 64))
    elif what == "forward" and rows <= 256:
        # A short product has few tiles: smaller ones keep more processors busy.
        guess = replace(guess, rows=min(guess.rows, 64), outputs=min(guess.outputs, 64))
    return replace(guess, warps=8 if guess.rows * guess.outputs >= 128 * 128 else 4)


def search(
    what: str,
    pattern: SparsePattern,
    x: Tensor,
    places: Places | None,
    run: Callable[[Settings], object],
    *,
    seconds: float = 20.0,
) -> Settings:
    """The fastest settings on this card, from the file or by trying; what is found is kept there.

    One field after another is varied while it helps, from the first guess on, for so many seconds at most.
    """
    rows = _count(what, x, places)
    key = _key(what, pattern, rows, x.dtype, x.device, places)
    found = _remembered().get(key)
    if found is not None:
        return found
    guesses = [first_guess(what, pattern, rows, x.device, places)]
    if what == "forward" and places is None and 1 <= rows <= _VECTOR_ROWS:
        guesses = [first_guess(what, pattern, few, x.device) for few in (1, 16)]
    begun = time.monotonic()
    best, least = guesses[0], float("inf")
    for guess in guesses:
        mine, taken = _descend(guess, what, run, begun + seconds)
        if taken < least:
            best, least = mine, taken
    _remembered()[key] = best
    _settings.cache_clear()
    _write()
    return best


def forget() -> None:
    """Read the file anew when next asked."""
    _remembered.cache_clear()
    _settings.cache_clear()


def _descend(start: Settings, what: str, run: Callable[[Settings], object], deadline: float) -> tuple[Settings, float]:
    best, least = start, _time(run, start)
    met = {start}
    improved = True
    while improved:
        improved = False
        for candidate in _neighbours(best, what):
            if time.monotonic() > deadline:
                return best, least
            if candidate not in met:
                met.add(candidate)
                taken = _time(run, candidate)
                if taken < least:
                    best, least, improved = candidate, taken, True
    return best, least


def _neighbours(best: Settings, what: str) -> Iterator[Settings]:
    """The next smaller and larger value of each field."""
    tried = _TRIED_VECTOR if best.rows == 1 else _TRIED
    if best.rows > 1:
        yield replace(best, in_order=not best.in_order)
    for name, values in tried.items():
        if name == "shares" and what != "gradient":
            continue
        at = values.index(getattr(best, name))
        for value in values[max(0, at - 1) : at] + values[at + 1 : at + 2]:
            candidate = replace(best, **{name: value})  # type: ignore[arg-type]
            if candidate.rows * candidate.outputs <= _LARGEST_TILE:
                yield candidate


def _time(run: Callable[[Settings], object], candidate: Settings) -> float:
    """Milliseconds, the cache emptied before; infinite where the card has no room for such a tile."""
    try:
        if torch.cuda.is_available():
            return float(triton.testing.do_bench(lambda: run(candidate), warmup=5, rep=20, return_mode="median"))
        begun = time.perf_counter()
        run(candidate)
        return 1000 * (time.perf_counter() - begun)
    except triton.runtime.errors.TritonError:
        return float("inf")


def _count(what: str, x: Tensor, places: Places | None) -> int:
    """Rows that are written, or added up."""
    return len(x) if places is None else places.in_rows if what == "backward" else places.out_rows


def _key(
    what: str, pattern: SparsePattern, rows: int, dtype: torch.dtype, device: torch.device, places: Places | None
) -> str:
    """Batches between two powers of two share their settings, as layers of one pattern do."""
    window = "" if places is None else f" {places.inside} {places.size} {tuple(places.geometry)}"
    size = 1 << (rows - 1).bit_length()
    return f"{_card(device)} | {what} {pattern.digest} {dtype} {size}{window}"


@cache
def _card(device: torch.device) -> str:
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "interpreter"
    return f"{card}, triton {triton.__version__}"


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _file() -> Path:
    return cache_dir() / "triton.json"


@cache
def _remembered() -> dict[str, Settings]:
    """All that was found before, on any card."""
    return _read()


def _read() -> dict[str, Settings]:
    """What the file holds; nothing if it is missing or of another version."""
    try:
        data: dict[str, Any] = json.loads(_file().read_text())
        if data["format"] == _FORMAT:
            return {key: Settings(**fields) for key, fields in data["settings"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def _write() -> None:
    """Keep what another process has found meanwhile."""
    for key, found in _read().items():
        _remembered().setdefault(key, found)
    content = {"format": _FORMAT, "settings": {key: asdict(found) for key, found in _remembered().items()}}
    write_whole(_file(), (json.dumps(content, indent=1) + "\n").encode())


def _power(number: float, least: int, most: int) -> int:
    """The power of two nearest above, within bounds that are powers of two."""
    return int(np.clip(2 ** np.ceil(np.log2(max(number, 1))), least, most))
