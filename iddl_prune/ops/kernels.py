"""The kernels by name: modules of one signature, each with the index tensors it wants."""

from __future__ import annotations

from types import ModuleType

from iddl_prune.ops import gather, reference, triton, vector

__all__ = ["KERNELS"]

KERNELS: dict[str, ModuleType] = {"reference": reference, "gather": gather, "vector": vector, "triton": triton}
