"""The command `bibd`: construct, look up, explain and verify designs from the shell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer

import bibdlib
from bibdlib.design import Design
from bibdlib.errors import BibdError, NoKnownConstruction, NonexistentDesign, NotADesign
from bibdlib.io import format_of, load, save, serialize
from bibdlib.nonexistence import Existence, Status
from bibdlib.search.command import search_command
from bibdlib.verify import verified

__all__ = ["app", "main"]

YES, NO, BAD_USE, UNKNOWN, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    help="Balanced incomplete block designs. Exit codes: 0 yes, 1 no, 2 bad use, 3 unknown.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# Typer carries its own copy of click, or imports it: this is the class in either.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)

# So that a negative number reaches the library, whose error names argument, rule and value.
_NEGATIVES = {"ignore_unknown_options": True}


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"must be an integer, not '{text}'.") from None


V = Annotated[int, typer.Argument(metavar="V", help="Number of points.", show_default=False, parser=_integer)]
K = Annotated[int, typer.Argument(metavar="K", help="Points on each block.", show_default=False, parser=_integer)]
Lam = Annotated[int, typer.Argument(metavar="LAM", help="Blocks through every two points.", parser=_integer)]


class FormatName(StrEnum):
    """The formats of `bibdlib.io`."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    NPY = "npy"


FormatOption = Annotated[
    FormatName | None, typer.Option("--format", help="By default what the file's suffix says, else text.")
]


@app.command(context_settings=_NEGATIVES)
def construct(
    v: V,
    k: K,
    lam: Lam = 1,
    format: FormatOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    simple: Annotated[bool, typer.Option("--simple", help="No block is repeated.")] = False,
    resolvable: Annotated[bool, typer.Option("--resolvable", help="The blocks fall into parallel classes.")] = False,
    cyclic: Annotated[bool, typer.Option("--cyclic", help="x -> x + 1 modulo V carries blocks to blocks.")] = False,
) -> None:
    """Build and verify a design; print its blocks, or write them to a file."""
    if output is not None:
        # Before the work, so that a bad name costs none.
        name = format or format_of(output)
    design = bibdlib.construct(v, k, lam, simple=simple, resolvable=resolvable, cyclic=cyclic)
    if output is not None:
        save(design, output, name)
        return
    content = serialize(design, format or "text")
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


@app.command(context_settings=_NEGATIVES)
def exists(v: V, k: K, lam: Lam = 1) -> None:
    """Whether a design exists, with reason and reference; builds nothing."""
    verdict = bibdlib.existence(v, k, lam)
    typer.echo(verdict)
    raise typer.Exit(_code(verdict))


@app.command(context_settings=_NEGATIVES)
def explain(v: V, k: K, lam: Lam = 1) -> None:
    """How a design is built, as a tree of constructions; builds nothing."""
    typer.echo(bibdlib.explain(v, k, lam))
    raise typer.Exit(_code(bibdlib.existence(v, k, lam)))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Blocks as text, CSV, JSON or npy.", show_default=False)],
    format: FormatOption = None,
) -> None:
    """Count every pair of points in the blocks of a file; name the counterexample if they are no design."""
    name = format or format_of(file)
    design = load(file, name)
    certificate = bibdlib.verify(design)
    if not certificate:
        raise NotADesign(certificate)
    typer.echo(f"{design} holds: {certificate.checked} counted")


@app.command()
def structure(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Blocks as text, CSV, JSON or npy.", show_default=False)],
    format: FormatOption = None,
    time_limit: Annotated[float, typer.Option(help="Seconds that the search for a resolution may take.")] = 10,
) -> None:
    """Verify the design in a file and describe it: strength, blocks, symmetry, resolvability."""
    from bibdlib.isomorphism import automorphism_group
    from bibdlib.t_designs import strength

    design = verified(load(file, format or format_of(file)))
    group = automorphism_group(design)
    meets = ", ".join(f"{size} ({pairs} pairs)" for size, pairs in design.block_intersections.items())
    typer.echo(f"{design}")
    typer.echo(f"strength: {strength(design)}")
    typer.echo(f"efficiency: {design.efficiency}")
    typer.echo(f"simple: {'yes' if design.is_simple else 'no'}")
    typer.echo(f"blocks meet in: {meets} points")
    typer.echo(f"automorphisms: {group.order}, {len(group.orbits)} orbits of points")
    typer.echo(f"resolvable: {_resolvability(design, time_limit)}")


def _resolvability(design: Design, time_limit: float) -> str:
    from bibdlib.resolve import resolution

    try:
        return "no" if resolution(design, time_limit=time_limit) is None else "yes"
    except TimeoutError:
        return f"not decided in {time_limit:g} seconds"


class TableFormat(StrEnum):
    """The formats of `bibdlib.table`."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


@app.command()
def table(
    r_max: Annotated[int, typer.Option("--r-max", help="Largest number of blocks through a point.")] = 41,
    format: Annotated[TableFormat, typer.Option("--format")] = TableFormat.TEXT,
) -> None:
    """Every admissible set of parameters with 3 <= k <= v/2: what is known of it, how it is built, by whom."""
    from bibdlib.table import render
    from bibdlib.table import table as rows

    typer.echo(render(rows(r_max), format), nl=False)


@app.command(name="list")
def list_constructions() -> None:
    """The constructions known, in the order in which they are tried."""
    width = max(map(len, bibdlib.CONSTRUCTIONS))
    for construction in bibdlib.CONSTRUCTIONS.values():
        typer.echo(f"{construction.name:{width}}  {construction.title} [{construction.reference}]")


app.command(name="search")(search_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `bibd` on the arguments, those of the process by default, and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code: int = app(arguments or ["--help"], prog_name="bibd", standalone_mode=False) or YES
    except typer.Abort:
        code = INTERRUPTED
    except UsageError as error:
        return _complain(error.format_message(), BAD_USE)
    except (NonexistentDesign, NotADesign) as error:
        return _complain(error, NO)
    except NoKnownConstruction as error:
        return _complain(error, UNKNOWN)
    except BibdError as error:
        return _complain(error, BAD_USE)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}", BAD_USE)
    except MemoryError:
        return _complain("the design does not fit into memory", BAD_USE)
    # Typer returns this code, or aborts, as its version has it.
    return _complain("interrupted", INTERRUPTED) if code == INTERRUPTED else code


def _complain(message: object, code: int) -> int:
    typer.echo(f"bibd: {message}", err=True)
    return code


def _code(verdict: Existence) -> int:
    return {Status.EXISTS: YES, Status.NONEXISTENT: NO, Status.UNKNOWN: UNKNOWN}[verdict.status]


if __name__ == "__main__":
    sys.exit(main())
