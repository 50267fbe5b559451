"""The loops of the vector kernel for matrices: a few rows at once, or rows turned into lanes and back."""

from __future__ import annotations

from enum import IntEnum, auto
from functools import cache
from itertools import chain

from llvmlite import ir

from iddl_prune.ops.emit import FLOAT, INDEX, SMALL, Emitter, compiled, lanes
from iddl_prune.ops.vector_code import Convolve, Shape, strip_at, tile

__all__ = ["Apply", "Multiply", "Transpose", "apply", "multiply", "transpose"]


class Apply(IntEnum):
    """Places of the arguments of `apply`: the first as those of `Convolve`, without a residual.

    `stride` counts what the longest block reads of a row, in whole vectors.
    """

    threads = 0
    x = auto()
    weight = auto()
    out = auto()
    bias = auto()
    residual = auto()
    relu = auto()
    turns = auto()
    group = auto()
    strips = auto()
    strip_count = auto()
    inputs = auto()
    outputs = auto()
    rows = auto()
    in_features = auto()
    out_features = auto()
    stride = auto()


class Multiply(IntEnum):
    """Places of the arguments of `multiply`: the first as those of `Convolve`, without a residual."""

    threads = 0
    x = auto()
    weight = auto()
    out = auto()
    bias = auto()
    residual = auto()
    relu = auto()
    turns = auto()
    strips = auto()
    strip_count = auto()
    inputs = auto()
    outputs = auto()
    taps = auto()
    rows = auto()
    in_features = auto()
    out_features = auto()


class Transpose(IntEnum):
    """Places of the arguments of `transpose`."""

    threads = 0
    x = auto()
    out = auto()
    rows = auto()
    columns = auto()


@cache
def apply(heights: frozenset[int], rows: int, is_far: bool) -> int:
    """Address of the product with a few rows, so many at once: each weight is read once for them.

    What a block reads is gathered once for all its strips. Weights that are far, outside the core's own caches, are
    asked for a strip ahead.
    """

    def emit(e: Emitter) -> None:
        b, argument = e.builder, {name: e.argument(name) for name in Apply}
        wanted, gathered = b.mul(argument[Apply.rows], argument[Apply.stride]), e.variable(e.index(0))
        with e.room(wanted) as read, e.turns(argument[Apply.turns], len(Apply)) as turn:
            first = b.mul(turn, argument[Apply.group])
            stop = e.least(b.add(first, argument[Apply.group]), argument[Apply.strip_count])
            with e.loop(first, stop) as which:
                strip = strip_at(e, argument[Apply.strips], which)
                end = b.add(strip[1], strip[2])
                with b.if_then(b.icmp_signed("!=", e.get(gathered, INDEX), end)):
                    _gather(e, argument, strip, read)
                    e.set(gathered, end)
                for outputs in sorted(heights):
                    with (
                        b.if_then(b.icmp_signed("==", strip[-1], e.index(outputs))),
                        e.loop(e.index(0), argument[Apply.rows], e.index(rows)) as row,
                    ):
                        last = b.sub(argument[Apply.rows], e.index(rows))
                        _rows(e, argument, strip, read, e.least(row, last), (outputs, rows), is_far)

    return compiled(emit)


def _gather(e: Emitter, argument: dict[Apply, ir.Value], strip: list[ir.Value], read: ir.Value) -> None:
    """What the strip reads of each row, side by side; zeros fill the last vector."""
    b, (_, inputs, fan_in, _, _) = e.builder, strip
    x, table = (e.table(argument[name]) for name in (Apply.x, Apply.inputs))
    with e.loop(e.index(0), fan_in, e.index(lanes())) as i:
        on = e.lanes_before(b.sub(fan_in, i))
        places = e.places(table, b.add(inputs, i), on)
        with e.loop(e.index(0), argument[Apply.rows]) as row:
            values = e.gather(e.shifted(x, b.mul(row, argument[Apply.in_features])), places, on)
            e.store(values, e.shifted(read, b.add(b.mul(row, argument[Apply.stride]), i)))


def _rows(
    e: Emitter,
    argument: dict[Apply, ir.Value],
    strip: list[ir.Value],
    read: ir.Value,
    first: ir.Value,
    shape: tuple[int, int],
    is_far: bool,
) -> None:
    """Each output of the strip in each row, weights in the lanes."""
    b, (outputs, rows) = e.builder, shape
    start, _, fan_in, written, _ = strip
    table = {name: e.table(argument[name]) for name in Apply}
    weights = [e.shifted(table[Apply.weight], b.add(start, b.mul(fan_in, e.index(o)))) for o in range(outputs)]
    x = [e.shifted(read, b.mul(b.add(first, e.index(r)), argument[Apply.stride])) for r in range(rows)]
    sums = [[e.variable(e.zero()) for _ in x] for _ in weights]
    next_strip = b.mul(fan_in, e.index(outputs))

    def meet(i: ir.Value, on: ir.Value | None) -> None:
        values = [e.load(e.shifted(row, i)) for row in x]
        for o, weight in enumerate(weights):
            if is_far:
                e.prefetch(e.shifted(weight, b.add(i, next_strip)))
            factor = e.load(e.shifted(weight, i), on)
            for r, value in enumerate(values):
                e.set(sums[o][r], e.multiply_add(factor, value, e.get(sums[o][r], e.vector)))

    whole = b.and_(fan_in, e.index(-lanes()))
    with e.loop(e.index(0), whole, e.index(lanes())) as i:
        meet(i, None)
    with b.if_then(b.icmp_signed("<", whole, fan_in)):
        meet(whole, e.lanes_before(b.sub(fan_in, whole)))
    channels = [e.entry(table[Apply.outputs], b.add(written, e.index(o)), SMALL) for o in range(outputs)]
    totals = [[e.variable(e.sum(e.get(value, e.vector))) for value in values] for values in sums]
    with e.given(argument[Apply.bias]):
        for channel, values in zip(channels, totals, strict=True):
            added = e.scalar(e.shifted(table[Apply.bias], channel))
            for value in values:
                e.set(value, e.add(e.get(value, FLOAT), added))
    with e.given(argument[Apply.relu]):
        for value in chain(*totals):
            e.set(value, e.positive(e.get(value, FLOAT)))
    for r in range(rows):
        line = e.shifted(table[Apply.out], b.mul(b.add(first, e.index(r)), argument[Apply.out_features]))
        for channel, values in zip(channels, totals, strict=True):
            b.store(e.get(values[r], FLOAT), e.shifted(line, channel), align=4)


@cache
def multiply(heights: frozenset[int], vectors: int, is_far: bool) -> int:
    """Address of the product with many rows, so many vectors of them a turn.

    A thread turns its rows into lanes, meets all weights and turns the sums into rows: no number that one core
    has written is read by another.
    """

    def emit(e: Emitter) -> None:
        b, argument = e.builder, {name: e.argument(name) for name in Multiply}
        inputs, outputs = argument[Multiply.in_features], argument[Multiply.out_features]
        wide, zero = e.index(vectors * lanes()), e.index(0)
        with (
            e.room(b.mul(wide, b.add(inputs, outputs))) as planes,
            e.turns(argument[Multiply.turns], len(Multiply)) as turn,
        ):
            sums = e.shifted(planes, b.mul(wide, inputs))
            first = b.mul(turn, wide)
            rows = e.least(b.sub(argument[Multiply.rows], first), wide)
            x = e.shifted(e.table(argument[Multiply.x]), b.mul(first, inputs))
            out = e.shifted(e.table(argument[Multiply.out]), b.mul(first, outputs))
            with e.loop(zero, inputs, e.index(lanes())) as column, e.loop(zero, wide, e.index(lanes())) as row:
                _square(e, (x, inputs), (planes, wide), (rows, inputs), (row, column))
            shared = {Convolve[name.name]: value for name, value in argument.items() if name.name in _SHARED}
            image = {
                Convolve.x: e.number(planes),
                Convolve.out: e.number(sums),
                Convolve.x_channel: wide,
                Convolve.out_channel: wide,
                Convolve.chunks: e.index(vectors),
                Convolve.tap_count: e.index(1),
                Convolve.taps_stored: e.index(1),
            }
            one = dict.fromkeys(Convolve, zero) | shared | image
            with e.loop(zero, argument[Multiply.strip_count]) as which:
                strip = strip_at(e, argument[Multiply.strips], which)
                for height in sorted(heights):
                    with b.if_then(b.icmp_signed("==", strip[-1], e.index(height))):
                        tile(e, one, strip, zero, zero, Shape(height, vectors, False), is_far=is_far, is_whole=True)
            with e.loop(zero, outputs, e.index(lanes())) as row, e.loop(zero, rows, e.index(lanes())) as column:
                _square(e, (sums, wide), (out, outputs), (outputs, rows), (row, column))

    return compiled(emit)


_SHARED = ("weight", "bias", "relu", "inputs", "outputs", "taps")


@cache
def transpose() -> int:
    """Address of the transposition of a matrix."""

    def emit(e: Emitter) -> None:
        b, argument, size = e.builder, {name: e.argument(name) for name in Transpose}, e.index(lanes())
        x, out = (e.table(argument[name]) for name in (Transpose.x, Transpose.out))
        rows, columns = argument[Transpose.rows], argument[Transpose.columns]
        with (
            e.turns(b.sdiv(b.add(columns, e.index(lanes() - 1)), size), len(Transpose)) as turn,
            e.loop(e.index(0), rows, size) as row,
        ):
            _square(e, (x, columns), (out, rows), (rows, columns), (row, b.mul(turn, size)))

    return compiled(emit)


def _square(
    e: Emitter,
    source: tuple[ir.Value, ir.Value],
    target: tuple[ir.Value, ir.Value],
    shape: tuple[ir.Value, ir.Value],
    corner: tuple[ir.Value, ir.Value],
) -> None:
    """Transpose as many rows as a vector has lanes, of matrices given by address and floats from row to row.

    Zeros fill the target past the last of `shape`'s rows: what lay there, were it multiplied, may be slow.
    """
    b, (rows, columns), (row, column) = e.builder, shape, corner
    across, down = e.lanes_before(b.sub(columns, column)), e.lanes_before(b.sub(target[1], row))
    square = []
    for i in range(lanes()):
        place = b.add(row, e.index(i))
        line = e.shifted(source[0], b.add(b.mul(place, source[1]), column))
        square.append(e.load(line, e.both(across, b.icmp_signed("<", place, rows))))
    for i, value in enumerate(e.transposed(square)):
        place = b.add(column, e.index(i))
        line = e.shifted(target[0], b.add(b.mul(place, target[1]), row))
        e.store(value, line, e.both(down, b.icmp_signed("<", place, columns)))
