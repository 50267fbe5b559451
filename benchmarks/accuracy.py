"""How accurate is a network connected by designs, beside the same network pruned in other ways?

    python benchmarks/accuracy.py --data-dir data --data fashion-mnist
    python benchmarks/accuracy.py --data-dir data --model resnet18 --data cifar10 \
        --checkpoint resnet18_cifar10.safetensors --density 0.125 --budget flops --seeds 1

Every method starts from the same dense network of its seed (a narrow network starts from nothing and gets the epochs
of the dense one besides), keeps the same share of the same layers, and is fine-tuned for as many epochs on the same
batches in the same order with the dense network as teacher. Each run is written to the JSON when it is done and not
made twice; one that was stopped goes on where its training stopped. Any number of these commands may work on the same
JSON at once: a run that another one is making is left to it.
"""

from __future__ import annotations

import copy
import fcntl
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils import parametrize

from iddl_prune import Plan, SparsePattern, baselines, compress, pattern_layers, plan, repair_
from iddl_prune.convert import connect_
from iddl_prune.data import Dataset, load
from iddl_prune.files import write_whole
from iddl_prune.finetune import TrainConfig, evaluate, train
from iddl_prune.importance import input_power, worth
from iddl_prune.layers import PatternLayer
from iddl_prune.measure import count_weights, machine, time_models
from iddl_prune.mode import in_eval_mode
from iddl_prune.models import ModelSpec, load_checkpoint
from iddl_prune.ops import KERNELS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Training:
    """Training of the dense network and of what is made of it, and how many images this is fitted and repaired by."""

    dense: TrainConfig
    fine: TrainConfig
    calibration: int


# The dense ResNet18 comes from a checkpoint; what is given here trains the narrow ones. At 0.1 an MLP is
# fine-tuned better than at 0.02, the design's and that of the largest weights alike. A linear layer has one equation
# an image, a convolution one a place.
TRAININGS = {
    "mlp": Training(TrainConfig(epochs=10, lr=0.05), TrainConfig(epochs=3, lr=0.1), calibration=4096),
    "resnet18": Training(
        TrainConfig(epochs=13, lr=0.1, precision="bf16-mixed"),
        TrainConfig(epochs=3, lr=0.02, precision="bf16-mixed"),
        calibration=512,
    ),
}


@dataclass(frozen=True)
class Goal:
    """What is asked of a pruning method: share of the converted layers' weights, or of their FLOPs; edge of tiles."""

    density: float
    tile: int | None
    budget: str = "weights"

    def __str__(self) -> str:
        tile = "by width" if self.tile is None else self.tile
        return f"{self.density:.3g} of {self.budget}, tile {tile}"


@dataclass(frozen=True)
class Case:
    """What a method is given."""

    dense: nn.Module
    goal: Goal
    calibration: Tensor
    seed: int

    @property
    def examples(self) -> Tensor:
        """Two inputs."""
        return self.calibration[:2]

    def compressed(self, design: str, **options: Any) -> nn.Module:
        """Cut to the goal's density by `iddl_prune.compress`."""
        return compress(
            self.dense,
            self.examples,
            density=self.goal.density,
            edge=self.goal.tile,
            budget=self.goal.budget,
            design=design,
            calibration=self.calibration,
            seed=self.seed,
            **options,
        )

    def plan(self, *, fit: bool = False) -> Plan:
        """The design's own plan: it says which layers are converted, and how much each keeps."""
        return plan(
            self.dense,
            self.examples,
            density=self.goal.density,
            edge=self.goal.tile,
            budget=self.goal.budget,
            calibration=self.calibration,
            fit=fit,
            seed=self.seed,
        )

    @property
    def kept(self) -> dict[str, int]:
        """How many weights each converted layer keeps."""
        taps = {name: layer.weights_before // (layer.in_features * layer.out_features) for name, layer in self._layers}
        return {name: layer.pattern().kept * taps[name] for name, layer in self._layers}

    @property
    def _layers(self) -> list[tuple[str, Any]]:
        return list(self.plan().layers.items())


def of_balance(case: Case) -> nn.Module:
    """The best patterns of equal fan-in and fan-out, repaired: at tile 1 single channels, else the design's tiles."""
    layers = case.plan(fit=case.goal.tile != 1).layers
    power = input_power(case.dense, list(layers), case.calibration)
    patterns = {}
    for name, layer in layers.items():
        module = case.dense.get_submodule(name)
        assert isinstance(module, nn.Linear | nn.Conv2d)
        value, pattern = worth(module, power[name]), layer.pattern()
        if case.goal.tile == 1:
            blocks = baselines.balanced(value, round(pattern.kept / layer.out_features))
            patterns[name] = SparsePattern(blocks, np.arange(layer.in_features), np.arange(layer.out_features))
        else:
            patterns[name] = baselines.balanced_tiles(value, pattern)
    model = connect_(copy.deepcopy(case.dense), patterns)
    repair_(model, case.dense, case.calibration)
    return model


def of_magnitude(case: Case, **options: bool) -> nn.Module:
    """As many weights as the design keeps, the largest of each layer; `options` as `largest_weights` has them."""
    return baselines.mask_(copy.deepcopy(case.dense), baselines.largest_weights(case.dense, case.kept, **options))


def of_a_truncated_plane(case: Case) -> nn.Module:
    """The first project's masks; their density is what the widths make it."""
    layers = case.plan().layers
    masks = {
        name: torch.from_numpy(baselines.truncated_plane(layer.in_features, layer.out_features))
        for name, layer in layers.items()
    }
    return baselines.mask_(copy.deepcopy(case.dense), masks)


def of_fewer_channels(case: Case, cost: str) -> nn.Module:
    """Fewer channels in every layer, to the weights or the multiply-adds that the design leaves."""
    count = count_weights if cost == "weights" else partial(multiply_adds, example=case.calibration[:1])
    return baselines.fewer_channels(
        case.dense, case.examples, count, count(case.compressed("bibd", fit=False, repair=False))
    )


def of_a_narrow_network(case: Case, cost: str) -> nn.Module:
    """The same widths as `of_fewer_channels`, the weights drawn anew."""
    torch.manual_seed(case.seed)
    return baselines.draw_anew_(of_fewer_channels(case, cost))


@dataclass(frozen=True)
class Method:
    """A way to make a sparse model, and how it is trained after that."""

    make: Callable[[Case], nn.Module]
    from_nothing: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)


def _compressed(design: str, **options: Any) -> Callable[[Case], nn.Module]:
    return lambda case: case.compressed(design, **options)


METHODS = {
    "design": Method(_compressed("bibd")),
    "design, not repaired": Method(_compressed("bibd", repair=False)),
    "design, not fitted": Method(_compressed("bibd", fit=False)),
    "design as it falls": Method(_compressed("bibd", fit=False, repair=False)),
    "design, no teacher": Method(_compressed("bibd"), training={"distillation": 0.0}),
    "design, refitted": Method(_compressed("bibd"), training={"refit_every": 100}),
    "design, by magnitude": Method(_compressed("bibd", importance="magnitude")),
    "design, by sensitivity": Method(_compressed("bibd", allocation="sensitivity")),
    "one design": Method(_compressed("bibd", cells=False)),
    "random": Method(_compressed("random")),
    "random, by magnitude": Method(_compressed("random", importance="magnitude")),
    "random, not repaired": Method(_compressed("random", repair=False)),
    "one random pattern": Method(_compressed("random", cells=False)),
    "random as it falls": Method(_compressed("random", fit=False, repair=False)),
    "balanced": Method(of_balance),
    "magnitude": Method(of_magnitude),
    "magnitude, all layers together": Method(partial(of_magnitude, together=True)),
    "magnitude, whole filters": Method(partial(of_magnitude, whole=True)),
    "channels, equal weights": Method(partial(of_fewer_channels, cost="weights")),
    "channels, equal FLOPs": Method(partial(of_fewer_channels, cost="flops")),
    "narrow, equal weights": Method(partial(of_a_narrow_network, cost="weights"), from_nothing=True),
    "narrow, equal FLOPs": Method(partial(of_a_narrow_network, cost="flops"), from_nothing=True),
    "truncated plane": Method(of_a_truncated_plane),
}

_MLP_TILES = {1: (0.04, 0.09, 0.14, 0.25), 8: (0.09, 0.14, 0.25), 16: (0.14, 0.25)}
GOALS = {
    "mlp": [(density, tile) for tile, densities in _MLP_TILES.items() for density in densities],
    # Shared out evenly, a share of the FLOPs is the same share of the weights: both budgets make one plan.
    # In tiles of one channel besides, to see what the wider ones cost.
    "resnet18": [(0.125, None, "flops"), (0.25, None, "flops"), (0.125, 1, "flops")],
}


@app.command()
def main(
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    model: Annotated[str, typer.Option(help="mlp (784-512-512-10) or resnet18.")] = "mlp",
    data: Annotated[str, typer.Option(help="digits, mnist, fashion-mnist, cifar10.")] = "fashion-mnist",
    checkpoint: Annotated[
        Path | None, typer.Option(help="A trained dense network; else one a seed is trained.")
    ] = None,
    density: Annotated[list[float] | None, typer.Option(help="May be given again; with --tile, all pairs.")] = None,
    tile: Annotated[
        list[int] | None,
        typer.Option(
            help="Edge of the tiles in channels; may be given again.", show_default="mlp: 1, resnet18: by width"
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="What the density counts, weights or flops; may be given again.", show_default="weights"),
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="May be given again.", show_default="all")] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    epochs: Annotated[int | None, typer.Option(min=0, help="Of fine-tuning.", show_default="3")] = None,
    lr: Annotated[float | None, typer.Option(help="Of fine-tuning.", show_default="mlp: 0.1, resnet18: 0.02")] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="32-true where the processor has no short floats.", show_default="mlp: 32-true, resnet18: bf16-mixed"
        ),
    ] = None,
    calibration: Annotated[
        int | None, typer.Option(min=2, help="Images to fit and repair by.", show_default="mlp: 4096, resnet18: 512")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Make the chosen runs anew.")] = False,
    output: Annotated[Path, typer.Option(help="The JSON to begin or to go on with.")] = Path(
        "benchmarks/results/accuracy.json"
    ),
    state_dir: Annotated[Path, typer.Option(help="Folder for dense networks, locks, and runs under way.")] = Path(
        "runs/accuracy"
    ),
) -> None:
    """Make every run that is not in the JSON yet, then print the table."""
    console = Console()
    state_dir.mkdir(parents=True, exist_ok=True)
    training = TRAININGS[model]
    asked: dict[str, Any] = {"epochs": epochs, "lr": lr, "precision": precision}
    given = {name: value for name, value in asked.items() if value is not None}
    training = replace(
        training,
        dense=replace(training.dense, precision=precision or training.dense.precision),
        fine=replace(training.fine, **given),
        calibration=calibration or training.calibration,
    )
    goals = [Goal(*goal) for goal in GOALS[model]]
    if density or tile or budget:
        tiles = tile or [1 if model == "mlp" else None]
        goals = [Goal(*goal) for goal in product(density or [0.25], tiles, budget or ["weights"])]
    chosen = [
        (f"{model} {data} {goal}, seed {seed}: {name}", goal, seed, name)
        for seed in range(seeds)
        for goal in goals
        for name in method or METHODS
        # The same as equal weights, and as magnitude.
        if not (model == "mlp" and name.endswith(("equal FLOPs", "whole filters")))
    ]
    if forget:
        with written(output) as runs:
            for key, *_ in chosen:
                runs.pop(key, None)
                (state_dir / f"{slug(key)}.pt").unlink(missing_ok=True)
    dataset = load(data, data_dir)
    for key, goal, seed, name in chosen:
        with alone(state_dir / f"{slug(key)}.lock", wait=False) as mine:
            if not mine or key in read(output):
                continue
            console.rule(key)
            with alone(state_dir / f"{model}-{data}-{seed}.lock"):
                dense = trained(model, dataset, seed, training.dense, checkpoint, state_dir, console)
            case = Case(dense, goal, dataset.train.sample(training.calibration, seed), seed)
            state = state_dir / f"{slug(key)}.pt"
            found = {
                "model": model,
                "data": data,
                "goal": str(goal),
                **asdict(goal),
                "seed": seed,
                "method": name,
                **make(METHODS[name], case, dataset, training, state, console),
                "command": shlex.join(["python", *sys.argv]),
                "machine": machine(),
            }
            with written(output) as runs:
                runs[key] = found
            state.unlink()
    console.print(table([run for run in read(output).values() if (run["model"], run["data"]) == (model, data)]))


def trained(
    model: str,
    dataset: Dataset,
    seed: int,
    config: TrainConfig,
    checkpoint: Path | None,
    state_dir: Path,
    console: Console,
) -> nn.Module:
    """The dense network: of the checkpoint, or of a seed."""
    if checkpoint is not None:
        return load_checkpoint(checkpoint, model, input_shape=dataset.input_shape, num_classes=dataset.num_classes)[0]
    torch.manual_seed(seed)
    dense = ModelSpec(model, dataset.num_classes, dataset.input_shape).build()
    state = state_dir / f"{model}-{dataset.name}-{seed}.pt"
    train(dense, dataset, replace(config, seed=seed), checkpoint=state, resume=True, console=console)
    return dense


def make(
    method: Method, case: Case, dataset: Dataset, training: Training, state: Path, console: Console
) -> dict[str, Any]:
    """Prune, fine-tune, measure: accuracies (0..1), what is left, what it costs, ms of this and of the dense model."""
    model = method.make(case)
    before = evaluate(model, dataset.test)
    fine = replace(training.fine, seed=case.seed)
    if method.from_nothing:
        fine = replace(training.dense, seed=case.seed, epochs=training.dense.epochs + training.fine.epochs)
    config = replace(fine, **method.training)
    history = train(model, dataset, config, teacher=case.dense, checkpoint=state, resume=True, console=console)
    example = case.calibration[:1]
    return {
        "dense_accuracy": evaluate(case.dense, dataset.test),
        "before": before,
        "accuracy": history.accuracy,
        "weights": kept_weights(model),
        "multiply_adds": multiply_adds(model, example),
        "dense_weights": kept_weights(case.dense),
        "dense_multiply_adds": multiply_adds(case.dense, example),
        "latency_ms": latency(model, case.dense, example.shape[1:]),
        "epochs": fine.epochs,
        "lr": fine.lr,
        "precision": fine.precision,
        "calibration": training.calibration,
        "seconds": round(history.seconds, 1),
    }


def layers_of(model: nn.Module) -> Iterator[nn.Module]:
    """What multiplies: linear layers and convolutions, dense or sparse."""
    return (layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d | PatternLayer))


def kept_weights(model: nn.Module) -> int:
    """Weights of these layers that are not zero; biases and scales are left out."""
    return sum(not_zero(layer) for layer in layers_of(model))


def not_zero(layer: nn.Module) -> int:
    """Weights of a layer that are not zero."""
    assert isinstance(layer.weight, Tensor)
    return int(layer.weight.count_nonzero())


@torch.no_grad()
def multiply_adds(model: nn.Module, example: Tensor) -> int:
    """Weights that are not zero times the places at which they serve; an unstructured mask is given them all."""
    total = 0

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        total += not_zero(layer) * (out[0, 0].numel() if out.ndim == 4 else 1)

    hooks = [layer.register_forward_hook(count) for layer in layers_of(model)]
    with in_eval_mode(model):
        model(example)
    for hook in hooks:
        hook.remove()
    return total


def latency(model: nn.Module, dense: nn.Module, shape: torch.Size) -> dict[str, dict[str, float]]:
    """Median ms at batch 1 and 32 of the model with its fastest kernel, and of the dense one in turns with it."""
    sides = {"dense": dense, "this": unmasked(model)}
    if pattern_layers(model):
        usable = [name for name, kernel in KERNELS.items() if kernel.available("cpu", torch.float32)]
        sides = {"dense": dense, **{name: with_kernel(model, name) for name in usable}}
    found = {}
    for size in (1, 32):
        times = {name: taken.median_ms for name, taken in time_models(sides, (size, *shape), seconds=0.6).items()}
        dense_ms = times.pop("dense")
        found[str(size)] = {"dense": round(dense_ms, 4), "this": round(min(times.values()), 4)}
    return found


def unmasked(model: nn.Module) -> nn.Module:
    """A copy whose masks are no longer applied at each call, for what they leave is all that is left."""
    copied = copy.deepcopy(model)
    for layer in copied.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    return copied


def with_kernel(model: nn.Module, kernel: str) -> nn.Module:
    """A copy that computes with one kernel."""
    copied = copy.deepcopy(model)
    for layer in pattern_layers(copied).values():
        layer.use_kernel(kernel)
    return copied


def read(output: Path) -> dict[str, Any]:
    """The runs made so far."""
    try:
        return json.loads(output.read_text())["runs"] if output.exists() else {}
    except (ValueError, KeyError) as error:
        raise typer.BadParameter(f"{output} holds no runs: {error!r}.", param_hint="--output") from error


@contextmanager
def written(output: Path) -> Iterator[dict[str, Any]]:
    """The runs to be changed and written, one process at a time; a line a run."""
    with alone(output.with_name(output.name + ".lock")):
        runs = read(output)
        yield runs
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(run)}" for key, run in sorted(runs.items()))
        write_whole(output, ('{"runs": {\n' + lines + "\n}}\n").encode())


@contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether no other process is within the block of this file; it waits for that, or says no at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def slug(key: str) -> str:
    """A short name of a file for a run."""
    return sha256(key.encode()).hexdigest()[:16]


def table(runs: list[dict[str, Any]]) -> Table:
    """Mean and spread over the seeds, after fine-tuning and before it."""
    goals = dict.fromkeys(run["goal"] for run in runs)
    dense = [100 * run["dense_accuracy"] for run in {run["seed"]: run for run in runs}.values()]
    shown = Table(title=f"accuracy in percent after fine-tuning (before); dense {_spread(dense)}")
    shown.add_column("method")
    for goal in goals:
        shown.add_column(goal, justify="right")
    for name in METHODS:
        row = [name]
        for goal in goals:
            mine = [run for run in runs if (run["method"], run["goal"]) == (name, goal)]
            after, before = ([100 * run[what] for run in mine] for what in ("accuracy", "before"))
            row.append(f"{_spread(after)} ({mean(before):.1f})" if mine else "")
        shown.add_row(*row)
    return shown


def _spread(values: list[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    app()
