"""The command `bibd search`: base blocks of a design, as an entry of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bibdlib.errors import InvalidParameters
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup, named_group, permutation_group
from bibdlib.search.ladder import ladder
from bibdlib.search.run import search

__all__ = ["search_command"]

_UNKNOWN = 3


def search_command(
    v: Annotated[int, typer.Argument(metavar="V", help="Number of points.", show_default=False)],
    k: Annotated[int, typer.Argument(metavar="K", help="Points on each block.", show_default=False)],
    lam: Annotated[int, typer.Argument(metavar="LAM", help="Blocks through every two points.")] = 1,
    group: Annotated[
        str | None,
        typer.Option(
            help="A name such as Z13:3, 2*Z10+inf or PSL(2,7) on {0,1}, or a JSON file of permutations; else a ladder."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="annealing, completion, exact, families, orbitals, quotients, rows, subgroups, or unions."),
    ] = "annealing",
    on_blocks: Annotated[
        str | None, typer.Option(help="For orbitals and rows: the same group on the blocks, as in 5*Z13:3+3inf.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed repeats the same search.")] = 0,
    time_limit: Annotated[float, typer.Option(help="Seconds for each group.")] = 60.0,
    state: Annotated[Path | None, typer.Option(help="Keep what is known in this file, and go on from it.")] = None,
) -> None:
    """Search for a design with a prescribed group; print its base blocks as JSON. Ctrl-C loses only the last round."""
    p = Parameters(v, k, lam)
    if group is None and state is not None:
        raise InvalidParameters("Option '--state' needs '--group': a state is that of one group.")
    for prescribed in ladder(p) if group is None else [group]:
        acting = None if on_blocks is None else _group("--on-blocks", on_blocks)
        result = search(
            p,
            _group("--group", prescribed),
            method=method,
            on_blocks=acting,
            seed=seed,
            time_limit=time_limit,
            state=state,
            progress=True,
        )
        if result.found:
            typer.echo(json.dumps(result.entry()))
            return
        least = "" if result.cost is None else f", lowest cost {result.cost}"
        outcome = "has no design of the kind" if result.exhausted else f"not found{least}"
        typer.echo(f"{p} under {prescribed}: {outcome} after {result.rounds} rounds", err=True)
    raise typer.Exit(_UNKNOWN)


def _group(option: str, name: str) -> PermutationGroup:
    if not name.endswith(".json"):
        return named_group(name)
    try:
        return permutation_group(json.loads(Path(name).read_text(encoding="utf-8")))
    except ValueError as error:
        raise InvalidParameters(
            f"Option '{option}' must name a JSON file of permutations, not {name}: {error}"
        ) from error
