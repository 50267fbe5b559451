"""What README and documentation show is what happens: their Python sessions, and their commands."""

import doctest
import re
import shlex
from pathlib import Path

import pytest
import typer

import bibdlib.cli
import iddl_prune.cli

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("tutorials/*.md")),
    *sorted((ROOT / "docs").glob("how-to/*.md")),
]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: Path, language: str) -> str:
    """The text of the blocks in a language; all other lines are blank, so that line numbers stay."""
    kept, inside = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            inside = line == f"```{language}"
            line = ""
        kept.append(line if inside else "")
    return "\n".join(kept) + "\n"


def commands(page: Path) -> list[tuple[str, str]]:
    """The commands of our own after a $, with what the page shows beneath."""
    shown = re.findall(r"^\$ (.*)\n((?:(?!\$ ).+\n)*)", blocks(page, "console"), flags=re.MULTILINE)
    return [(command, output) for command, output in shown if command.startswith(("bibd ", "iddl-prune "))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_sessions_of_a_page_go_as_it_shows(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    session = doctest.DocTestParser().get_doctest(blocks(page, "pycon"), {}, page.stem, str(page), 0)
    told: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(session, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize(
    ("command", "output"), [found for page in PAGES for found in commands(page)], ids=lambda text: text[:40]
)
def test_a_command_is_one_and_prints_what_the_page_shows(command, output, capfdbinary):
    program, *arguments = shlex.split(command)
    app = typer.main.get_command((bibdlib.cli if program == "bibd" else iddl_prune.cli).app)
    group = app.make_context(program, list(arguments))
    _, command_of_group, rest = app.resolve_command(group, [*group._protected_args, *group.args])
    command_of_group.make_context(program, rest, parent=group)
    if output:
        bibdlib.cli.main(arguments)
        assert capfdbinary.readouterr().out.decode() == output


def test_the_sessions_are_found():
    assert sum(blocks(page, "pycon").count(">>>") for page in PAGES) > 50
    assert sum(bool(output) for page in PAGES for _, output in commands(page)) >= 2
