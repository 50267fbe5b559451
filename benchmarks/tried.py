"""What was tried on the smallest sets that are still unknown: which groups can act on no such design, which may.

    python benchmarks/tried.py [--sets 20] [--seconds 5] [--output benchmarks/results/tried.json]

For each set, groups Z_p extended by multipliers, p prime, that fix each of their orbits, with a few fixed points and
blocks; the method is "rows" of `bibdlib.search`. A group is *excluded* where the solver proves that its orbits cannot
meet as they must. Reads the list of unknown sets from `coverage.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from sympy import primerange, primitive_root

from bibdlib import Parameters
from bibdlib.search import search

RESULTS = Path(__file__).parent / "results"
FIXED_POINTS, FIXED_BLOCKS, BLOCK_ORBITS = 3, 6, 12


def groups(p: Parameters) -> Iterator[tuple[str, str]]:
    """Names of a group's action on points and on blocks: few orbits, each of which a multiplier keeps."""
    for q in primerange(5, p.v + 1):
        fixed, fixed_blocks = p.v % q, int(p.b) % q
        if fixed > FIXED_POINTS or fixed_blocks > FIXED_BLOCKS or p.b // q > BLOCK_ORBITS:
            continue
        for classes in range(2, 7):
            if (q - 1) % classes == 0 and classes < q - 1:
                unit = pow(int(primitive_root(q)), classes, q)
                yield tuple(
                    f"Z{q}:{unit} on {number // q}*{q}" + (f" + {number % q}*1" if number % q else "")
                    for number in (p.v, int(p.b))
                )


def tried(p: Parameters, seconds: float) -> list[dict[str, object]]:
    """A record for each group, until one has a design."""
    records: list[dict[str, object]] = []
    for on_points, on_blocks in groups(p):
        started = time.perf_counter()
        told = {} if p.is_symmetric else {"on_blocks": on_blocks}
        result = search(p, on_points, method="rows", time_limit=seconds, **told)
        verdict = "found" if result.found else "excluded" if result.exhausted else "open"
        records.append(
            {
                "group": on_points,
                "on_blocks": on_blocks,
                "verdict": verdict,
                "rounds": result.rounds,
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
        print(p, records[-1], flush=True)
        if result.found:
            print(result.entry())
            break
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0, help="after which a group gets no new round")
    parser.add_argument("--output", type=Path, default=RESULTS / "tried.json")
    options = parser.parse_args()
    unknown = json.loads((RESULTS / "coverage.json").read_text())["unknown"]
    smallest = sorted((Parameters(*known) for known in unknown), key=lambda p: (p.v, p.b))[: options.sets]
    result = {
        "command": "python benchmarks/tried.py",
        "sets": [{"parameters": [p.v, p.k, p.lam], "tried": tried(p, options.seconds)} for p in smallest],
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
