"""Which tests need Triton's interpreter, and where it works."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

__all__ = ["needs_interpreter"]


def _works() -> bool:
    try:
        return tuple(map(int, version("triton").split(".")[:2])) >= (3, 9)
    except PackageNotFoundError:
        return False


needs_interpreter = pytest.mark.skipif(
    not _works(), reason="no Triton of 3.9 or newer; 3.6 was seen to interpret no loop under numpy 2.4"
)
