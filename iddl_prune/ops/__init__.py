"""One product, several kernels: each has the buffers it wants, `linear` and `conv2d` of one signature."""

from types import ModuleType

from iddl_prune.ops import gather, reference

KERNELS: dict[str, ModuleType] = {"reference": reference, "gather": gather}

__all__ = ["KERNELS", "gather", "reference"]
