"""The kernels by name: modules of one signature, each with the index tensors it wants.

COMPOSITE is one made of torch's own operators, which exporters are to see; AUTOGRAD one whose gradients torch finds
faster than its own functions do.
"""

from __future__ import annotations

from types import ModuleType

from iddl_prune.ops import gather, reference, triton, vector

__all__ = ["KERNELS"]

KERNELS: dict[str, ModuleType] = {"reference": reference, "gather": gather, "vector": vector, "triton": triton}
