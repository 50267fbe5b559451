"""How many sets of the table are built, impossible and unknown, by lam and by r, beside SageMath's answers.

    python benchmarks/coverage.py [--r-max 41] [--sage PYTHON] [--output benchmarks/results/coverage.json]

PYTHON is an interpreter that can import SageMath (`pip install passagemath-graphs` in an environment of its own).
Without it the answers of SageMath that the JSON holds are kept.
Every design of either side is built and its pairs are counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from statistics import median

from bibdlib import Design, Parameters, existence, find, verify
from bibdlib.nonexistence import Status, refute
from bibdlib.table import admissible

ANSWERS = ("built", "impossible", "unknown")
LAMS = {"lam = 1": lambda lam: lam == 1, "lam = 2": lambda lam: lam == 2, "lam > 2": lambda lam: lam > 2}
BOUNDS = (10, 20, 41)
SECONDS_A_SET = 60

# Runs under the other interpreter: one line of parameters in, one line of blocks or of a verdict out.
SAGE = f"""
import json, signal, sys
from sage.combinat.designs.bibd import balanced_incomplete_block_design
from sage.categories.sets_cat import EmptySetError  # after the other: it cannot be imported alone

def stop(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, stop)
for line in sys.stdin:
    signal.alarm({SECONDS_A_SET})
    try:
        design = balanced_incomplete_block_design(*json.loads(line))
        number = {{point: i for i, point in enumerate(design.ground_set())}}
        answer = [[number[point] for point in block] for block in design.blocks()]
    except EmptySetError:
        answer = "impossible"
    except NotImplementedError:
        answer = "unknown"
    except Exception as error:
        answer = f"{{type(error).__name__}}: {{error}}"
    signal.alarm(0)
    print(json.dumps(answer), flush=True)
"""


def ours(sets: list[Parameters]) -> tuple[dict[Parameters, str], list[float]]:
    """Our answers, and the seconds that each decision, construction and verification took."""
    answers, seconds = {}, []
    for p in sets:
        start = time.perf_counter()
        verdict = existence(p.v, p.k, p.lam)
        if verdict.status is Status.EXISTS:
            find(p).build()  # counts every pair, or raises
        seconds.append(time.perf_counter() - start)
        answers[p] = {Status.EXISTS: "built", Status.NONEXISTENT: "impossible"}.get(verdict.status, "unknown")
    return answers, seconds


def sages(sets: list[Parameters], python: Path) -> dict[Parameters, str]:
    """SageMath's answers in one call each; a design that fails the count, or an error, is an answer of its own."""
    lines = "".join(json.dumps([p.v, p.k, p.lam]) + "\n" for p in sets)
    run = subprocess.run([python, "-c", SAGE], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    return {p: _judged(p, json.loads(line)) for p, line in zip(sets, run.stdout.splitlines(), strict=True)}


def _judged(p: Parameters, answer: list[list[int]] | str) -> str:
    if isinstance(answer, str):
        return answer
    return "built" if verify(Design(p, answer)) else "wrong design"


def count(answers: dict[Parameters, str]) -> dict[str, dict[str, dict[str, int]]]:
    """Answers by r and lam: {"r <= 10": {"lam = 1": {"built": ...}}}."""
    counts = {}
    for bound in BOUNDS:
        within = {p: answer for p, answer in answers.items() if p.r <= bound}
        rows = {name: Counter(a for p, a in within.items() if chosen(p.lam)) for name, chosen in LAMS.items()}
        counts[f"r <= {bound}"] = {
            name: dict.fromkeys(ANSWERS, 0) | dict(row)
            for name, row in (rows | {"all": Counter(within.values())}).items()
        }
    return counts


def contradictions(answers: dict[Parameters, str], ours: dict[Parameters, str]) -> list[str]:
    """Sets called impossible that we have built, and those built that a theorem excludes."""
    return [
        str(p)
        for p, answer in answers.items()
        if (answer == "impossible" and ours[p] == "built") or (answer == "built" and refute(p) is not None)
    ]


def show(name: str, counts: dict[str, dict[str, dict[str, int]]]) -> None:
    """Print one side."""
    print(f"{name:10}{'':10}" + "".join(f"{answer:>12}" for answer in ANSWERS))
    for bound, rows in counts.items():
        for row, numbers in rows.items():
            print(f"{bound:10}{row:10}" + "".join(f"{numbers[answer]:12}" for answer in ANSWERS))


def main() -> None:
    """Measure and print; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--r-max", type=int, default=41)
    parser.add_argument("--sage", type=Path, help="a Python that imports SageMath")
    parser.add_argument("--output", type=Path, help="write JSON here")
    options = parser.parse_args()

    sets = list(admissible(options.r_max))
    answers, seconds = ours(sets)
    result = {
        "sets": len(sets),
        "bibdlib": count(answers),
        "seconds": {"all": sum(seconds), "median": median(seconds), "longest": max(seconds)},
        "unknown": [[p.v, p.k, p.lam] for p in sets if answers[p] == "unknown"],
    }
    show("bibdlib", result["bibdlib"])
    print("decided, built and counted: " + ", ".join(f"{name} {s:.4f} s" for name, s in result["seconds"].items()))
    if options.sage:
        theirs = sages(sets, options.sage)
        result["sage"] = count(theirs)
        result["sage_contradicted"] = contradictions(theirs, answers)
        result["sage_errors"] = {str(p): answer for p, answer in theirs.items() if answer not in ANSWERS}
        show("SageMath", result["sage"])
        print(f"called impossible by SageMath, built here: {', '.join(result['sage_contradicted']) or 'none'}")
    elif options.output and options.output.exists():
        earlier = json.loads(options.output.read_text())
        result |= {part: earlier[part] for part in earlier if part.startswith("sage")}
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
