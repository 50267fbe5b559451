"""Time the sides of a comparison on a GPU: by turns, with events, each call on weights that are not in the cache."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

__all__ = ["Ceilings", "Side", "ceilings", "copies_for", "time_sides"]

Call = Callable[[], object]

# So many times the second-level cache do the copies of a side's weights take.
_CACHES = 3
_MOST_COPIES = 64


@dataclass(frozen=True)
class Side:
    """One side: calls that do the same on copies of their weights, and whether they are replayed as a CUDA graph.

    `make` builds them, so that a side which cannot be built or run only says why.
    """

    name: str
    make: Callable[[], Sequence[Call]]
    graph: bool = True


@dataclass(frozen=True)
class Ceilings:
    """What this card reaches on the plainest work: bytes a second by copying, operations a second by type."""

    bytes_per_s: float
    flops: dict[str, float]

    def floor_s(self, bytes_moved: float, operations: float, dtype: torch.dtype) -> float:
        """No kernel that moves and multiplies so much is faster."""
        return max(bytes_moved / self.bytes_per_s, operations / self.flops[str(dtype)])


def ceilings(device: str, *, smoke: bool) -> Ceilings:
    """Measure the ceilings: a copy of 4 GB, square products on random numbers; float32 rounded to TF32."""
    size, width = (1 << 16, 64) if smoke else (1 << 32, 8192)
    source = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = time_sides([Side("copy", lambda: [lambda: target.copy_(source)])], device, seconds=2)
    rates = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        a, b = (torch.randn(width, width, device=device, dtype=dtype) for _ in range(2))
        taken = time_sides([Side("product", lambda a=a, b=b: [lambda: a @ b])], device, seconds=2)
        rates[str(dtype)] = 2 * width**3 / taken["product"]["median_s"]
    return Ceilings(2 * size / copied["copy"]["median_s"], rates)


def copies_for(bytes_of_weights: int, device: str) -> int:
    """How many copies of the weights do not fit the second-level cache."""
    if device == "cpu":
        return 2
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    return max(2, min(_MOST_COPIES, -(-_CACHES * cache // bytes_of_weights)))


def time_sides(sides: Sequence[Side], device: str, *, seconds: float, rounds: int = 60) -> dict[str, dict[str, Any]]:
    """Seconds of one call of each side, median and 95th percentile; or the error for which it has none.

    The sides take turns; a turn goes once through a side's copies.
    """
    turns, told = {}, {}
    for side in sides:
        try:
            calls = list(side.make())
            turn = _captured(calls) if side.graph and device != "cpu" else _in_turn(calls)
            for _ in range(1 if device == "cpu" else 3):
                turn()
            _wait(device)
            turns[side.name] = turn, len(calls)
        except Exception as error:  # a side may lack anything: a library, an instruction, memory
            told[side.name] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    taken: dict[str, list[float]] = {name: [] for name in turns}
    begun, least = time.monotonic(), 1 if device == "cpu" else 7
    for number in range(rounds):
        if number >= least and time.monotonic() - begun > seconds:
            break
        for name, (turn, count) in turns.items():
            taken[name].append(_time(turn, device) / count)
    for name, times in taken.items():
        worst = sorted(times)[int(0.95 * (len(times) - 1))]
        told[name] = {"median_s": median(times), "p95_s": worst, "rounds": len(times), "copies": turns[name][1]}
    turns.clear()
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
    return told


def _in_turn(calls: Sequence[Call]) -> Call:
    def turn() -> None:
        for call in calls:
            call()

    return turn


def _captured(calls: Sequence[Call]) -> Call:
    """The calls as one CUDA graph, warmed on another stream first as torch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            _in_turn(calls)()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [call() for call in calls]

    def turn() -> None:
        graph.replay()

    turn.kept = kept  # type: ignore[attr-defined]  # the graph writes there
    return turn


def _time(turn: Call, device: str) -> float:
    if device == "cpu":
        begun = time.perf_counter()
        turn()
        return time.perf_counter() - begun
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    turn()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
