"""Packages that only some rooms need, imported when first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bibdlib.errors import BibdError

__all__ = ["MissingExtra", "load"]


class MissingExtra(BibdError, ImportError):
    """A package that an optional part of bibdlib needs is not installed; the message says how to get it."""


def load(module: str, extra: str) -> Any:
    """The module of an optional package, or MissingExtra naming the extra that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise MissingExtra(f"This needs the package '{package}': pip install 'iddl[{extra}]'.") from error
