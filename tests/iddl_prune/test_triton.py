"""The GPU kernels without a GPU: their work lists here, the kernels themselves in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bibdlib
from iddl_prune import BIBDLinear, SparsePattern
from iddl_prune.ops.triton_work import gradient_work, product_work
from tests.iddl_prune.strategies import patterns
from tests.interpreter import needs_interpreter

GPU_TESTS = Path(__file__).parents[1] / "gpu"


@given(patterns(), st.sampled_from([4, 16]), st.sampled_from([4, 16]), st.booleans(), st.booleans(), st.data())
def test_steps_multiply_every_kept_weight_once(pattern, outputs, inputs, backward, look_up, data) -> None:
    if data.draw(st.booleans()):
        orders = (st.permutations(range(n)) for n in (pattern.in_features, pattern.out_features))
        pattern = pattern.permuted(*(data.draw(order) for order in orders))
    work = product_work(pattern, outputs, inputs, backward=backward, look_up=look_up)
    place = np.full((pattern.out_features, pattern.in_features), -1)
    place.flat[pattern.positions] = np.arange(pattern.kept)
    met = np.zeros(pattern.kept, dtype=int)
    written: list[int] = []
    for begin, end, target, rows in work.tiles.tolist():
        targets = channels(work.targets, target, rows, work.targets_run)
        written += targets
        for weight, stride, source, count in work.steps[begin:end].tolist():
            sources = channels(work.sources, source, count, work.sources_run)
            for i, target_channel in enumerate(targets):
                for j, source_channel in enumerate(sources):
                    at = weight + (i + j * stride if backward else i * stride + j)
                    pair = (source_channel, target_channel) if backward else (target_channel, source_channel)
                    assert place[pair] == at
                    met[at] += 1
    assert sorted(written) == list(range(pattern.in_features if backward else pattern.out_features))
    assert (met == 1).all()


@given(patterns(), st.sampled_from([4, 16]), st.sampled_from([4, 16]))
def test_tiles_of_the_gradient_cover_every_kept_weight_once(pattern, outputs, inputs) -> None:
    work = gradient_work(pattern, outputs, inputs)
    met = np.full(pattern.kept, -1)
    for weight, stride, target, rows, source, columns in work.tiles.tolist():
        targets = channels(work.targets, target, rows, work.targets_run)
        for i, target_channel in enumerate(targets):
            for j, source_channel in enumerate(channels(work.sources, source, columns, work.sources_run)):
                assert met[weight + i * stride + j] == -1
                met[weight + i * stride + j] = target_channel * pattern.in_features + source_channel
    assert np.array_equal(met, pattern.positions)


def channels(listed: np.ndarray, first: int, count: int, run: bool) -> list[int]:
    return list(range(first, first + count)) if run else listed[first : first + count].tolist()


@settings(max_examples=20)
@given(st.sampled_from([16, 32, 64]), st.sampled_from([16, 32, 64]), st.booleans())
def test_whole_tiles_need_no_mask(outputs, inputs, backward) -> None:
    pattern = SparsePattern.from_design(7 * 64, 7 * 64, bibdlib.construct(7, 3, 1), edge=64)
    work = product_work(pattern, outputs, inputs, backward=backward)
    assert work.full
    assert work.targets_run
    assert work.sources_run
    assert work.aligned == 16


def test_without_a_card_gather_computes_and_says_so_once() -> None:
    script = """
import warnings, torch, bibdlib
from iddl_prune import BIBDLinear, SparsePattern
pattern = SparsePattern.from_design(9, 8, bibdlib.construct(7, 3, 1))
layer = BIBDLinear(9, 8, pattern=pattern, kernel="triton")
x = torch.randn(3, 9)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    out = [layer(x) for _ in range(3)]
    out[0].sum().backward()
assert [str(line.message) for line in said] == [
    "Kernel 'triton' does not run on cpu in torch.float32; 'gather' computes instead."
], said
layer.use_kernel("gather")
assert torch.equal(layer(x), out[0])
"""
    run(sys.executable, "-c", script, TRITON_INTERPRET="0")


def test_another_process_finds_the_pattern_in_the_buffers() -> None:
    from iddl_prune.ops import triton

    pattern = SparsePattern.from_design(20, 19, bibdlib.construct(7, 3, 1))
    layer = BIBDLinear(20, 19, pattern=pattern, kernel="triton")
    indices = [getattr(layer.half(), name) for name in triton.buffers(pattern)]
    triton._patterns.clear()
    found = triton.pattern_of(indices)
    assert found is not pattern
    assert found.digest == pattern.digest
    assert triton.pattern_of(indices) is found


def test_the_operator_keeps_its_word_with_the_name_among_its_indices() -> None:
    from iddl_prune.ops import triton

    pattern = SparsePattern.from_design(9, 8, bibdlib.construct(7, 3, 1))
    tensors = torch.randn(3, 9), torch.randn(pattern.kept, requires_grad=True), torch.randn(8, requires_grad=True)
    indices = list(triton.buffers(pattern).values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.library.opcheck(torch.ops.iddl.linear.default, (*tensors, indices, 8, False, "triton"))


def test_nothing_imports_triton_before_it_is_needed() -> None:
    run(sys.executable, "-c", "import iddl_prune, sys; assert 'iddl_prune.ops.triton_kernels' not in sys.modules")


@needs_interpreter
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card, and tests/gpu runs on it")
def test_kernels_in_the_interpreter() -> None:
    run(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", GPU_TESTS, TRITON_INTERPRET="1")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed; Linux has it")
@pytest.mark.parametrize("name", ["product_kernel", "gradient_kernel"])
def test_kernels_compile_for_hopper_into_matrix_instructions_and_wide_copies(name) -> None:
    """Without a card Triton still compiles for one: whole tiles take `wgmma` and asynchronous copies of 16 bytes."""
    script = f"""
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from iddl_prune.ops import triton_kernels
kernel = triton_kernels.{name}
fixed = dict(
    MOST_TAPS=9, POINTWISE=False, BACKWARD=False, TARGETS_RUN=True, SOURCES_RUN=True, FULL=True, ALIGNED=16,
    HAS_SCALE=True, HAS_SHIFT=True, HAS_ADDED=True, RELU=True, PRECISION="ieee", WIDEN=False,
    ROWS=64, OUTPUTS=64, INPUTS=64,
)
fixed = {{key: value for key, value in fixed.items() if key in kernel.arg_names}}
tables = "tiles", "steps", "targets", "sources", "taps", "tap_counts"
tensors = "x", "slope", "weight", "out", "added", "scale", "shift"
types = dict.fromkeys(tables, "*i32") | dict.fromkeys(tensors, "*bf16") | dict.fromkeys(fixed, "constexpr")
signature = {{key: types.get(key, "i32") for key in kernel.arg_names}}
wide = *tables, *tensors, "x_stride", "slope_stride", "out_stride", "kept"
attributes = {{(i,): [["tt.divisibility", 16]] for i, key in enumerate(kernel.arg_names) if key in wide}}
constants = {{(kernel.arg_names.index(key),): value for key, value in fixed.items()}}
source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
assembly = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
assert "wgmma.mma_async" in assembly
assert "cp.async.cg.shared.global" in assembly  # .cg is of 16 bytes always
assert "ld.global.b16" not in assembly
"""
    run(sys.executable, "-c", script, TRITON_INTERPRET="0")


def run(*command: object, **environment: str) -> None:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
