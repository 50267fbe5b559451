"""The fastest form of a sparse model on this machine, each choice measured, dense among the choices."""

from __future__ import annotations

import copy
import json
import platform
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

import bibdlib
from iddl_prune.convert import pattern_layers, to_dense
from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.files import cache_dir, write_whole
from iddl_prune.fold import fold_norms_, fuse_ends_, traced
from iddl_prune.layers import BIBDConv2d, BIBDLinear, PatternLayer
from iddl_prune.mode import in_eval_mode
from iddl_prune.ops import KERNELS, triton

__all__ = ["Deployed", "LayerChoice", "optimize_", "taking_turns"]

Times = dict[int, dict[str, float]]

# Below this gain over the dense layer, or the dense net, a choice is noise.
_LEAST_GAIN = 1.03

# What rounding may change, relative to the largest answer, of 16-bit floats and of others, with room for TF32.
_SHORT_ROUNDING, _ROUNDING = 5e-2, 1e-2


@dataclass(frozen=True)
class LayerChoice:
    """What a layer is computed by, and seconds by batch size and kernel, dense among them."""

    kernel: str
    times: Times

    @property
    def ratio(self) -> float:
        """How many times faster than dense the fastest sparse kernel is: the geometric mean of the batch sizes."""
        return max(_gain(self.times, name) for name in next(iter(self.times.values())) if name != "dense")


@dataclass(frozen=True)
class Deployed:
    """A model made for this machine, for inference only.

    Attributes
    ----------
    model
        Takes what the given model takes, and answers alike.
    dense
        The same with all layers dense, in the best form that dense layers have.
    layers
        The choice of each sparse layer.
    layout
        "contiguous" or "channels-last".
    folded, fused
        Batch norms folded, sums and ReLUs taken along by sparse layers.
    times
        Seconds of the whole net by batch size, of the best dense form and of this one.
    difference
        The largest difference between its answers and those of the given model, relative to the largest of these.
    """

    model: nn.Module
    dense: nn.Module
    layers: dict[str, LayerChoice]
    layout: str
    folded: int
    fused: int
    times: Times
    difference: float

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The table: a header, a row a layer, the whole net."""
        yield "layer", "kernel", "times dense", ""
        for name, choice in self.layers.items():
            note = f"kept dense: sparse is {choice.ratio:.1f}x here" if choice.kernel == "dense" else ""
            yield name, choice.kernel, f"{choice.ratio:.2f}", note
        for size, times in self.times.items():
            ratio = times["dense"] / times["this"]
            yield f"the net, batch {size}", self.layout, f"{ratio:.2f}", f"{1000 * times['this']:.2f} ms"
        yield "its answers", "", "", f"as before to {self.difference:.0e}"

    def __str__(self) -> str:
        rows = list(self.rows())
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def optimize_(
    model: nn.Module,
    example_inputs: Tensor | tuple[Any, ...],
    *,
    batch_sizes: Sequence[int] = (1, 32),
    seconds: float = 0.2,
    again: bool = False,
) -> Deployed:
    """Give a sparse model the form in which it is fastest here; the model's own layers are changed and used.

    Batch norms are folded where the model can be traced; each sparse layer is timed with every kernel that can
    run here and as a dense layer, in turns, and gets the fastest; the layout is that of the faster net. A net that
    is no faster than its dense form in its best layout becomes that. Times of layers are kept by machine and shape
    in `choices.json` of the folder that the environment variable IDDL_CACHE names, else the user's cache folder.

    Parameters
    ----------
    example_inputs
        A batch, or a tuple of the model's positional arguments; each tensor's first axis is the batch.
    batch_sizes
        Sizes to be fast at; the geometric mean decides.
    seconds
        Time spent on each layer, and five times that on the net, at each batch size.
    again
        Measure layers anew whose times are kept, as after a time when the machine was busy.

    Raises
    ------
    InvalidArgument
        If a batch size is below 1, an example has no row, or the model has no sparse layer.
    PruneError
        If the net in its fastest form does not answer as it did, beyond rounding.
    """
    is_listed = isinstance(batch_sizes, Sequence) and len(batch_sizes) > 0
    if not is_listed or any(not isinstance(size, int) or size < 1 for size in batch_sizes):
        raise InvalidArgument(f"Argument 'batch_sizes' must hold positive integers, not {batch_sizes!r}.")
    if not pattern_layers(model):
        raise InvalidArgument("Argument 'model' must have a sparse layer; prune it first.")
    examples = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    batches = {size: tuple(_sized(example, size) for example in examples) for size in batch_sizes}
    model.eval().requires_grad_(False)
    with torch.no_grad():
        answers = {size: model(*batch) for size, batch in batches.items()}
    graph = traced(model)
    folded = fold_norms_(graph) if graph is not None else 0
    net: nn.Module = model if graph is None else graph
    with torch.no_grad():
        dense = to_dense(net)
        choices = _choices(net, batches, seconds, _Cache(forgotten=again))
        for name, choice in choices.items():
            layer = net.get_submodule(name)
            assert isinstance(layer, BIBDLinear | BIBDConv2d)
            if choice.kernel == "dense":
                net.set_submodule(name, layer.to_dense())
            else:
                layer.use_kernel(choice.kernel)
        fused = fuse_ends_(net) if isinstance(net, fx.GraphModule) else 0
        forms = {
            f"{name} {layout}": _laid_out(form, layout)
            for name, form in (("sparse", net), ("dense", dense))
            for layout in ("contiguous", "channels-last")
        }
        calls = {size: {name: _call(form, batch) for name, form in forms.items()} for size, batch in batches.items()}
        times = {size: taking_turns(named, 5 * seconds) for size, named in calls.items()}
    best = {
        side: min((name for name in forms if name.startswith(side)), key=lambda name: _mean(times, name))
        for side in ("sparse", "dense")
    }
    chosen = best["sparse"]
    if _mean(times, chosen) * _LEAST_GAIN > _mean(times, best["dense"]):
        chosen = best["dense"]
    with torch.no_grad():
        difference = max(_difference(forms[chosen], batch, answers[size]) for size, batch in batches.items())
    return Deployed(
        forms[chosen],
        forms[best["dense"]],
        choices,
        chosen.partition(" ")[2],
        folded,
        fused if chosen.startswith("sparse") else 0,
        {size: {"dense": taken[best["dense"]], "this": taken[chosen]} for size, taken in times.items()},
        difference,
    )


def taking_turns(calls: Mapping[str, Callable[[], Any]], seconds: float, rounds: int = 500) -> dict[str, float]:
    """Median seconds of each call, all made in turns, at least five rounds.

    A turn is two calls, of which the second counts: it finds in the caches what the call leaves there itself, as when a
    model runs again and again, and not what another side has left.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    names, end = list(calls), time.perf_counter() + seconds
    for turn in range(rounds):
        if turn >= 5 and time.perf_counter() > end:
            break
        for name in random.Random(turn).sample(names, len(names)):
            calls[name]()
            started = time.perf_counter()
            calls[name]()
            taken[name].append(time.perf_counter() - started)
    return {name: median(times) for name, times in taken.items()}


def _difference(form: nn.Module, batch: tuple[Any, ...], answers: Any) -> float:
    """How far, relative to the largest answer, a form is from these answers; PruneError where it is no rounding."""
    difference = 0.0
    for mine, wanted in zip(tree_leaves(form(*batch)), tree_leaves(answers), strict=True):
        if isinstance(wanted, Tensor) and wanted.numel():
            allowed = _SHORT_ROUNDING if wanted.dtype in (torch.float16, torch.bfloat16) else _ROUNDING
            apart = (mine.float() - wanted.float()).abs().masked_fill(mine == wanted, 0)  # infinite ones too
            largest = wanted.float().nan_to_num(posinf=0, neginf=0).abs().max()
            found = float(apart.max() / largest.clamp_min(torch.finfo(torch.float32).tiny))
            if not found <= allowed:  # nor where it is not a number
                raise PruneError(
                    f"The model's fastest form does not answer as the model did: it is {found:.0e} of the largest "
                    f"answer away on a batch of shape {tuple(batch[0].shape)}. Nothing was deployed."
                )
            difference = max(difference, found)
    return difference


def _choices(
    net: nn.Module, batches: dict[int, tuple[Any, ...]], seconds: float, cache: _Cache
) -> dict[str, LayerChoice]:
    """The fastest kernel of each sparse layer on the inputs that it meets in the net."""
    inputs = {size: _inputs(net, batch) for size, batch in batches.items()}
    choices = {}
    for name, layer in pattern_layers(net).items():
        if any(name not in met for met in inputs.values()):
            continue
        times = {}
        for size, met in inputs.items():
            key = _signature(layer, met[name])
            times[size] = cache.times[key] = cache.times.get(key) or _layer_times(layer, met[name], seconds)
        names = list(next(iter(times.values())))
        fastest = min(names, key=lambda kernel: _mean(times, kernel))
        is_gain = fastest != "dense" and _gain(times, fastest) >= _LEAST_GAIN
        choices[name] = LayerChoice(fastest if is_gain else "dense", times)
    cache.write()
    return choices


def _layer_times(layer: PatternLayer, x: Tensor, seconds: float) -> dict[str, float]:
    forms: dict[str, nn.Module] = {"dense": layer.to_dense()}  # type: ignore[operator]
    last = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    for name, kernel in KERNELS.items():
        if name != "reference" and kernel.available(x.device.type, x.dtype):
            forms[name] = copy.deepcopy(layer)
            forms[name].use_kernel(name)  # type: ignore[operator]
    if "triton" in forms:
        with triton.searching():
            forms["triton"](x)
    calls = {name: _call(form, (x,)) for name, form in forms.items()}
    if isinstance(layer, BIBDConv2d):
        calls["dense channels-last"] = _call(_laid_out(forms["dense"], "channels-last"), (last,))
    taken = taking_turns(calls, seconds)
    taken["dense"] = min(taken["dense"], taken.pop("dense channels-last", taken["dense"]))
    return taken


def _inputs(net: nn.Module, batch: tuple[Any, ...]) -> dict[str, Tensor]:
    met: dict[str, Tensor] = {}

    def meeting(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def meet(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            met[name] = arguments[0]

        return meet

    hooks = [layer.register_forward_pre_hook(meeting(name)) for name, layer in pattern_layers(net).items()]
    try:
        with in_eval_mode(net):
            net(*batch)
    finally:
        for hook in hooks:
            hook.remove()
    return met


def _laid_out(form: nn.Module, layout: str) -> nn.Module:
    if layout == "contiguous":
        return form
    return copy.deepcopy(form).to(memory_format=torch.channels_last)


def _call(form: nn.Module, batch: tuple[Any, ...]) -> Callable[[], Any]:
    def call() -> Any:
        out = form(*batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return out

    return call


def _are_times(times: Any) -> bool:
    """Whether that is what a measurement of a layer writes."""
    return (
        isinstance(times, dict)
        and {"dense"} <= times.keys() <= {"dense", *KERNELS}
        and all(isinstance(taken, int | float) and taken > 0 for taken in times.values())
    )


def _sized(example: Any, size: int) -> Any:
    """The example repeated to a batch of this size."""
    if not isinstance(example, Tensor) or not example.ndim:
        return example
    if not len(example):
        raise InvalidArgument(
            f"Argument 'example_inputs' must hold an example, not none: shape {tuple(example.shape)}."
        )
    return example.repeat(-(-size // len(example)), *[1] * (example.ndim - 1))[:size]


def _mean(times: Times, name: str) -> float:
    """Geometric mean of the batch sizes."""
    return exp(sum(log(taken[name]) for taken in times.values()) / len(times))


def _gain(times: Times, name: str) -> float:
    return _mean(times, "dense") / _mean(times, name)


def _signature(layer: PatternLayer, x: Tensor) -> str:
    """What a layer's time depends on."""
    pattern = layer.pattern
    form = [pattern.in_features, pattern.out_features, *pattern.blocks.shape, *layer.weight.shape[1:]]
    moves = [layer.stride, layer.padding, layer.dilation] if isinstance(layer, BIBDConv2d) else []
    return json.dumps([type(layer).__name__, form, moves, list(x.shape), str(x.dtype), _machine(x)])


def _machine(x: Tensor) -> str:
    device = torch.cuda.get_device_name(x.device) if x.is_cuda else platform.processor() or platform.machine()
    return f"{platform.node()} {device} {torch.get_num_threads()} torch {torch.__version__} iddl {bibdlib.__version__}"


class _Cache:
    """Times measured before, by signature; those that are looked up again are new where the old are forgotten."""

    def __init__(self, *, forgotten: bool) -> None:
        self.path = cache_dir() / "choices.json"
        try:
            known = json.loads(self.path.read_text())
        except (OSError, ValueError):
            known = {}
        kept = known.items() if isinstance(known, dict) else ()
        self.known: dict[str, dict[str, float]] = {key: times for key, times in kept if _are_times(times)}
        self.times = {} if forgotten else dict(self.known)

    def write(self) -> None:
        with suppress(PruneError):  # where nothing may be kept, the next run measures anew
            write_whole(self.path, json.dumps(self.known | self.times, indent=1).encode())
