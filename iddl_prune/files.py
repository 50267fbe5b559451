"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from iddl_prune.errors import PruneError

__all__ = ["cache_dir", "write_whole"]


def cache_dir() -> Path:
    """Where measurements of this machine are kept: IDDL_CACHE, else `iddl` in XDG_CACHE_HOME, else in ~/.cache."""
    own = os.environ.get("IDDL_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "iddl"


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the file, then take its place, so that no reader meets half a file; folders are made.

    Raises
    ------
    PruneError
        If the file cannot be written.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        raise PruneError(f"{path.absolute()} cannot be written: {error.strerror}.") from error
