"""Designs in files: JSON with their parameters; CSV, text and npy as bare blocks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.design import Design
from bibdlib.errors import InvalidParameters, NotADesign
from bibdlib.parameters import Parameters
from bibdlib.verify import Certificate

__all__ = ["FORMATS", "format_of", "load", "save", "serialize"]


@dataclass(frozen=True)
class Format:
    """How a design is written to bytes and its parts are read back; `suffix` tells the format of a file."""

    suffix: str
    write: Callable[[Design], bytes]
    read: Callable[[bytes], tuple[Any, Parameters | None]]


def serialize(design: Design, format: str) -> bytes:
    """The design in one of the FORMATS.

    Raises
    ------
    InvalidParameters
        If the format is unknown.
    """
    return _format(format).write(design)


def save(design: Design, path: str | Path, format: str | None = None) -> None:
    """Write a design to a file, whole or not at all; without a format the suffix tells it.

    Raises
    ------
    InvalidParameters
        If neither format nor suffix is known.
    OSError
        If the file cannot be written; one that was there before is then untouched.
    """
    target = Path(path).resolve()
    content = serialize(design, format or format_of(target))
    if target.exists() and not target.is_file():
        # A pipe or a device is written to, never replaced.
        target.write_bytes(content)
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        error.filename = str(target)
        raise
    finally:
        part.unlink(missing_ok=True)


def load(path: str | Path, format: str | None = None) -> Design:
    """Read a design from a file; without a format the suffix tells it. `bibdlib.verify` counts it.

    Raises
    ------
    InvalidParameters
        If neither format nor suffix is known, or the file is not of the format.
    NotADesign
        If the blocks are not of one size, or in number or points not what any design's would be.
    OSError
        If the file cannot be read.
    """
    name = format or format_of(path)
    try:
        rows, parameters = _format(name).read(Path(path).read_bytes())
    except (ValueError, KeyError, TypeError, EOFError) as error:
        if isinstance(error, InvalidParameters):
            raise
        raise InvalidParameters(f"File '{path}' must hold a design as {name}: {error}.") from error
    blocks = _blocks(rows)
    if not blocks.size:
        raise InvalidParameters(f"File '{path}' must hold a design as {name}, not no blocks at all.")
    try:
        return Design.from_blocks(blocks) if parameters is None else Design(parameters, blocks)
    except InvalidParameters as error:
        raise NotADesign(Certificate(False, "shape of the blocks", str(error))) from error


def format_of(path: str | Path) -> str:
    """The format that a file's suffix tells.

    Raises
    ------
    InvalidParameters
        If it tells none.
    """
    suffix = Path(path).suffix.lower()
    for name, format in FORMATS.items():
        if format.suffix == suffix:
            return name
    suffixes = ", ".join(format.suffix for format in FORMATS.values())
    raise InvalidParameters(f"Argument 'path' must end in one of {suffixes}, or the format be given, not '{path}'.")


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise InvalidParameters(f"Argument 'format' must be one of {', '.join(FORMATS)}, not '{name}'.")
    return FORMATS[name]


def _blocks(rows: Any) -> npt.NDArray[Any]:
    if isinstance(rows, np.ndarray):
        return rows
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            reason = f"block {i} holds {len(row)} points, block 0 holds {len(rows[0])}"
            raise NotADesign(Certificate(False, "sizes of the blocks", reason))
    return np.array(rows)


def _write_json(design: Design) -> bytes:
    p = design.parameters
    content = {"v": p.v, "k": p.k, "lam": p.lam, "blocks": design.blocks.tolist()}
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _read_json(content: bytes) -> tuple[Any, Parameters | None]:
    parts = json.loads(content)
    return [list(block) for block in parts["blocks"]], Parameters(parts["v"], parts["k"], parts["lam"])


def _write_csv(design: Design) -> bytes:
    return _lines(design, ",")


def _read_csv(content: bytes) -> tuple[Any, Parameters | None]:
    return _numbers(content.decode().replace(",", " ")), None


def _write_text(design: Design) -> bytes:
    return _lines(design, " ")


def _read_text(content: bytes) -> tuple[Any, Parameters | None]:
    return _numbers(content.decode()), None


def _write_npy(design: Design) -> bytes:
    buffer = BytesIO()
    np.save(buffer, design.blocks, allow_pickle=False)
    return buffer.getvalue()


def _read_npy(content: bytes) -> tuple[Any, Parameters | None]:
    return np.load(BytesIO(content), allow_pickle=False), None


def _lines(design: Design, separator: str) -> bytes:
    return "".join(separator.join(map(str, block)) + "\n" for block in design.blocks.tolist()).encode()


def _numbers(content: str) -> list[list[int]]:
    return [[int(point) for point in line.split()] for line in content.splitlines() if line.strip()]


FORMATS = {
    "text": Format(".txt", _write_text, _read_text),
    "csv": Format(".csv", _write_csv, _read_csv),
    "json": Format(".json", _write_json, _read_json),
    "npy": Format(".npy", _write_npy, _read_npy),
}
