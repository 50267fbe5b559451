"""The table of designs: every admissible set of parameters up to some r, with the verdict on it."""

from __future__ import annotations

import csv
import html
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields

from bibdlib.catalogue import Recipe, existence, find
from bibdlib.errors import InvalidParameters, as_integer
from bibdlib.nonexistence import Status
from bibdlib.parameters import Parameters

__all__ = ["FORMATS", "Row", "admissible", "render", "table", "totals"]


@dataclass(frozen=True)
class Row:
    """One set of parameters and what is known: the construction that builds it, or why there is none."""

    v: int
    b: int
    r: int
    k: int
    lam: int
    verdict: str
    construction: str
    reference: str


def admissible(r_max: int) -> Iterator[Parameters]:
    """All (v, k, lam) with 3 <= k <= v/2, whole b and r, b >= v and r <= r_max, by r, then k, then lam."""
    r_max = as_integer("r_max", r_max, 3)
    for r in range(3, r_max + 1):
        for k in range(3, r + 1):
            for lam in range(1, r):
                v, remainder = divmod(r * (k - 1), lam)
                if remainder == 0 and v + 1 >= 2 * k and (v + 1) * r % k == 0:
                    yield Parameters(v + 1, k, lam)


def table(r_max: int = 41) -> list[Row]:
    """The verdict on every set of parameters that `admissible` lists; builds nothing."""
    return [_row(p) for p in admissible(r_max)]


def _row(p: Parameters) -> Row:
    verdict = existence(p.v, p.k, p.lam)
    recipe = find(p) if verdict.status is Status.EXISTS else None
    construction = verdict.reason if recipe is None else _phrase(recipe)
    reference = verdict.reference if recipe is None else "; ".join(dict.fromkeys(_references(recipe)))
    return Row(p.v, int(p.b), int(p.r), p.k, p.lam, verdict.status.value, construction, reference)


def _phrase(recipe: Recipe) -> str:
    ingredients = ", ".join(str(ingredient.parameters) for ingredient in recipe.ingredients)
    return recipe.construction.title + (f": {ingredients}" if ingredients else "")


def _references(recipe: Recipe) -> Iterator[str]:
    if recipe.construction.reference != "definition":
        yield recipe.construction.reference
    for ingredient in recipe.ingredients:
        yield from _references(ingredient)


def totals(rows: list[Row]) -> dict[str, int]:
    """How many sets exist, do not exist, and are unknown."""
    counts = Counter(row.verdict for row in rows)
    return {status.value: counts[status.value] for status in Status}


def render(rows: list[Row], format: str = "text") -> str:
    """The rows with their totals on top as "text", "json" or "html"; as "csv" the rows alone.

    Raises
    ------
    InvalidParameters
        If the format is none of these.
    """
    if format not in FORMATS:
        raise InvalidParameters(f"Argument 'format' must be one of {', '.join(FORMATS)}, not {format!r}.")
    return FORMATS[format](rows)


_COLUMNS = [field.name for field in fields(Row)]


def _summary(rows: list[Row]) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in totals(rows).items())
    return f"{len(rows)} parameter sets: {counts}"


def _text(rows: list[Row]) -> str:
    lines = [_summary(rows), "".join(f"{name:>6}" for name in _COLUMNS[:5]) + "  verdict      construction"]
    for row in rows:
        numbers = "".join(f"{number:6}" for number in astuple(row)[:5])
        source = f" [{row.reference}]" if row.reference else ""
        lines.append(f"{numbers}  {row.verdict:11}  {row.construction}{source}")
    return "\n".join(lines) + "\n"


def _csv(rows: list[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_COLUMNS, *map(astuple, rows)])
    return stream.getvalue()


def _json(rows: list[Row]) -> str:
    return json.dumps({"totals": totals(rows), "sets": [vars(row) for row in rows]}, indent=1) + "\n"


def _html(rows: list[Row]) -> str:
    heads = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    body = "\n".join(
        f'<tr class="{row.verdict}">' + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in astuple(row)) + "</tr>"
        for row in rows
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Table of designs</title>
<style>td {{ padding: 0 0.6em }} .exists {{ background: #eaf6ea }} .nonexistent {{ background: #f9e8e8 }}</style></head>
<body>
<p>{_summary(rows)}</p>
<table>
<thead><tr>{heads}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</body>
</html>
"""


FORMATS = {"text": _text, "csv": _csv, "json": _json, "html": _html}
