"""The same network in fewer passes: batch norms folded into weights, sums and ReLUs into the layer before."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from iddl_prune.layers import BIBDConv2d, PatternLayer

__all__ = ["fold_norms_", "fuse_ends_", "traced"]

_ADD = (operator.add, operator.iadd, torch.add, "add", "add_")
_RELU = (F.relu, torch.relu, torch.relu_, "relu", "relu_")


class _Tracer(fx.Tracer):
    """Sparse layers are single steps, as torch's own are."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, PatternLayer) or super().is_leaf_module(module, qualified_name)


def traced(model: nn.Module) -> fx.GraphModule | None:
    """The model as a graph of steps that shares its modules; None if its course depends on what it meets."""
    try:
        return fx.GraphModule(model, _Tracer().trace(model))
    except Exception:  # a trace runs the model's own code, which may raise anything
        return None


def fold_norms_(graph: fx.GraphModule) -> int:
    """Fold each batch norm that alone follows a convolution into it; returns how many."""
    folded = 0
    for node in list(graph.graph.nodes):
        norm, before = _module(graph, node), _only_argument(node)
        conv = _module(graph, before) if before is not None and len(before.users) == 1 else None
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(conv, nn.Conv2d | BIBDConv2d):
            continue
        if norm.running_mean is None or norm.training:
            continue
        assert before is not None
        graph.set_submodule(
            str(before.target), _scaled(conv, norm) if isinstance(conv, BIBDConv2d) else _fused(conv, norm)
        )
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
        folded += 1
    _finish(graph)
    return folded


def fuse_ends_(graph: fx.GraphModule) -> int:
    """Have each sparse layer take the sum and the ReLU that alone follow it in its own pass; returns how many."""
    fused = 0
    for node in list(graph.graph.nodes):
        layer = _module(graph, node)
        if not isinstance(layer, PatternLayer):
            continue
        if isinstance(layer, BIBDConv2d) and (total := _only_user(node)) is not None and _is(total, _ADD):
            others = [other for other in total.args if other is not node]
            if len(others) == 1 and isinstance(others[0], fx.Node) and not total.kwargs:
                fused += _take(graph, node, total, args=(node.args[0], others[0]))
        after = _only_user(node)
        if after is not None and (_is(after, _RELU) or isinstance(_module(graph, after), nn.ReLU)):
            fused += _take(graph, node, after, kwargs={"relu": True})
    _finish(graph)
    return fused


def _take(graph: fx.GraphModule, node: fx.Node, after: fx.Node, **changes: Any) -> bool:
    """The layer's step does what the next step did, at the place of that one, where all it reads is known."""
    after.prepend(node)
    for name, value in changes.items():
        setattr(node, name, value)
    after.replace_all_uses_with(node)
    graph.graph.erase_node(after)
    return True


@torch.no_grad()
def _scaled(conv: BIBDConv2d, norm: nn.BatchNorm2d) -> BIBDConv2d:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
    shift = -norm.running_mean * scale + (0 if norm.bias is None else norm.bias)
    rows = torch.from_numpy(conv.pattern.positions).to(scale.device) // conv.in_channels
    conv.weight.copy_(conv.weight * scale[rows][:, None, None])
    conv.bias = nn.Parameter(shift if conv.bias is None else conv.bias * scale + shift, requires_grad=False)
    return conv


def _fused(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    return fuse_conv_bn_eval(conv.eval(), norm)


def _module(graph: fx.GraphModule, node: fx.Node | None) -> nn.Module | None:
    if node is None or node.op != "call_module":
        return None
    calls = sum(other.op == "call_module" and other.target == node.target for other in graph.graph.nodes)
    module = graph.get_submodule(str(node.target))
    return module if calls == 1 or isinstance(module, nn.ReLU) else None


def _only_argument(node: fx.Node) -> fx.Node | None:
    return node.args[0] if len(node.args) == 1 and isinstance(node.args[0], fx.Node) else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is(node: fx.Node, targets: tuple[Any, ...]) -> bool:
    return node.op in ("call_function", "call_method") and node.target in targets


def _finish(graph: fx.GraphModule) -> None:
    graph.graph.lint()
    graph.delete_all_unused_submodules()
    graph.recompile()
