"""What stands in a model: for each layer its numbers, its design, its bytes, its kernel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from iddl_prune.layers import PatternLayer

__all__ = ["Entry", "inventory"]


@dataclass(frozen=True)
class Entry:
    """A module that holds tensors of its own.

    Attributes
    ----------
    kept, size_bytes
        Numbers in those tensors, and what they take in a file.
    dense
        Numbers that the dense layer would hold.
    pattern
        Parameters of the design and how many copies, or "random"; empty for a layer that is not sparse.
    kernel
        Name of the kernel that computes it; empty likewise.
    """

    name: str
    kind: str
    kept: int
    dense: int
    size_bytes: int
    pattern: str = ""
    kernel: str = ""

    @property
    def density(self) -> float:
        """Kept over dense numbers, biases among both."""
        return self.kept / self.dense


def inventory(model: nn.Module) -> list[Entry]:
    """The modules of a model that hold parameters or stored buffers, in order; a shared one is told once."""
    return [entry for name, module in model.named_modules() if (entry := _entry(name, module)).kept]


def _entry(name: str, module: nn.Module) -> Entry:
    children = {f"{child}." for child, _ in module.named_children()}
    own = [
        tensor for key, tensor in module.state_dict().items() if not any(key.startswith(child) for child in children)
    ]
    kept = sum(tensor.numel() for tensor in own)
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in own)
    if not isinstance(module, PatternLayer):
        return Entry(name, type(module).__name__, kept, kept, size_bytes)
    pattern = module.pattern
    taps = module.weight[0].numel()
    dense = kept + (pattern.out_features * pattern.in_features - pattern.kept) * taps
    what = str(pattern.parameters) if pattern.is_design else "random"
    if pattern.cells != (1, 1):
        what += " in {} x {}".format(*pattern.cells)
    return Entry(name, type(module).__name__, kept, dense, size_bytes, what, module.kernel)
