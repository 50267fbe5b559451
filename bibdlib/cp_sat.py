"""OR-tools' CP-SAT, which Ctrl-C stops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bibdlib.extras import load

__all__ = ["solve"]


def solve(model: Any, **parameters: Any) -> tuple[Any, Any]:
    """A solver with these parameters (names of SatParameters) that has solved the model, and its status.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C. Left to itself, the solver would end this solution and say nothing.
    """
    solver = load("ortools.sat.python.cp_model", "search").CpSolver()
    for name, value in {"catch_sigint_signal": False, **parameters}.items():
        setattr(solver.parameters, name, value)
    # Python hears the signal only while the main thread is not within the solver.
    with ThreadPoolExecutor(1) as thread:
        solving = thread.submit(solver.solve, model)
        try:
            return solver, solving.result()
        except BaseException:
            solver.stop_search()
            raise
