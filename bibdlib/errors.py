"""What can go wrong, one class a kind: bad arguments, an impossible design, an unknown one, a false one."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bibdlib.nonexistence import Existence
    from bibdlib.verify import Certificate

__all__ = ["BibdError", "DesignTooLarge", "InvalidParameters", "NoKnownConstruction", "NonexistentDesign", "NotADesign"]


class BibdError(Exception):
    """Base class of every error raised by bibdlib."""


class InvalidParameters(BibdError, ValueError):
    """An argument breaks the rule of its function; the message names argument, rule and value."""


class NonexistentDesign(BibdError):
    """A theorem or an exhaustive search excludes the design; `existence` holds reason and reference."""

    def __init__(self, existence: Existence) -> None:
        super().__init__(str(existence))
        self.existence = existence


class NoKnownConstruction(BibdError):
    """The library knows neither a construction nor a proof that there is none."""

    def __init__(self, existence: Existence) -> None:
        super().__init__(str(existence))
        self.existence = existence


class NotADesign(BibdError):
    """Blocks that were offered as a design are none; `certificate` holds the counterexample."""

    def __init__(self, certificate: Certificate) -> None:
        super().__init__(certificate.reason)
        self.certificate = certificate


class DesignTooLarge(BibdError, MemoryError):
    """The blocks would not fit into memory; the message says how large they are and what to do instead."""


def as_integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int, or raise InvalidParameters if it is no integer of the range.

    Python and numpy integers are welcome; bools and floats are not, since `True` and `7.0`
    in the place of a parameter are a slip more often than an intention.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InvalidParameters(f"Argument '{name}' must be an integer, not {value!r}.")
    number = int(value)
    if number < minimum:
        raise InvalidParameters(f"Argument '{name}' must be at least {minimum}, not {number}.")
    if maximum is not None and number > maximum:
        raise InvalidParameters(f"Argument '{name}' must be at most {maximum}, not {number}.")
    return number


def as_seconds(name: str, value: object) -> float:
    """Return `value`, a time in seconds, or raise InvalidParameters if it is no real number or less than none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidParameters(f"Argument '{name}' must be a number of seconds, not {value!r}.")
    seconds = float(value)
    if not seconds >= 0:
        raise InvalidParameters(f"Argument '{name}' must be at least 0 seconds, not {value}.")
    return seconds
