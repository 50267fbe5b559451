"""Where the kernels can run: on a card, or in Triton's interpreter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture
def device() -> str:
    """A card if there is one, else the CPU if Triton interprets (TRITON_INTERPRET=1 before Python starts)."""
    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("no CUDA device, and TRITON_INTERPRET=1 is not set; tests/iddl_prune/test_triton.py sets it")
    return "cpu"


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Products of float32 in float32, settings of their own, and NaN in all memory that nobody has written."""
    monkeypatch.setenv("IDDL_CACHE", str(tmp_path))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    allowed, precision = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision(precision)
