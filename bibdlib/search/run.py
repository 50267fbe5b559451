"""One search: parameters, a group, a method and a seed; interrupted, it goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from bibdlib.design import Design
from bibdlib.errors import InvalidParameters, as_integer, as_seconds
from bibdlib.parameters import Parameters
from bibdlib.permutation_groups import PermutationGroup, named_group
from bibdlib.search.annealing import Annealing
from bibdlib.search.completion import Completion
from bibdlib.search.families import Families
from bibdlib.search.lists import Lists
from bibdlib.search.orbit_matrix import OrbitEquations
from bibdlib.search.orbitals import OrbitalIncidence
from bibdlib.search.outcome import Outcome
from bibdlib.search.quotients import Quotients
from bibdlib.search.rows import Rows
from bibdlib.search.subgroups import Subgroups
from bibdlib.search.unions import Unions
from bibdlib.verify import verified

__all__ = ["METHODS", "SearchResult", "search"]


_SECONDS = 60.0
_KNOWN = ("rounds", "cost", "base_blocks", "exhausted")


class Method(Protocol):
    """A search in rounds, each of which depends on the seed and its number alone."""

    def round(self, number: int) -> Outcome:
        """Run a round."""


METHODS: dict[str, Callable[..., Method]] = {
    "annealing": Annealing,
    "completion": Completion,
    "exact": OrbitEquations,
    "families": Families,
    "lists": Lists,
    "orbitals": OrbitalIncidence,
    "quotients": Quotients,
    "rows": Rows,
    "subgroups": Subgroups,
    "unions": Unions,
}


@dataclass(frozen=True)
class SearchResult:
    """What a search knows when it stops.

    Attributes
    ----------
    parameters, group, method, seed
        What was asked.
    rounds
        Rounds run so far, those of an earlier, interrupted search included.
    cost
        The lowest sum of (covered - lam)^2 over the pair orbits; 0 is a design, None says that there is none to tell.
    base_blocks
        The base blocks of that cost.
    exhausted
        Whether the method proved that it cannot find a design under this group.
    on_blocks
        What the group does to the blocks, if that was asked.
    time_limit
        Seconds after which no new round began.
    """

    parameters: Parameters
    group: PermutationGroup
    method: str
    seed: int
    rounds: int = 0
    cost: int | None = None
    base_blocks: list[list[int]] = field(default_factory=list, repr=False)
    exhausted: bool = False
    on_blocks: PermutationGroup | None = None
    time_limit: float = _SECONDS

    @property
    def found(self) -> bool:
        """Whether the base blocks are those of a design."""
        return self.cost == 0

    @property
    def command(self) -> str:
        """The shell command that repeats the search."""
        p = self.parameters
        group = self.group.name or "permutations.json"
        method = "" if self.method == "annealing" else f" --method {self.method}"
        blocks = "" if self.on_blocks is None else f' --on-blocks "{self.on_blocks.name or "permutations.json"}"'
        limit = "" if self.time_limit <= _SECONDS else f" --time-limit {self.time_limit:g}"
        return f'bibd search {p.v} {p.k} {p.lam} --group "{group}"{blocks}{method} --seed {self.seed}{limit}'

    def design(self) -> Design:
        """The design, every pair counted.

        Raises
        ------
        InvalidParameters
            If the search has not found one.
        """
        if not self.found:
            raise InvalidParameters(f"The search has found no {self.parameters} design; its cost is {self.cost}.")
        return verified(Design(self.parameters, self.group.develop(self.base_blocks)))

    def entry(self) -> dict[str, Any]:
        """The design as JSON, under a named group in the form that `bibdlib.constructions.sporadic` reads."""
        self.design()
        return {
            **asdict(self.parameters),
            "group": _name(self.group),
            "base_blocks": self.base_blocks,
            "origin": self.command,
        }


def search(
    parameters: Parameters,
    group: str | PermutationGroup,
    *,
    method: str = "annealing",
    on_blocks: str | PermutationGroup | None = None,
    seed: int = 0,
    time_limit: float = _SECONDS,
    state: str | Path | None = None,
    progress: bool = False,
) -> SearchResult:
    """Look for a design on which a prescribed group acts.

    Parameters
    ----------
    parameters
        The design's.
    group
        A name, see `bibdlib.permutation_groups.named_group`, or a group on the v points.
    method
        "annealing": local search on the base blocks, laid out by the lengths of their orbits. Proves nothing.
        "completion": base blocks drawn so that they fit, and the last one or two found among all that still do. For
        groups that leave one to three base blocks with trivial stabilizer; proves nothing.
        "exact": CP-SAT on the orbit matrix of Kramer and Mesner. For few orbits on k-subsets; proves that there is
        no design under the group if there is none.
        "families": how many points each base block has in each of one or two orbits, drawn by CP-SAT, then how many
        in those of smaller and smaller normal subgroups; the parts in two orbits are difference families, turned to
        fit. For groups that are regular on one or two orbits, fix all other points and leave two to six base blocks,
        each fixed by a cyclic normal subgroup; proves that there is none with such base blocks where no such numbers
        exist.
        "lists": base blocks listed by stabilizer, and drawn where fewest fit until the others can meet in the middle.
        For groups, with orbits of any lengths, that leave at most nine base blocks; proves nothing.
        "orbitals": CP-SAT on the incidence matrix, the action of the group on the blocks being prescribed too.
        "quotients": base blocks modulo a normal subgroup by local search, then those that lie above them, which meet
        in the middle. For groups that leave at most four base blocks and have an intransitive normal subgroup with at
        most 16 kinds of pairs of its orbits; proves nothing.
        "rows": how often each point orbit meets each block orbit, drawn by CP-SAT, then the rows of the incidence
        matrix that suit it. For groups of 5 to 40 elements and few orbits; proves that there is no design where no
        such numbers exist.
        "subgroups": base blocks that are unions of orbits of subgroups drawn at random, and CP-SAT for how many times
        each counts. For groups of about b elements and more; proves nothing.
        "unions": base blocks drawn as unions of orbits of subgroups, at most five of which make a design. For groups
        of about b elements; proves nothing.
    on_blocks
        For "orbitals" and "rows": the same group on the b blocks, with the same generators in their order, as in
        "4*Z13:3" on 52 points and "5*Z13:3+3inf" on 68 blocks. By default as on the points of a symmetric design.
    seed
        The same seed repeats the same rounds.
    time_limit
        Seconds after which no new round begins.
    state
        A JSON file, written after every round. If it exists the search goes on from there.
    progress
        Show rounds and the lowest cost on stderr.

    Raises
    ------
    InvalidParameters
        If a group acts on another number of points or blocks, the parameters are not admissible, the method is
        unknown, `time_limit` is negative, the orbits are too many, or `state` holds another search.
    """
    acting = named_group(group) if isinstance(group, str) else group
    seed = as_integer("seed", seed, 0)
    if not parameters.is_admissible:
        raise InvalidParameters(f"Argument 'parameters' must have whole b and r, not {parameters}.")
    if acting.v != parameters.v:
        raise InvalidParameters(f"Argument 'group' must act on v = {parameters.v} points, not {acting.v}.")
    if method not in METHODS:
        raise InvalidParameters(f"Argument 'method' must be one of {', '.join(METHODS)}, not {method!r}.")
    on_blocks = named_group(on_blocks) if isinstance(on_blocks, str) else on_blocks
    if on_blocks is not None and method not in ("orbitals", "rows"):
        raise InvalidParameters(f"Argument 'on_blocks' is for the methods 'orbitals' and 'rows', not {method!r}.")
    if on_blocks is not None and on_blocks.v != parameters.b:
        raise InvalidParameters(f"Argument 'on_blocks' must act on b = {parameters.b} blocks, not {on_blocks.v}.")
    if on_blocks is None and method in ("orbitals", "rows") and parameters.b != parameters.v:
        raise InvalidParameters(f"Argument 'on_blocks' must be given for {method!r}: {parameters} is not symmetric.")
    time_limit = as_seconds("time_limit", time_limit)
    result = SearchResult(parameters, acting, method, seed, on_blocks=on_blocks, time_limit=time_limit)
    if state is not None and Path(state).exists():
        result = _load(result, Path(state))
    running = METHODS[method](parameters, acting, seed, *[on_blocks] * (on_blocks is not None))
    stop = time.monotonic() + time_limit
    with _Progress(result, progress) as shown:
        while not (result.found or result.exhausted) and time.monotonic() < stop:
            result = _after(result, _round(running, result.rounds))
            if state is not None:
                _save(result, Path(state))
            shown(result)
    if result.found:
        result.design()
    return result


def _round(running: Method, number: int) -> Outcome:
    """A round, out of which Ctrl-C comes as such: numba reports one that waited for a compiled loop as SystemError."""
    try:
        return running.round(number)
    except SystemError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__cause__
        raise cause or error from None


def _after(result: SearchResult, outcome: Outcome) -> SearchResult:
    better = outcome.cost is not None and (result.cost is None or outcome.cost < result.cost)
    cost, base_blocks = (outcome.cost, outcome.base_blocks) if better else (result.cost, result.base_blocks)
    return replace(result, rounds=result.rounds + 1, cost=cost, base_blocks=base_blocks, exhausted=outcome.exhausted)


def _name(group: PermutationGroup) -> str | list[list[int]]:
    return group.name or group.generators.tolist()


def _asked(result: SearchResult) -> dict[str, Any]:
    return {
        "parameters": asdict(result.parameters),
        "group": _name(result.group),
        "method": result.method,
        "seed": result.seed,
        "on_blocks": None if result.on_blocks is None else _name(result.on_blocks),
    }


def _save(result: SearchResult, path: Path) -> None:
    known = {name: getattr(result, name) for name in _KNOWN}
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps({**_asked(result), **known}), encoding="utf-8")
    fresh.replace(path)


def _load(asked: SearchResult, path: Path) -> SearchResult:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same = all(kept[name] == value for name, value in _asked(asked).items())
        known = {name: kept[name] for name in _KNOWN}
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidParameters(f"Argument 'state' must name the state of a search, not {path}: {error!r}.") from error
    if not same:
        raise InvalidParameters(f"Argument 'state' must name the state of this search; {path} is of another one.")
    return replace(asked, **known)


class _Progress:
    """A line on stderr that says how the search stands; silent unless asked for."""

    def __init__(self, result: SearchResult, wanted: bool) -> None:
        self._status = None
        if wanted:
            from rich.console import Console

            self._status = Console(stderr=True).status(f"{result.parameters} under {result.group.name or 'the group'}")

    def __enter__(self) -> Callable[[SearchResult], None]:
        if self._status is not None:
            self._status.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def _show(self, result: SearchResult) -> None:
        if self._status is not None:
            name = result.group.name or "the group"
            self._status.update(f"{result.parameters} under {name}: round {result.rounds}, lowest cost {result.cost}")
