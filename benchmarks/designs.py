"""Build and verify designs beside SageMath, the two sides taking turns in one run.

    python benchmarks/designs.py --sage PYTHON [--rounds 5] [--output benchmarks/results/designs.json]

PYTHON is an interpreter of an environment of its own that can import SageMath: `python3 -m venv sage &&
sage/bin/pip install passagemath-combinat passagemath-graphs passagemath-modules passagemath-schemes`.
Without --sage our side runs alone.
Each side is one process, its imports done before the clock starts. In every round each case is built and verified
on one side, then on the other; the figure is the median of the rounds, and the first round stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from math import prod
from pathlib import Path
from statistics import median

# Each case: what it is, our parameters, SageMath's call. SageMath's constructors of planes, (v, 4, 1), (v, 5, 1)
# and geometries verify on their own; of triple systems the check is called, since their constructor makes none.
CASES = {
    "plane of order 31": ((993, 32, 1), "projective_plane(31)"),
    "plane of order 64": ((4161, 65, 1), "projective_plane(64)"),
    "plane of order 127": ((16257, 128, 1), "projective_plane(127)"),
    "triple system on 999 points": ((999, 3, 1), "checked(bibd(999, 3), 3, 1)"),
    "triple system on 3003 points": ((3003, 3, 1), "checked(bibd(3003, 3), 3, 1)"),
    "(1996, 4, 1)": ((1996, 4, 1), "bibd(1996, 4)"),
    "(1001, 5, 1)": ((1001, 5, 1), "bibd(1001, 5)"),
    "hyperplanes of PG(5, 3)": ((364, 121, 40), "geometry(5, 4, GF(3))"),
}

# Both sides read a line of JSON, do the work it names and answer with the seconds it took.
SERVE = """
import json, sys, time
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    blocks = work(json.loads(line))
    print(json.dumps([time.perf_counter() - start, blocks]), flush=True)
"""

OURS = f"""
from bibdlib import construct

def work(parameters):
    return construct(*parameters).b
{SERVE}"""

SAGE = f"""
from sage.combinat.designs.bibd import balanced_incomplete_block_design as bibd
from sage.combinat.designs.block_design import ProjectiveGeometryDesign as geometry, projective_plane
from sage.rings.finite_rings.finite_field_constructor import GF

def checked(design, k, lam):
    assert design.is_t_design(2, design.num_points(), k, lam)
    return design

def work(call):
    return eval(call).num_blocks()
{SERVE}"""


class Side:
    """A process that times what it is asked to build and verify."""

    def __init__(self, python: str, code: str) -> None:
        self.process = subprocess.Popen(
            [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.answer()

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.process.args[:1])} stopped; its error is above")
        return line

    def time(self, work: object) -> tuple[float, int]:
        self.process.stdin.write(json.dumps(work) + "\n")
        return tuple(json.loads(self.answer()))


def run(sage: str | None, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each case on each side, round by round."""
    sides = {"ours": Side(sys.executable, OURS)} | ({"sagemath": Side(sage, SAGE)} if sage else {})
    seconds: dict[str, dict[str, list[float]]] = {name: {side: [] for side in sides} for name in CASES}
    for turn in range(rounds):
        for name, (parameters, call) in CASES.items():
            counts = set()
            for side, process in sides.items():
                taken, blocks = process.time(parameters if side == "ours" else call)
                seconds[name][side].append(taken)
                counts.add(blocks)
            if len(counts) > 1:
                raise SystemExit(f"{name}: the two sides disagree on the number of blocks, {counts}")
            figures = ", ".join(f"{side} {times[-1]:.4f} s" for side, times in seconds[name].items())
            print(f"round {turn + 1}: {name}: {figures}", flush=True)
    return seconds


def summary(seconds: dict[str, dict[str, list[float]]]) -> dict[str, object]:
    """Medians and first rounds, how many times faster we are in each case, and the geometric means."""
    cases = {}
    for name, sides in seconds.items():
        cases[name] = {
            side: {"median_s": median(times), "first_s": times[0], "rounds_s": times} for side, times in sides.items()
        }
        if "sagemath" in sides:
            for figure in ("median_s", "first_s"):
                cases[name][f"faster_{figure[:-2]}"] = cases[name]["sagemath"][figure] / cases[name]["ours"][figure]
    result: dict[str, object] = {"cases": cases}
    for figure in ("faster_median", "faster_first"):
        ratios = [case[figure] for case in cases.values() if figure in case]
        if ratios:
            result |= {f"{figure}_geometric_mean": prod(ratios) ** (1 / len(ratios)), f"{figure}_least": min(ratios)}
    return result


def machine(sage: str | None) -> dict[str, object]:
    """What ran, and on what."""
    asked = "from importlib.metadata import version; print(version('passagemath-combinat'))"
    theirs = subprocess.run([sage, "-c", asked], capture_output=True, text=True).stdout.strip() if sage else None
    return {
        "command": "python benchmarks/designs.py --sage PYTHON",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "bibdlib": version("iddl"),
        "sagemath": theirs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sage", metavar="PYTHON", help="interpreter that can import SageMath")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "designs.json")
    arguments = parser.parse_args()
    result = machine(arguments.sage) | {"rounds": arguments.rounds} | summary(run(arguments.sage, arguments.rounds))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    for name, case in result["cases"].items():
        print(
            f"{name:30}",
            *(f"{side} {case[side]['median_s']:9.4f} s" for side in ("ours", "sagemath") if side in case),
            f"{case['faster_median']:8.1f} times" if "faster_median" in case else "",
        )
    if arguments.sage:
        print(
            f"geometric mean {result['faster_median_geometric_mean']:.1f}, least {result['faster_median_least']:.1f}; "
            f"first round {result['faster_first_geometric_mean']:.1f} and {result['faster_first_least']:.1f}"
        )


if __name__ == "__main__":
    main()
