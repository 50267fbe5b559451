"""The command `iddl-prune`: prune a model, which needs no verb, and what can be done with the folder that comes out."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

from bibdlib import BibdError
from iddl_prune.cli.folder import export, info, measure, optimize, predict
from iddl_prune.cli.prune import prune
from iddl_prune.errors import PruneError

__all__ = ["app", "main"]

_FIRST = "prune"


class _PruneFirst(TyperGroup):
    """`iddl-prune MODEL ...` is `iddl-prune prune MODEL ...`; what goes wrong in any command is one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            if meant := get_close_matches(args[0], self.commands) if args else []:
                ctx.fail(f"There is no command and no model {args[0]!r}. Did you mean {meant[0]!r}?")
            args = [_FIRST, *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (PruneError, BibdError) as error:
            typer.echo(f"iddl-prune: {error}", err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as stop:
            typer.echo(f"iddl-prune: {stop or 'stopped'} Go on with the same command and --resume.", err=True)
            raise typer.Exit(130) from stop


app = typer.Typer(
    cls=_PruneFirst,
    help="Connect a model by block designs: `iddl-prune MODEL`. The other commands take the folder of a sparse model.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(_FIRST)(prune)
for command in (info, measure, optimize, export, predict):
    app.command()(command)


def main() -> None:
    """Entry point of the command."""
    sys.exit(app())
