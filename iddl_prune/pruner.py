"""For those who come from Torch-Pruning: its constructor, its `step()`, designs where it cuts channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from iddl_prune.convert import pattern_layers, prune_, to_dense
from iddl_prune.dependency import permute_
from iddl_prune.errors import InvalidArgument
from iddl_prune.importance import IMPORTANCES, Importance, calibration_inputs
from iddl_prune.layers import PatternLayer
from iddl_prune.plan import Plan, plan
from iddl_prune.recover import repair_
from iddl_prune.survey import survey

__all__ = ["BIBDPruner"]

Layer = nn.Linear | nn.Conv2d | PatternLayer


class BIBDPruner:
    """Connects a model by designs, in place, in as many steps as asked, with Torch-Pruning's arguments.

    Where Torch-Pruning (G. Fang and others, DepGraph: towards any structural pruning, CVPR 2023) takes a share of
    the channels out of each layer, here a share of the weights goes and every channel stays: a `pruning_ratio` of
    0.5 of channels leaves about a quarter of the weights, as one of 0.75 does here. The first convolution and the
    last linear layer stay dense without being told.

    Parameters
    ----------
    model, example_inputs
        As in `iddl_prune.plan`; the model is changed by `step`.
    importance
        One of Torch-Pruning's MagnitudeImportance, TaylorImportance (uses the gradients that `loss.backward()` left),
        HessianImportance (those that its `accumulate_grad` took), RandomImportance; or what `iddl_prune.plan` takes.
    global_pruning
        Whether layers are weighed against each other: allocation "sensitivity" instead of "uniform".
    pruning_ratio
        Share of the weights that the converted layers lose together, after all steps.
    pruning_ratio_dict
        The same for single modules, with all that is in them, or tuples of modules; 0 leaves them dense.
    iterative_steps, iterative_pruning_ratio_scheduler
        Number of steps, and the ratios after 0, 1, ... steps, by default in equal parts. A later step fits a
        sparser design to the weights that are left.
    ignored_layers
        Modules that stay dense, with all that is in them.
    calibration
        As in `iddl_prune.compress`: weights are re-solved for it after each step, towards the answers before.
    options
        Further arguments of `iddl_prune.plan`: edge, budget, allocation, permutation, ...

    Attributes
    ----------
    plan
        What the last step did; None before the first.

    Raises
    ------
    InvalidArgument
        If an argument breaks its rule, or has no meaning where no channel is removed.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Tensor | tuple[Any, ...],
        importance: Any = None,
        global_pruning: bool = False,
        pruning_ratio: float = 0.5,
        pruning_ratio_dict: Mapping[nn.Module | tuple[nn.Module, ...], float] | None = None,
        *,
        iterative_steps: int = 1,
        iterative_pruning_ratio_scheduler: Callable[[float, int], Sequence[float]] | None = None,
        ignored_layers: Iterable[nn.Module] | None = None,
        calibration: Tensor | Iterable[Any] | None = None,
        **options: Any,
    ) -> None:
        if iterative_steps < 1:
            raise InvalidArgument(f"Argument 'iterative_steps' must be at least 1, not {iterative_steps}.")
        for name in options:
            if name in _REFUSED:
                raise InvalidArgument(f"Argument '{name}' has no meaning here: {_REFUSED[name]}.")
        self.plan: Plan | None = None
        self.model, self.example_inputs = model, example_inputs
        self.importance = importance
        self.iterative_steps, self.current_step = iterative_steps, 0
        self._ratios = (iterative_pruning_ratio_scheduler or _linear)(
            _ratio("pruning_ratio", pruning_ratio), iterative_steps
        )
        names = {module: name for name, module in model.named_modules()}
        self._ignored = set(_layers_in("ignored_layers", ignored_layers or (), names))
        self._ratios_by_layer: dict[str, Sequence[float]] = {}
        for modules, ratio in (pruning_ratio_dict or {}).items():
            inside = _layers_in("pruning_ratio_dict", modules if isinstance(modules, tuple) else (modules,), names)
            steps = (iterative_pruning_ratio_scheduler or _linear)(_ratio("pruning_ratio_dict", ratio), iterative_steps)
            self._ratios_by_layer |= dict.fromkeys(inside, steps)
        self._calibration = calibration if calibration is None or isinstance(calibration, Tensor) else list(calibration)
        self._options = {"allocation": "sensitivity" if global_pruning else "uniform"} | options

    def step(self) -> None:
        """Prune to the ratio of the next step.

        Raises
        ------
        InvalidArgument
            If all steps are done, the importance lacks what it needs, or no layer can be converted.
        """
        if self.current_step == self.iterative_steps:
            raise InvalidArgument(f"Argument 'iterative_steps' allows {self.iterative_steps} steps, and all are done.")
        step = self.current_step + 1
        before = to_dense(self.model)
        able = [name for name, layer in survey(before, self.example_inputs, self._filter).items() if not layer.reason]
        decided = plan(
            before,
            self.example_inputs,
            density=1 - self._ratios[step],
            importance=_told(self.importance, self.model),
            calibration=self._calibration,
            filter_fn=self._filter,
            overrides={name: 1 - ratios[step] for name, ratios in self._ratios_by_layer.items() if name in able},
            **self._options,
        )
        if not decided.layers:
            raise InvalidArgument(f"Argument 'pruning_ratio' must leave a layer to convert:\n{decided}")
        for name, layer in pattern_layers(self.model).items():
            self.model.set_submodule(name, layer.to_dense())  # type: ignore[operator]
        prune_(self.model, decided)
        if self._calibration is not None:
            device = next(before.parameters()).device
            repair_(self.model, permute_(before, decided.moves), calibration_inputs(self._calibration).to(device))
        self.current_step, self.plan = step, decided

    def _filter(self, name: str, _: nn.Module) -> bool | None:
        return False if name in self._ignored else None


_NO_CHANNEL = "no channel is removed"

# Torch-Pruning's other arguments, and why they are refused.
_REFUSED = {
    "max_pruning_ratio": "no layer can lose all its weights to a design",
    "round_to": f"{_NO_CHANNEL}; 'edge' settles the tiles",
    "isomorphic": "'allocation' settles how layers are weighed against each other",
    "in_channel_groups": _NO_CHANNEL,
    "out_channel_groups": _NO_CHANNEL,
    "channel_groups": _NO_CHANNEL,
    "num_heads": "no head is removed",
    "prune_num_heads": "no head is removed",
    "prune_head_dims": "no head is removed",
    "head_pruning_ratio": "no head is removed",
    "head_pruning_ratio_dict": "no head is removed",
    "customized_pruners": "Linear and Conv2d are converted, all else stays",
    "unwrapped_parameters": _NO_CHANNEL,
    "root_module_types": "Linear and Conv2d are converted; 'ignored_layers' leaves some out",
    "forward_fn": "the model is called with 'example_inputs'",
    "output_transform": "outputs are not looked at",
    "ch_sparsity": "Torch-Pruning gave it up for 'pruning_ratio'",
    "ch_sparsity_dict": "Torch-Pruning gave it up for 'pruning_ratio_dict'",
}


def _linear(ratio: float, steps: int) -> list[float]:
    return [ratio * step / steps for step in range(steps + 1)]


def _ratio(name: str, ratio: float) -> float:
    low = "0 <=" if name == "pruning_ratio_dict" else "0 <"
    if not (0 < ratio < 1 or (ratio == 0 and name == "pruning_ratio_dict")):
        raise InvalidArgument(f"Argument '{name}' must hold shares of the weights, {low} ratio < 1, not {ratio}.")
    return ratio


def _layers_in(argument: str, modules: Iterable[nn.Module], names: Mapping[nn.Module, str]) -> list[str]:
    """Names of the modules and of all that is in them."""
    found = []
    for module in modules:
        if not isinstance(module, nn.Module) or module not in names:
            raise InvalidArgument(f"Argument '{argument}' must hold modules of the model, not {module!r:.80}.")
        found += [names[inside] for inside in module.modules()]
    return found


def _told(importance: Any, model: nn.Module) -> Importance | None:
    """The importance in words that `plan` knows; of Torch-Pruning's, what it says of each weight."""
    import torch_pruning

    told = torch_pruning.importance
    if not isinstance(importance, told.Importance):
        return importance
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Layer)}
    if type(importance) in (told.MagnitudeImportance, told.GroupMagnitudeImportance):
        values = {name: _dense(layer, layer.weight).abs() ** importance.p for name, layer in layers.items()}
    elif type(importance) in (told.TaylorImportance, told.GroupTaylorImportance):
        values = {
            name: _dense(layer, layer.weight * layer.weight.grad).square()
            for name, layer in layers.items()
            if layer.weight.grad is not None
        }
    elif type(importance) in (told.HessianImportance, told.GroupHessianImportance):
        taken = importance._accu_grad
        values = {
            name: _dense(layer, layer.weight.square() * taken[layer.weight])
            for name, layer in layers.items()
            if layer.weight in taken
        }
    elif type(importance) is told.RandomImportance:
        values = {name: torch.rand(_dense(layer, layer.weight).shape) for name, layer in layers.items()}
    else:
        raise InvalidArgument(
            f"Argument 'importance' must value single weights, as {', '.join(IMPORTANCES)} and "
            f"Torch-Pruning's Magnitude, Taylor, Hessian and Random do, not {type(importance).__name__}."
        )

    def worth(name: str, *_: Any) -> Tensor:
        if name not in values:
            raise InvalidArgument(
                f"Argument 'importance', {type(importance).__name__}, needs gradients of {name!r}: "
                "call loss.backward() (and accumulate_grad) before step()."
            )
        return values[name].detach().flatten(2).sum(-1) if values[name].ndim > 2 else values[name].detach()

    return worth


def _dense(layer: nn.Module, values: Tensor) -> Tensor:
    """Values of the kept weights in the shape of the dense layer, zeros elsewhere."""
    if not isinstance(layer, PatternLayer):
        return values
    positions = torch.from_numpy(layer.pattern.positions).to(values.device)
    dense = values.new_zeros(layer.pattern.out_features * layer.pattern.in_features, *values.shape[1:])
    return dense.index_copy(0, positions, values).unflatten(0, (layer.pattern.out_features, layer.pattern.in_features))
