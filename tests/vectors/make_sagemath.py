"""Write sagemath.json beside this file: what SageMath says of designs, for test_sagemath.py to compare with.

SageMath is no dependency of this project. Run this in an environment of its own, such as

    python -m venv sage && sage/bin/pip install passagemath-combinat passagemath-graphs passagemath-schemes
    sage/bin/python tests/vectors/make_sagemath.py
"""

import json
from itertools import product
from pathlib import Path

import sage.rings.polynomial.laurent_polynomial_ring  # noqa: F401  (its matrices need it, and do not import it)
from sage.arith.misc import hilbert_symbol, is_prime_power
from sage.combinat.designs.bibd import BruckRyserChowla_check, balanced_incomplete_block_design
from sage.combinat.designs.block_design import AffineGeometryDesign, ProjectiveGeometryDesign
from sage.combinat.designs.difference_family import difference_family
from sage.features import FeatureNotPresentError
from sage.misc.unknown import Unknown
from sage.rings.finite_rings.finite_field_constructor import GF

VERDICTS = {True: "exists", False: "nonexistent", Unknown: "unknown"}
SPACES = [(2, 2), (2, 3), (2, 4), (2, 5), (2, 8), (2, 9), (3, 2), (3, 3), (4, 2), (5, 2)]
BUILT = [(7, 3, 1), (13, 4, 1), (15, 3, 1), (25, 4, 1), (21, 5, 1), (28, 4, 1), (11, 5, 2), (16, 6, 2), (19, 9, 4)]


def admissible(max_r: int) -> list[tuple[int, int, int]]:
    """3 <= k <= v / 2, whole r <= max_r, whole b, b >= v."""
    sets = []
    for r in range(3, max_r + 1):
        for k in range(3, r + 1):
            for lam in range(1, r):
                v, remainder = divmod(r * (k - 1), lam)
                v += 1
                if remainder == 0 and v * r % k == 0 and 2 * k <= v:
                    sets.append((v, k, lam))
    return sets


def verdict(v: int, k: int, lam: int) -> str:
    try:
        return VERDICTS[balanced_incomplete_block_design(v, k, lambd=lam, existence=True)]
    except (FeatureNotPresentError, NotImplementedError):
        return "unknown"


def symmetric(max_v: int) -> list[tuple[int, int, int]]:
    sets = [(v, k) for v in range(7, max_v) for k in range(3, v // 2 + 1) if k * (k - 1) % (v - 1) == 0]
    return [(v, k, k * (k - 1) // (v - 1)) for v, k in sets]


def rank(geometry, n: int, q: int, d: int) -> int:
    """The rank of the incidence matrix over the prime field, which tells designs of equal parameters apart."""
    design = geometry(n, d, GF(q, "a"))
    return int(design.incidence_matrix().change_ring(GF(is_prime_power(q, get_data=True)[0])).rank())


def ranks() -> list[list]:
    geometries = {"projective_geometry": ProjectiveGeometryDesign, "affine_geometry": AffineGeometryDesign}
    return [
        [name, n, q, d, rank(geometry, n, q, d)]
        for name, geometry in geometries.items()
        for n, q in SPACES
        for d in range(1, n)
    ]


def families() -> list[list]:
    """Prime powers q < 60 for which SageMath has a (q, k, lam) difference family."""
    candidates = [
        (q, k, lam)
        for q in range(7, 60)
        if is_prime_power(q)
        for k in range(3, 8)
        for lam in range(1, 5)
        if 2 * k < q and lam * (q - 1) % (k * (k - 1)) == 0
    ]
    return [list(p) for p in candidates if difference_family(*p, existence=True) is True]


def main() -> None:
    numbers = [a for a in range(-12, 13) if a]
    vectors = {
        "existence": [[*p, verdict(*p)] for p in admissible(15)],
        "bruck_ryser_chowla": [[*p, bool(BruckRyserChowla_check(*p))] for p in symmetric(400)],
        "hilbert_symbol": [
            [a, b, p, int(hilbert_symbol(a, b, p))]
            for a, b in product(numbers, repeat=2)
            if a <= b
            for p in (2, 3, 5, 7)
        ],
        "ranks": ranks(),
        "difference_families": families(),
        "designs": [
            {"v": v, "k": k, "lam": lam, "blocks": balanced_incomplete_block_design(v, k, lambd=lam).blocks()}
            for v, k, lam in BUILT
        ],
    }
    lines = [f'"{name}": {json.dumps(rows, separators=(",", ":"), default=int)}' for name, rows in vectors.items()]
    Path(__file__).with_name("sagemath.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
