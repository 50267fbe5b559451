"""What can go wrong in pruning, one class a kind."""

from __future__ import annotations

__all__ = ["InvalidArgument", "PruneError"]


class PruneError(Exception):
    """Base class of every error raised by iddl_prune."""


class InvalidArgument(PruneError, ValueError):
    """An argument breaks the rule of its function; the message names argument, rule and value."""
