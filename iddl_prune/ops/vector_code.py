"""The loops of the vector kernel: sums held in registers, pixels in the lanes, weights read as they are stored."""

from __future__ import annotations

from enum import IntEnum, auto
from functools import cache
from typing import NamedTuple

from llvmlite import ir

from iddl_prune.ops.emit import INDEX, SMALL, Emitter, compiled, lanes

__all__ = [
    "Convolve",
    "Correlate",
    "Shape",
    "Split",
    "at_once",
    "convolve",
    "correlate",
    "height",
    "most",
    "split",
    "strip_at",
    "tile",
    "width",
]


class Convolve(IntEnum):
    """Places of the arguments of `convolve`; what they count is floats, where it is no number of things."""

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
    tap_count = auto()
    taps_stored = auto()
    masks = auto()
    chunks = auto()
    images = auto()
    group = auto()
    x_image = auto()
    x_channel = auto()
    out_image = auto()
    out_channel = auto()


class Correlate(IntEnum):
    """Places of the arguments of `correlate`; pitches are from row to row of an image."""

    threads = 0
    grad = auto()
    x = auto()
    out = auto()
    strips = auto()
    strip_count = auto()
    inputs = auto()
    outputs = auto()
    runs = auto()
    run_count = auto()
    taps_stored = auto()
    images = auto()
    group = auto()
    grad_image = auto()
    grad_channel = auto()
    grad_pitch = auto()
    x_image = auto()
    x_channel = auto()
    x_pitch = auto()


class Split(IntEnum):
    """Places of the arguments of `split`."""

    threads = 0
    x = auto()
    out = auto()
    planes = auto()
    height = auto()
    width = auto()
    phases = auto()
    phase_count = auto()
    out_height = auto()
    out_width = auto()


class Shape(NamedTuple):
    """So many outputs of a strip at so many vectors of pixels, consecutive ones or each of another image."""

    outputs: int
    vectors: int
    apart: bool


def height() -> int:
    """Most outputs of a strip: their sums fit the registers beside what is read, 32 of them with AVX-512, else 16."""
    return 8 if lanes() == 16 else 4


def most(outputs: int) -> int:
    """Most vectors whose sums with so many outputs fit the registers."""
    return min(6, 25 // outputs) if lanes() == 16 else min(4, 12 // outputs)


def width(outputs: int, there: int) -> int:
    """Vectors taken at once with so many outputs, of so many that there are; the last turn repeats what is over."""
    widths = range(min(most(outputs), there), max(0, min(most(outputs), there) - 3), -1)
    return min(widths, key=lambda vectors: -(-there // vectors) * (vectors + 1))


def at_once(outputs: int, fan_in: int) -> int:
    """Inputs that the gradient takes at once with so many outputs, of so many that there are; the last turn repeats."""
    widest = min(12 if lanes() == 16 else 12 // outputs, 25 // outputs, fan_in)
    return min(
        range(widest, 0, -1), key=lambda inputs: -(-fan_in // inputs) * max(8, outputs * inputs, outputs + inputs)
    )


@cache
def convolve(shapes: frozenset[Shape]) -> int:
    """Address of the convolution whose strips have the shapes, one for each number of outputs."""

    def emit(e: Emitter) -> None:
        b, argument = e.builder, {name: e.argument(name) for name in Convolve}
        with e.turns(argument[Convolve.turns], len(Convolve)) as turn:
            start = b.mul(b.sdiv(turn, argument[Convolve.strip_count]), argument[Convolve.group])
            stop = e.least(b.add(start, argument[Convolve.group]), argument[Convolve.images])
            strip = strip_at(e, argument[Convolve.strips], b.srem(turn, argument[Convolve.strip_count]))
            for shape in sorted(shapes):
                vectors = e.index(shape.vectors)
                with b.if_then(b.icmp_signed("==", strip[-1], e.index(shape.outputs))):
                    if shape.apart:
                        with e.loop(start, stop, vectors) as image:
                            last = b.sub(argument[Convolve.images], vectors)
                            tile(e, argument, strip, e.least(image, last), e.index(0), shape)
                    else:
                        chunks = argument[Convolve.chunks]
                        with e.loop(start, stop) as image, e.loop(e.index(0), chunks, vectors) as chunk:
                            last = b.sub(chunks, vectors)
                            tile(e, argument, strip, image, e.least(chunk, last), shape)

    return compiled(emit)


def tile(
    e: Emitter,
    argument: dict[Convolve, ir.Value],
    strip: list[ir.Value],
    image: ir.Value,
    chunk: ir.Value,
    shape: Shape,
    *,
    is_far: bool = False,
    is_whole: bool = False,
) -> None:
    """Every kept weight of the strip meets every pixel of the vectors once.

    Weights that are far are asked for a strip ahead, a line for each input. Where vectors are whole no masks are
    read, for which processors without AVX-512 have no registers left.
    """
    b = e.builder
    row, inputs, fan_in, outputs, _ = strip
    table = {name: e.table(argument[name]) for name in Convolve}
    pixel = b.mul(chunk, e.index(lanes()))
    vectors, many = range(shape.vectors), range(shape.outputs)
    sums = [[e.variable(e.zero()) for _ in vectors] for _ in many]
    length = b.mul(fan_in, argument[Convolve.taps_stored])
    weights = e.shifted(table[Convolve.weight], b.mul(row, argument[Convolve.taps_stored]))
    *rows, next_strip = (e.shifted(weights, b.mul(length, e.index(o))) for o in range(shape.outputs + 1))

    def places(start: ir.Value, step: ir.Value) -> list[ir.Value]:
        return [e.shifted(start, b.mul(e.index(j), step if shape.apart else e.index(lanes()))) for j in vectors]

    def masks(first: ir.Value) -> list[ir.Value | None]:
        if is_whole:
            return [None] * shape.vectors
        return [
            e.lanes_on(table[Convolve.masks], b.add(first, chunk if shape.apart else b.add(chunk, e.index(j))))
            for j in vectors
        ]

    first = b.add(b.mul(image, argument[Convolve.out_image]), pixel)
    channels = [e.entry(table[Convolve.outputs], b.add(outputs, e.index(o)), SMALL) for o in many]
    planes = [b.add(first, b.mul(channel, argument[Convolve.out_channel])) for channel in channels]
    with e.given(argument[Convolve.residual]):
        for plane in planes:
            for place in places(e.shifted(table[Convolve.residual], plane), argument[Convolve.out_image]):
                e.prefetch(place)
    source = e.shifted(table[Convolve.x], b.add(b.mul(image, argument[Convolve.x_image]), pixel))
    with e.loop(e.index(0), argument[Convolve.tap_count]) as tap:
        column = e.entry(table[Convolve.taps], b.mul(tap, e.index(2)))
        moved = e.shifted(source, e.entry(table[Convolve.taps], b.add(b.mul(tap, e.index(2)), e.index(1))))
        on = masks(b.mul(tap, argument[Convolve.chunks]))
        at = e.variable(column)
        with e.loop(inputs, b.add(inputs, fan_in)) as i:
            channel = e.entry(table[Convolve.inputs], i, SMALL)
            plane = e.shifted(moved, b.mul(channel, argument[Convolve.x_channel]))
            read = [
                e.load(place, mask) for place, mask in zip(places(plane, argument[Convolve.x_image]), on, strict=True)
            ]
            if is_far:
                e.prefetch(e.shifted(next_strip, b.mul(e.get(at, INDEX), e.index(shape.outputs))))
            for o in many:
                factor = e.spread(e.scalar(e.shifted(rows[o], e.get(at, INDEX))))
                for j in vectors:
                    e.set(sums[o][j], e.multiply_add(factor, read[j], e.get(sums[o][j], e.vector)))
            e.set(at, b.add(e.get(at, INDEX), argument[Convolve.taps_stored]))
    on = masks(b.mul(argument[Convolve.tap_count], argument[Convolve.chunks]))
    for o, channel, plane in zip(many, channels, planes, strict=True):
        with e.given(argument[Convolve.bias]):
            added = e.spread(e.scalar(e.shifted(table[Convolve.bias], channel)))
            for j in vectors:
                e.set(sums[o][j], e.add(e.get(sums[o][j], e.vector), added))
        with e.given(argument[Convolve.residual]):
            others = places(e.shifted(table[Convolve.residual], plane), argument[Convolve.out_image])
            for j in vectors:
                e.set(sums[o][j], e.add(e.get(sums[o][j], e.vector), e.load(others[j], on[j])))
        with e.given(argument[Convolve.relu]):
            for j in vectors:
                e.set(sums[o][j], e.positive(e.get(sums[o][j], e.vector)))
        targets = places(e.shifted(table[Convolve.out], plane), argument[Convolve.out_image])
        for j in vectors:
            e.store(e.get(sums[o][j], e.vector), targets[j], on[j])


@cache
def correlate(shapes: frozenset[tuple[int, int]]) -> int:
    """Address of the weights' gradient, for strips of so many outputs that take so many inputs at once.

    The planes of these stay in the nearest cache while all taps pass over them.
    """

    def emit(e: Emitter) -> None:
        b, argument = e.builder, {name: e.argument(name) for name in Correlate}
        with e.turns(argument[Correlate.strip_count], len(Correlate)) as turn:
            strip = strip_at(e, argument[Correlate.strips], turn)
            for outputs, inputs in sorted(shapes):
                with b.if_then(b.icmp_signed("==", strip[-1], e.index(outputs))):
                    step = argument[Correlate.group]
                    with (
                        e.loop(e.index(0), argument[Correlate.images], step) as start,
                        e.loop(e.index(0), strip[2], e.index(inputs)) as first,
                        e.loop(e.index(0), argument[Correlate.run_count]) as run,
                    ):
                        stop = e.least(b.add(start, step), argument[Correlate.images])
                        _products(e, argument, strip, (start, stop), run, first, (outputs, inputs))

    return compiled(emit)


def _products(
    e: Emitter,
    argument: dict[Correlate, ir.Value],
    strip: list[ir.Value],
    images: tuple[ir.Value, ir.Value],
    run: ir.Value,
    first: ir.Value,
    shape: tuple[int, int],
) -> None:
    """Sums over the pixels of some images, added to the gradients of one tap; an input past the last is the last."""
    b = e.builder
    row, inputs, fan_in, outputs, _ = strip
    table = {name: e.table(argument[name]) for name in Correlate}
    column, x_start, grad_start, lines, length = (
        e.entry(table[Correlate.runs], b.add(b.mul(run, e.index(5)), e.index(part))) for part in range(5)
    )
    chosen = [e.least(b.add(first, e.index(j)), b.sub(fan_in, e.index(1))) for j in range(shape[1])]
    sources = [
        b.add(x_start, b.mul(e.entry(table[Correlate.inputs], b.add(inputs, i), SMALL), argument[Correlate.x_channel]))
        for i in chosen
    ]
    grads = [
        b.add(
            grad_start,
            b.mul(
                e.entry(table[Correlate.outputs], b.add(outputs, e.index(o)), SMALL), argument[Correlate.grad_channel]
            ),
        )
        for o in range(shape[0])
    ]
    sums = [[e.variable(e.zero()) for _ in chosen] for _ in grads]
    whole = b.and_(length, e.index(-lanes()))
    rest = e.lanes_before(b.sub(length, whole))
    with e.loop(*images) as image, e.loop(e.index(0), lines) as line:
        x_line = b.add(b.mul(image, argument[Correlate.x_image]), b.mul(line, argument[Correlate.x_pitch]))
        grad_line = b.add(b.mul(image, argument[Correlate.grad_image]), b.mul(line, argument[Correlate.grad_pitch]))
        x = [e.shifted(table[Correlate.x], b.add(x_line, place)) for place in sources]
        grad = [e.shifted(table[Correlate.grad], b.add(grad_line, place)) for place in grads]

        def meet(pixel: ir.Value, on: ir.Value | None) -> None:
            right = [e.load(e.shifted(start, pixel), on) for start in x]
            for o, start in enumerate(grad):
                factor = e.load(e.shifted(start, pixel), on)
                for j, other in enumerate(right):
                    e.set(sums[o][j], e.multiply_add(factor, other, e.get(sums[o][j], e.vector)))

        with e.loop(e.index(0), whole, e.index(lanes())) as pixel:
            meet(pixel, None)
        with b.if_then(b.icmp_signed("<", whole, length)):
            meet(whole, rest)
    results = []
    for o in range(shape[0]):
        for j, i in enumerate(chosen):
            weight = b.add(row, b.add(b.mul(fan_in, e.index(o)), i))
            place = e.shifted(table[Correlate.out], b.add(b.mul(weight, argument[Correlate.taps_stored]), column))
            results.append((e.add(e.scalar(place), e.sum(e.get(sums[o][j], e.vector))), place))
    for value, place in results:
        b.store(value, place, align=4)


@cache
def split() -> int:
    """Address of the copy of planes into their phases of stride 2 by 2, a phase's unread rest left as it is."""

    def emit(e: Emitter) -> None:
        b, argument = e.builder, {name: e.argument(name) for name in Split}
        phases = e.table(argument[Split.phases])
        two, size = e.index(2), e.index(lanes())
        with (
            e.turns(argument[Split.planes], len(Split)) as plane,
            e.loop(e.index(0), argument[Split.phase_count]) as phase,
        ):
            row, column = (e.entry(phases, b.add(b.mul(phase, two), e.index(part))) for part in range(2))
            area = b.mul(argument[Split.out_height], argument[Split.out_width])
            whole = b.mul(argument[Split.height], argument[Split.width])
            target = b.mul(b.add(b.mul(plane, argument[Split.phase_count]), phase), area)
            target = e.shifted(e.table(argument[Split.out]), target)
            source = e.shifted(e.table(argument[Split.x]), b.add(b.mul(plane, whole), column))
            rows = b.sdiv(b.add(b.sub(argument[Split.height], row), e.index(1)), two)
            there = b.sub(argument[Split.width], column)
            columns = b.sdiv(b.add(there, e.index(1)), two)
            with e.loop(e.index(0), rows) as y, e.loop(e.index(0), columns, size) as x:
                line = e.shifted(source, b.mul(b.add(b.mul(y, two), row), argument[Split.width]))
                first = b.mul(x, two)
                halves = [
                    e.load(e.shifted(line, start), e.lanes_before(b.sub(there, start)))
                    for start in (first, b.add(first, size))
                ]
                place = e.shifted(target, b.add(b.mul(y, argument[Split.out_width]), x))
                e.store(e.every_other(*halves), place, e.lanes_before(b.sub(columns, x)))

    return compiled(emit)


def strip_at(e: Emitter, strips: ir.Value, which: ir.Value) -> list[ir.Value]:
    """First weight, first input, fan-in, first output and number of outputs of a strip."""
    first = e.builder.mul(which, e.index(5))
    return [e.entry(e.table(strips), e.builder.add(first, e.index(part)), SMALL) for part in range(5)]
