"""Group divisible designs: two points lie in a common group, or in lam blocks, and groups can be filled.

Recursion through them is Wilson's fundamental construction: give weights to the points of one design, replace each
block by a smaller group divisible design, then put a design on every group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bibdlib.constructions.orthogonal_arrays import has_orthogonal_array, orthogonal_array
from bibdlib.constructions.registry import Match, Matches, register
from bibdlib.design import Design
from bibdlib.parameters import Parameters

__all__ = ["fill_groups", "inflated_design", "inflated_punctured_design", "pairwise_balanced", "truncated_transversal"]

Blocks = npt.NDArray[np.int64]


def fill_groups(blocks: Any, groups: list[Blocks], fillers: list[Design | None], extra: int = 0) -> Blocks:
    """Blocks of a group divisible design and those of one design on each group and `extra` more points.

    The extra points follow the others. Two or more of them are a block of every filler (lam = 1), kept once.
    A filler may be None where group and extra points are a single point together.
    """
    v = sum(len(group) for group in groups)
    parts = [np.asarray(blocks, dtype=np.int64)]
    for i, (group, filler) in enumerate(zip(groups, fillers, strict=True)):
        if filler is not None:
            inner = filler.blocks
            if extra > 1:
                inner = _with_last_block(inner, filler.v)
                inner = inner if i == 0 else inner[1:]
            parts.append(np.concatenate([group, v + np.arange(extra)])[inner])
    return np.concatenate(parts)


def _with_last_block(blocks: Any, v: int) -> Blocks:
    """The blocks after a renumbering that makes the first of them the last points."""
    first = blocks[0]
    order = np.concatenate([np.setdiff1d(np.arange(v), first), first])
    return np.asarray(np.argsort(order)[blocks])


def _extras(p: Parameters) -> tuple[int, ...]:
    """How many points may be added to every group: none, one, or for lam = 1 a common block."""
    return (0, 1, p.k) if p.lam == 1 else (0, 1)


def _possible(v: int, k: int, lam: int) -> bool:
    """Whether the numbers of a design on v points come out whole (v = 1 needs no block)."""
    return v == 1 or (v >= k and lam * (v - 1) % (k - 1) == 0 and lam * v * (v - 1) % (k * (k - 1)) == 0)


def _needs(k: int, lam: int, *sizes: int) -> tuple[Parameters, ...]:
    return tuple(Parameters(v, k, lam) for v in sizes if v > 1)


def _designs(designs: tuple[Design, ...], *sizes: int) -> list[Design | None]:
    """The designs handed over for `_needs` with these sizes, None for a single point."""
    ready = iter(designs)
    return [next(ready) if v > 1 else None for v in sizes]


def _inflate(blocks: Any, n: int) -> Blocks:
    """Every point n times, every block an orthogonal array: point x becomes x n .. x n + n - 1."""
    blocks = np.asarray(blocks, dtype=np.int64)
    array = orthogonal_array(blocks.shape[1], n)
    return np.asarray((blocks[:, None, :] * n + array[None]).reshape(-1, blocks.shape[1]))


def _matches_inflated(p: Parameters) -> Matches:
    for extra in _extras(p):
        total = p.v - extra
        for n in range(2, total // p.k + 1):
            u = total // n
            whole = total % n == 0 and _possible(u, p.k, p.lam) and _possible(n + extra, p.k, p.lam)
            if whole and has_orthogonal_array(p.k, n):
                yield Match({"n": n, "extra": extra}, _needs(p.k, p.lam, u, n + extra))


@register(
    title="design with every point inflated",
    reference="R. M. Wilson, J. Combin. Theory A 13 (1972) 220-245",
    matches=_matches_inflated,
)
def inflated_design(master: Design, filler: Design, n: int, extra: int = 0) -> Blocks:
    """(u, k, lam) and (n + e, k, lam) give (u n + e, k, lam), if OA(k, n) exists."""
    groups = list(np.arange(master.v * n).reshape(master.v, n))
    return fill_groups(_inflate(master.blocks, n), groups, [filler] * master.v, extra)


def _matches_inflated_punctured(p: Parameters) -> Matches:
    k = p.k
    for extra in _extras(p):
        total = p.v - extra
        for n in range(2, total // (k * (k - 1)) + 1):
            u = total // n + 1
            whole = total % n == 0 and _possible(u, k, 1) and _possible((k - 1) * n + extra, k, p.lam)
            if whole and has_orthogonal_array(k, n):
                needs = Parameters(u, k, 1), Parameters((k - 1) * n + extra, k, p.lam)
                yield Match({"n": n, "lam": p.lam, "extra": extra}, needs)


@register(
    title="design with a point removed and every other inflated",
    reference="R. M. Wilson, J. Combin. Theory A 13 (1972) 220-245",
    matches=_matches_inflated_punctured,
)
def inflated_punctured_design(master: Design, filler: Design, n: int, lam: int = 1, extra: int = 0) -> Blocks:
    """(u, k, 1) and ((k-1) n + e, k, lam) give ((u-1) n + e, k, lam), if OA(k, n) exists."""
    blocks, groups = _puncture(master)
    wide = [(group[:, None] * n + np.arange(n)).ravel() for group in groups]
    return fill_groups(np.tile(_inflate(blocks, n), (lam, 1)), wide, [filler] * len(wide), extra)


def _puncture(design: Design) -> tuple[Blocks, Blocks]:
    """The blocks of a (u, k, 1) off its last point, and what is left of those through it, as groups."""
    through = (design.blocks == design.v - 1).any(axis=1)
    return np.asarray(design.blocks[~through]), np.asarray(design.blocks[through][:, :-1])


def _cuts(total: int, k: int) -> Iterator[tuple[int, int]]:
    """Ways to write a number as k n + m with 0 <= m <= n, where OA(k + 1, n), or OA(k, n) if m = 0, is known."""
    for n in range(total // k, (total - 1) // (k + 1), -1):
        m = total - k * n
        if has_orthogonal_array(k + (m > 0), n):
            yield n, m


def _matches_truncated(p: Parameters) -> Matches:
    k, lam = p.k, p.lam
    total, remainder = divmod(p.v - 1, k - 1)
    if remainder == 0 and total > k:
        for n, m in _cuts(total, k):
            sizes = (k - 1) * n + 1, (k - 1) * m + 1
            if all(_possible(size, k, lam) for size in sizes):
                planes = Parameters(k * k - k + 1, k, 1), Parameters(k * k, k, 1)
                yield Match({"n": n, "m": m, "lam": lam}, (*planes[: 1 + (m > 0)], *_needs(k, lam, *sizes)))


@register(
    title="truncated transversal design with weights k - 1",
    reference="R. M. Wilson, J. Combin. Theory A 13 (1972) 220-245; H. Hanani, Discrete Math. 11 (1975) 255-369",
    matches=_matches_truncated,
)
def truncated_transversal(*designs: Design, n: int, m: int, lam: int = 1) -> Blocks:
    """((k-1)n + 1, k, lam), ((k-1)m + 1, k, lam) and planes of order k - 1 and k give ((k-1)(kn + m) + 1, k, lam)."""
    k = designs[0].k
    planes, fillers = designs[: 1 + (m > 0)], designs[1 + (m > 0) :]
    weight = k - 1
    parts = [_weigh(rows, plane) for rows, plane in zip(_truncated(k, n, m), planes, strict=False) if len(rows)]
    groups = np.split(np.arange(weight * (k * n + m)), weight * n * np.arange(1, k + 1))
    large, small = _designs(fillers, weight * n + 1, weight * m + 1)
    return fill_groups(np.tile(np.concatenate(parts), (lam, 1)), groups, [large] * k + [small], 1)


def _truncated(k: int, n: int, m: int) -> tuple[Blocks, Blocks]:
    """Blocks of size k and of size k + 1 of TD(k + 1, n), its last group cut to m points."""
    if m == 0:
        return orthogonal_array(k, n) + n * np.arange(k), np.empty((0, k + 1), dtype=np.int64)
    rows = orthogonal_array(k + 1, n)
    kept = rows[:, k] < m
    rows = rows + n * np.arange(k + 1)
    return rows[~kept, :k], rows[kept]


def _weigh(rows: Blocks, plane: Design) -> Blocks:
    """Every block replaced by the plane without a point: its groups, of k - 1 points each, are the block's points."""
    blocks, groups = _puncture(plane)
    group, place = np.empty(plane.v - 1, dtype=np.int64), np.empty(plane.v - 1, dtype=np.int64)
    group[groups] = np.arange(len(groups))[:, None]
    place[groups] = np.arange(groups.shape[1])
    return np.asarray((rows[:, group[blocks]] * groups.shape[1] + place[blocks]).reshape(-1, blocks.shape[1]))


def _matches_pairwise_balanced(p: Parameters) -> Matches:
    k, lam = p.k, p.lam
    for size in range(k, p.v):
        if size * (size - 1) >= p.v:
            break
        for extra in (0, 1):
            for n, m in _cuts(p.v - extra, size):
                sizes = [size, *[size + 1] * (m > 0), n + extra, *[m + extra] * (m > 0)]
                if n >= size and all(_possible(s, k, lam) for s in sizes):
                    yield Match({"size": size, "n": n, "m": m, "extra": extra}, _needs(k, lam, *sizes))


@register(
    title="truncated transversal design with a design on every block and group",
    reference="H. Hanani, Ann. Math. Statist. 32 (1961) 361-386; R. M. Wilson, J. Combin. Theory A 13 (1972) 220-245",
    matches=_matches_pairwise_balanced,
)
def pairwise_balanced(*designs: Design, size: int, n: int, m: int, extra: int = 0) -> Blocks:
    """Designs of size K, K + 1, n + e, m + e points with the same k and lam give one on K n + m + e points."""
    sizes = [size, *[size + 1] * (m > 0), n + extra, *[m + extra] * (m > 0)]
    on_small, *rest = _designs(designs, *sizes)
    on_large = rest.pop(0) if m > 0 else None
    small, large = _truncated(size, n, m)
    parts = [rows[:, on.blocks].reshape(-1, on.k) for rows, on in ((small, on_small), (large, on_large)) if on]
    groups = np.split(np.arange(size * n + m), n * np.arange(1, size + 1))
    fillers = [rest[0]] * size + [rest[1] if m > 0 else None]
    return fill_groups(np.concatenate(parts), groups, fillers, extra)
