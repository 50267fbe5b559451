"""The pages that the code itself tells: every room of both packages, the constructions, the commands."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

import typer
from results import results
from typer.cli import get_docs_for_click

import bibdlib
from bibdlib.table import table, totals

__all__ = ["generate"]

# A room stands under the first heading whose pattern it matches, a new one that matches none under the last.
ROOMS = {
    "bibdlib": {
        "From parameters to a design": ("catalogue", "parameters", "nonexistence", "open_cases", "table"),
        "Designs and what can be asked of them": (
            "design", "implicit*", "verify", "isomorphism", "automorphisms", "resol*", "t_design*", "errors",
        ),
        "Constructions": ("constructions*",),
        "Search": ("search*", "cp_sat"),
        "Files and pictures": ("io*", "plot", "extras"),
        "The arithmetic beneath": ("numbers", "fields", "groups", "permutation_groups", "figures", "compiled"),
        "More rooms": ("*",),
    },
    "iddl_prune": {
        "From a dense model to a sparse one": ("compress", "pruner", "plan", "layer_plan", "convert", "recover"),
        "What a layer gets": ("survey", "allocation", "choice", "importance"),
        "Patterns, and who plays what": ("pattern", "assign", "dependency", "group_fit"),
        "Layers, kernels, shipping": ("layers", "ops*", "optimize", "fold", "checkpoint", "export", "predict"),
        "Data, models, training": (
            "data", "preprocessing", "models", "finetune", "run", "refit", "densify", "processes",
        ),
        "Figures and pictures": ("measure", "inventory", "report", "pictures", "pipeline", "baselines"),
        "How the repair looks into a model": ("trail", "least_squares"),
        "Small things": ("errors", "files", "mode"),
        "More rooms": ("*",),
    },
}  # fmt: skip

R_MAX = 41

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

COMMANDS = {"bibd": "bibdlib.cli", "iddl-prune": "iddl_prune.cli"}


def generate(folder: Path) -> None:
    """Write the pages to the folder; one that would not change keeps its time, so that Sphinx skips it."""
    folder.mkdir(exist_ok=True)
    pages = {"constructions.md": _constructions(), "designs.md": _designs(), "results.md": results(RESULTS)}
    for package, headings in ROOMS.items():
        rooms = {module.__name__: module for module in _rooms(package)}
        pages[f"{package}.md"] = _index(package, headings, rooms)
        pages |= {f"{name}.rst": _room(module) for name, module in rooms.items()}
    pages |= {f"{name}.md": _command(name, module_name) for name, module_name in COMMANDS.items()}
    for path in folder.iterdir():
        if path.name not in pages and path.suffix != ".png":
            path.unlink()
    for name, content in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != content:
            path.write_text(content)


def _rooms(package: str) -> Iterator[ModuleType]:
    """The modules that define something public."""
    for found in walk_packages(import_module(package).__path__, f"{package}."):
        if ".cli" not in found.name and not found.name.endswith(".__main__"):
            module = import_module(found.name)
            if _own(module):
                yield module


def _own(module: ModuleType) -> list[str]:
    """Public names that the module defines itself; those it passes on are told where they are defined."""
    return [name for name in getattr(module, "__all__", ()) if _home(getattr(module, name)) == module.__name__]


def _home(thing: object) -> str:
    """The module in which a class or function stands."""
    return str(getattr(thing, "__module__", ""))


def _index(package: str, headings: dict[str, tuple[str, ...]], rooms: dict[str, ModuleType]) -> str:
    door = import_module(package)
    exported = ((name, _home(getattr(door, name))) for name in door.__all__)
    links = ", ".join(f"[`{name}`]({home}.rst)" for name, home in exported if home in rooms)
    lines = [f"# `{package}`", "", _first_line(door), "", f"`import {package}` offers {links}.", ""]
    left = dict(rooms)
    for heading, patterns in headings.items():
        here = [name for pattern in patterns for name in left if fnmatch(name.removeprefix(f"{package}."), pattern)]
        if here:
            lines += [f"## {heading}", ""]
            lines += [f"- [`{name}`]({name}.rst): {_first_line(left.pop(name))}" for name in here]
            lines += ["", "```{toctree}", ":hidden:", "", *here, "```", ""]
    return "\n".join(lines)


def _first_line(module: ModuleType) -> str:
    return str(module.__doc__).partition("\n")[0]


def _room(module: ModuleType) -> str:
    name = module.__name__
    return f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members: {', '.join(_own(module))}\n"


def _command(name: str, module_name: str) -> str:
    command = typer.main.get_command(import_module(module_name).app)
    return get_docs_for_click(obj=command, ctx=typer.Context(command), name=name, title=f"The command `{name}`")


def _constructions() -> str:
    lines = [
        "# Every registered construction",
        "",
        f"The {len(bibdlib.CONSTRUCTIONS)} theorems that `bibdlib.construct` tries, in this order.",
        "This page is printed from the registry when the documentation is built.",
        "",
        "| name | what it gives | source |",
        "|---|---|---|",
    ]
    for construction in bibdlib.CONSTRUCTIONS.values():
        cells = f"`{construction.name}`", *map(_cell, (construction.title, construction.reference))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _designs() -> str:
    rows = table(R_MAX)
    count = totals(rows)
    lines = [
        "# Which designs exist",
        "",
        f"Every set of parameters that counting allows with 3 ≤ k ≤ v/2, b ≥ v and r ≤ {R_MAX}, by r, then k, then λ.",
        f"Of these {len(rows)}, this version builds {count['exists']}, excludes {count['nonexistent']},",
        f"and of {count['unknown']} it does not know. *Unknown* to it, that is: the literature may know more.",
        "This page is printed by `bibdlib.table` when the documentation is built; nothing is built for it.",
        "",
        "| v | b | r | k | λ | verdict | construction or reason |",
        "|--:|--:|--:|--:|--:|---|---|",
    ]
    for row in rows:
        numbers = (str(number) for number in (row.v, row.b, row.r, row.k, row.lam))
        lines.append(f"| {' | '.join((*numbers, row.verdict, _cell(row.construction)))} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    for mark in "\\|*_[]<$":
        text = text.replace(mark, f"\\{mark}")
    return text
