"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["table"]


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Its lines; all columns but the first stand on the right."""
    header = list(header)
    yield f"| {' | '.join(header)} |"
    yield "|---|" + "--:|" * (len(header) - 1)
    for row in rows:
        yield f"| {' | '.join(row)} |"
