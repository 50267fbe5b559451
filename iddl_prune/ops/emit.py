"""Machine code from loops and vectors written in Python: a thin layer over llvmlite, and torch's own threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from llvmlite import binding, ir

__all__ = ["FLOAT", "INDEX", "SMALL", "Call", "Emitter", "compiled", "lanes"]

FLOAT, INDEX, SMALL, BITS = ir.FloatType(), ir.IntType(64), ir.IntType(32), ir.IntType(16)

Emit = Callable[["Emitter"], None]


class Emitter:
    """Writes the body of one function `void work(int64 *arguments)` that threads call together.

    Values are 64-bit integers, floats, or vectors of `lanes` floats; addresses count floats.
    """

    def __init__(self, builder: ir.IRBuilder, arguments: ir.Value) -> None:
        self.builder, self.arguments = builder, arguments
        self.vector = ir.VectorType(FLOAT, lanes())
        self.mask = ir.VectorType(ir.IntType(1), lanes())

    def argument(self, place: int) -> ir.Value:
        """The integer at a place of the arguments."""
        return self.builder.load(self._at(self.arguments, self.index(place), INDEX), typ=INDEX)

    def index(self, value: int) -> ir.Constant:
        """A constant."""
        return ir.Constant(INDEX, value)

    def variable(self, value: ir.Value) -> ir.Value:
        """A place that holds a changing value; the optimiser keeps it in a register."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(value.type)
        self.builder.store(value, place)
        return place

    def get(self, variable: ir.Value, type_: ir.Type) -> ir.Value:
        """The value of a variable."""
        return self.builder.load(variable, typ=type_)

    def set(self, variable: ir.Value, value: ir.Value) -> None:
        """Change a variable."""
        self.builder.store(value, variable)

    def least(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The smaller of two integers."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    @contextmanager
    def given(self, value: ir.Value) -> Iterator[None]:
        """Only if the integer is not zero."""
        with self.builder.if_then(self.builder.icmp_signed("!=", value, self.index(0))):
            yield

    @contextmanager
    def loop(self, start: ir.Value, stop: ir.Value, step: ir.Value | None = None) -> Iterator[ir.Value]:
        """Count from start up to stop, which is not reached."""
        counter = self.variable(start)
        head, body, end = (self.builder.append_basic_block(name) for name in ("head", "body", "end"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        value = self.get(counter, INDEX)
        self.builder.cbranch(self.builder.icmp_signed("<", value, stop), body, end)
        self.builder.position_at_end(body)
        yield value
        self.builder.store(self.builder.add(value, self.index(1) if step is None else step), counter)
        self.builder.branch(head)
        self.builder.position_at_end(end)

    @contextmanager
    def room(self, floats: ir.Value) -> Iterator[ir.Value]:
        """So many floats that no other thread uses, at the beginning of a line of the cache."""
        b, line, pointer = self.builder, 64, ir.PointerType()
        taken = _declared(b.module, "malloc", pointer, [INDEX])
        place = b.call(taken, [b.add(b.mul(floats, self.index(4)), self.index(line))])
        yield self.table(b.and_(b.add(self.number(place), self.index(line - 1)), self.index(-line)))
        b.call(_declared(b.module, "free", ir.VoidType(), [pointer]), [place])

    @contextmanager
    def turns(self, count: ir.Value, counters: int) -> Iterator[ir.Value]:
        """Take the next of `count` turns that no other thread has taken, as long as there are any.

        Each thread begins with a share of its own, the same in every call, so that it finds in the caches of its core
        what it has left there; then it helps the others. Arguments from `counters` on count the turns of each share.
        """
        b, threads = self.builder, self.argument(0)
        with self.loop(self.index(0), threads) as i:
            share = b.srem(b.add(self._thread(), i), threads)
            first, stop = (b.sdiv(b.mul(count, b.add(share, self.index(j))), threads) for j in range(2))
            counter = self._at(self.arguments, b.add(share, self.index(counters)), INDEX)
            head, body, end = (b.append_basic_block(name) for name in ("take", "turn", "done"))
            b.branch(head)
            b.position_at_end(head)
            turn = b.add(first, b.atomic_rmw("add", counter, self.index(1), "monotonic"))
            b.cbranch(b.icmp_signed("<", turn, stop), body, end)
            b.position_at_end(body)
            yield turn
            b.branch(head)
            b.position_at_end(end)

    def _thread(self) -> ir.Value:
        """The number of this thread among those that work together."""
        threads = _threads()
        if threads is None:
            return self.index(0)
        binding.add_symbol("iddl_thread", threads.number)
        number = self.builder.call(_declared(self.builder.module, "iddl_thread", SMALL, []), [])
        return self.builder.sext(number, INDEX)

    def shifted(self, address: ir.Value, floats: ir.Value) -> ir.Value:
        """An address so many floats on."""
        return self._at(address, floats, FLOAT)

    def entry(self, table: ir.Value, place: ir.Value, type_: ir.Type = INDEX) -> ir.Value:
        """An integer of a table of 64 or 32 bits."""
        value = self.builder.load(self._at(table, place, type_), typ=type_)
        return value if type_ is INDEX else self.builder.sext(value, INDEX)

    def table(self, address: ir.Value) -> ir.Value:
        """The pointer that an integer is."""
        return self.builder.inttoptr(address, ir.PointerType())

    def number(self, pointer: ir.Value) -> ir.Value:
        """The integer that a pointer is."""
        return self.builder.ptrtoint(pointer, INDEX)

    def lanes_on(self, table: ir.Value, place: ir.Value) -> ir.Value:
        """Which lanes take part: the bits of the 16-bit entry of a table."""
        b = self.builder
        bits = b.load(self._at(table, place, BITS), typ=BITS)
        if lanes() == 16:
            return b.bitcast(bits, self.mask)
        # Without mask registers a bitcast takes the bits apart one by one.
        each = _integers([1 << lane for lane in range(lanes())])
        return b.icmp_signed("==", b.and_(self.spread(b.zext(bits, SMALL)), each), each)

    def scalar(self, address: ir.Value) -> ir.Value:
        """One float."""
        return self.builder.load(address, typ=FLOAT, align=4)

    def load(self, address: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """A vector, zeros in the lanes that are off, whose memory is not touched."""
        if mask is None:
            return self.builder.load(address, typ=self.vector, align=4)
        return self._call("llvm.masked.load", self.vector, address, _int(4), mask, self.zero())

    def prefetch(self, address: ir.Value) -> None:
        """Have the line of an address brought near; it need not be there."""
        types = [address.type, SMALL, SMALL, SMALL]
        function = _declared(self.builder.module, "llvm.prefetch.p0", ir.VoidType(), types)
        self.builder.call(function, [address, _int(0), _int(2), _int(1)])

    def store(self, value: ir.Value, address: ir.Value, mask: ir.Value | None = None) -> None:
        """Write the lanes that are on."""
        if mask is None:
            self.builder.store(value, address, align=4)
        else:
            self._call("llvm.masked.store", ir.VoidType(), value, address, _int(4), mask, overload=self.vector)

    def lanes_before(self, count: ir.Value) -> ir.Value:
        """The first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(INDEX, lanes()), list(range(lanes())))
        return self.builder.icmp_signed("<", numbers, self.spread(count))

    def places(self, table: ir.Value, place: ir.Value, mask: ir.Value) -> ir.Value:
        """A vector of the 32-bit integers of a table."""
        nothing = _integers([0] * lanes())
        source = self._at(table, place, SMALL)
        return self._call("llvm.masked.load", nothing.type, source, _int(4), mask, nothing)

    def gather(self, address: ir.Value, places: ir.Value, mask: ir.Value) -> ir.Value:
        """The floats at a vector of places."""
        pointers = self.builder.gep(address, [places], source_etype=FLOAT)
        pointers.type = ir.VectorType(ir.PointerType(), lanes())  # llvmlite takes the result of every gep for one
        name = f"llvm.masked.gather.v{lanes()}f32.v{lanes()}p0"
        types = [pointers.type, SMALL, self.mask, self.vector]
        function = _declared(self.builder.module, name, self.vector, types)
        return self.builder.call(function, [pointers, _int(4), mask, self.zero()])

    def zero(self) -> ir.Constant:
        """Zeros."""
        return ir.Constant(self.vector, [0.0] * lanes())

    def spread(self, value: ir.Value) -> ir.Value:
        """A number in every lane."""
        undefined = ir.Constant(ir.VectorType(value.type, lanes()), ir.Undefined)
        first = self.builder.insert_element(undefined, value, _int(0))
        return self.builder.shuffle_vector(first, undefined, _integers([0] * lanes()))

    def both(self, mask: ir.Value, bit: ir.Value) -> ir.Value:
        """The lanes of a mask, or none of them."""
        return self.builder.select(bit, mask, ir.Constant(self.mask, [0] * lanes()))

    def transposed(self, rows: list[ir.Value]) -> list[ir.Value]:
        """As many vectors as each has lanes: pairs of rows swap ever smaller parts."""
        rows, step = list(rows), lanes() // 2
        while step:
            for i in range(lanes()):
                if not i & step:
                    pair = rows[i], rows[i + step]
                    for row, start in ((i, 0), (i + step, step)):
                        kept = [(lane + lanes() - step if lane & step else lane) + start for lane in range(lanes())]
                        rows[row] = self.builder.shuffle_vector(*pair, _integers(kept))
            step //= 2
        return rows

    def every_other(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The even lanes of two vectors that follow each other."""
        return self.builder.shuffle_vector(a, b, _integers(list(range(0, 2 * lanes(), 2))))

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a * b + c."""
        function = _declared(self.builder.module, f"llvm.fma.v{lanes()}f32", self.vector, [self.vector] * 3)
        return self.builder.call(function, [a, b, c])

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a + b, of floats."""
        return self.builder.fadd(a, b)

    def positive(self, value: ir.Value) -> ir.Value:
        """max(value, 0) of a float or a vector, a NaN as it is."""
        zero = self.zero() if value.type == self.vector else ir.Constant(FLOAT, 0.0)
        return self.builder.select(self.builder.fcmp_ordered("<", value, zero), zero, value)

    def sum(self, vector: ir.Value) -> ir.Value:
        """Sum of the lanes."""
        name = f"llvm.vector.reduce.fadd.v{lanes()}f32"
        function = _declared(self.builder.module, name, FLOAT, [FLOAT, self.vector])
        return self.builder.call(function, [ir.Constant(FLOAT, -0.0), vector], fastmath=("reassoc",))

    def _at(self, address: ir.Value, place: ir.Value, type_: ir.Type) -> ir.Value:
        return self.builder.gep(address, [place], source_etype=type_)

    def _call(self, name: str, result: ir.Type, *values: ir.Value, overload: ir.Type | None = None) -> ir.Value:
        element = "i32" if (overload or result).element == SMALL else "f32"
        types = [value.type for value in values]
        function = _declared(self.builder.module, f"{name}.v{lanes()}{element}.p0", result, types)
        return self.builder.call(function, values)


@cache
def lanes() -> int:
    """Floats of this processor's widest vectors."""
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


def compiled(emit: Emit) -> int:
    """Address of the function that `emit` writes, compiled for this processor."""
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.PointerType()]), "work")
    builder = ir.IRBuilder(function.append_basic_block())
    emit(Emitter(builder, function.args[0]))
    builder.ret_void()
    engine = _engine()
    parsed = binding.parse_assembly(str(module))
    passes = binding.create_pass_builder(_machine(), binding.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(parsed, passes)
    engine.add_module(parsed)
    engine.finalize_object()
    address: int = engine.get_function_address("work")
    _keep.append(engine)
    return address


class Call:
    """A compiled function and its last arguments; the first counts the threads, those between are given each time.

    Torch's own threads call it together, at most so many. `held`, what arguments point to, is kept alive as long.
    """

    def __init__(
        self, address: int, given: int, rest: Sequence[int] = (), *, most: int = 1 << 30, held: object = None
    ) -> None:
        self._address, self._function, self._most, self._held = address, _FUNCTION(address), most, held
        self._given, self._rest = given, rest
        self._forms: dict[int, ctypes.Array[ctypes.c_int64]] = {}

    def __call__(self, *given: int) -> None:
        together = _threads()
        threads = 1 if together is None else min(torch.get_num_threads(), self._most)
        form = self._forms.get(threads)
        if form is None:
            filled = threads, *[0] * self._given, *self._rest, *[0] * threads
            form = self._forms[threads] = (ctypes.c_int64 * len(filled))(*filled)
        values = type(form).from_buffer_copy(form)
        values[1 : 1 + self._given] = list(given)
        if together is None or threads == 1:
            self._function(values)
        else:
            together.parallel(self._address, values, threads, 0)


_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_keep: list[binding.ExecutionEngine] = []


class _Threads(NamedTuple):
    """The call that has a function called by threads, and the address of the one that tells a thread its number."""

    parallel: Callable[..., None]
    number: int


@cache
def _threads() -> _Threads | None:
    """GNU's or LLVM's OpenMP that torch itself uses, so that its threads and ours are the same; None without one."""
    for library in sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")):
        try:
            opened = ctypes.CDLL(str(library))
            parallel, number = opened.GOMP_parallel, opened.omp_get_thread_num
        except (OSError, AttributeError):
            continue
        parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        parallel.restype = None
        return _Threads(parallel, ctypes.cast(number, ctypes.c_void_p).value or 0)
    return None


@cache
def _machine() -> binding.TargetMachine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3, jit=True
    )


def _engine() -> binding.ExecutionEngine:
    _machine()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3, jit=True
    )
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)


def _declared(module: ir.Module, name: str, result: ir.Type, parameters: Sequence[ir.Type]) -> ir.Function:
    known = module.globals.get(name)
    return known or ir.Function(module, ir.FunctionType(result, parameters), name)


def _int(value: int) -> ir.Constant:
    return ir.Constant(SMALL, value)


def _integers(values: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(SMALL, len(values)), values)
