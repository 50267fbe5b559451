"""The table where the idea began, made anew: MLPs on MNIST and CIFAR-10, ResNet18 on CIFAR-10, dense and sparse.

    python benchmarks/seed_table.py --data-dir data --checkpoint resnet18_cifar10.safetensors

Each run is written to the JSON when it is done and not made twice; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import copy
import json
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from iddl_prune import PruneError, pattern_layers, plan, prune_
from iddl_prune.compress import compress
from iddl_prune.data import Dataset, load
from iddl_prune.files import write_whole
from iddl_prune.finetune import TrainConfig, evaluate, train
from iddl_prune.measure import count_multiply_adds, count_weights, machine
from iddl_prune.models import ModelSpec, load_checkpoint

# Accuracy in percent as the original project printed it, ResNet18 after 30 epochs from new weights. Its multiply-adds,
# 0.08M, 0.31M and 557.89M, are those of 784-100-10, 3072-100-10 and ResNet18 with the CIFAR stem.
SEEDS = {
    ("mlp", "mnist"): 96.4,
    ("mlp_bibd", "mnist"): 96.0,
    ("mlp_fitted", "mnist"): 96.0,
    ("mlp", "cifar10"): 50.7,
    ("mlp_bibd", "cifar10"): 48.9,
    ("mlp_fitted", "cifar10"): 48.9,
    ("resnet18", "cifar10"): 81.44,
    ("resnet18_bibd", "cifar10"): 77.01,
}
HIDDEN = (100,)
CALIBRATION = 768
MLP = TrainConfig(batch_size=128, lr=0.05, warmup=0.05)
RESNET = TrainConfig(batch_size=128, lr=0.02, warmup=0.1, label_smoothing=0.1)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Run:
    """One row: a model on a data set; "mlp_fitted" is pruned when it is trained, the other sparse MLPs before."""

    model: str
    data: str
    epochs: int
    seed: int
    density: float | None
    precision: str

    @property
    def architecture(self) -> str:
        """Name of the dense model."""
        return self.model.partition("_")[0]

    @property
    def design(self) -> str | None:
        """What its layers are connected by, or None if they are dense."""
        return self.model.partition("_")[2] or None

    @property
    def key(self) -> str:
        """What tells the run from every other."""
        return "-".join(str(value) for value in asdict(self).values())


@app.command()
def main(
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    download: Annotated[bool, typer.Option(help="Fetch what the folder lacks.")] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="Trained ResNet18; without it its rows are left out.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of the MLP rows; may be given again.")] = None,
    density: Annotated[float, typer.Option(help="Share of the weights kept by the MLPs' sparse layer.")] = 0.125,
    resnet_density: Annotated[float, typer.Option(help="The same for each of ResNet18's.")] = 0.125,
    mnist_epochs: int = 10,
    cifar_epochs: int = 100,
    fitted_epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning of the MLPs that are pruned.")] = 10,
    resnet_epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning after pruning.")] = 1,
    resnet_precision: Annotated[str, typer.Option(help="As in Lightning Fabric.")] = "bf16-mixed",
    output: Annotated[Path, typer.Option(help="The JSON to begin or to go on with.")] = Path(
        "benchmarks/results/seed_table.json"
    ),
    state_dir: Annotated[Path, typer.Option(help="Folder for the state of runs under way.")] = Path("runs/seed_table"),
) -> None:
    """Make every row that is not in the JSON yet, then print the table."""
    console = Console()
    mlp_epochs = {"mnist": mnist_epochs, "cifar10": cifar_epochs}
    runs = [
        Run(model, data, epochs, s, density if model != "mlp" else None, "32-true")
        for s in seed or [0]
        for data, epochs in mlp_epochs.items()
        for model in ("mlp", "mlp_bibd", "mlp_random")
    ]
    runs += [Run("mlp_fitted", data, fitted_epochs, s, density, "32-true") for s in seed or [0] for data in mlp_epochs]
    if checkpoint is not None:
        runs.append(Run("resnet18", "cifar10", 0, 0, None, resnet_precision))
        runs.append(Run("resnet18_bibd", "cifar10", resnet_epochs, 0, resnet_density, resnet_precision))
    rows = json.loads(output.read_text())["rows"] if output.exists() else {}
    try:
        for run in runs:
            if run.key not in rows:
                console.rule(run.key)
                # An MLP has no use for crops and mirror images: it sees pixels, not pictures.
                data = load(run.data, data_dir, download=download, augment=run.architecture != "mlp")
                rows[run.key] = make(
                    run, data, checkpoint, state_dir / f"{run.key}.pt", mlp_epochs.get(run.data, 0), console
                )
                text = json.dumps(
                    {"seeds": {" ".join(key): value for key, value in SEEDS.items()}, "rows": rows}, indent=2
                )
                write_whole(output, (text + "\n").encode())
    except PruneError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    except KeyboardInterrupt as stopped:
        console.print(f"{stopped} The same command goes on from there.")
        raise typer.Exit(130) from stopped
    console.print(table([rows[run.key] for run in runs]))


def make(
    run: Run, data: Dataset, checkpoint: Path | None, state: Path, dense_epochs: int, console: Console
) -> dict[str, Any]:
    """Build, train and count one model: a row of the table; a fitted MLP is dense for `dense_epochs` first."""
    torch.manual_seed(run.seed)
    if run.model == "mlp_fitted":
        teacher = trained(replace(run, model="mlp", epochs=dense_epochs, density=None), data, state, console)
        model, config = sparse(teacher, replace(run, model="mlp_bibd"), data, edge=1), replace(MLP, lr=0.02)
    elif run.architecture == "mlp":
        model, teacher, config = mlp(run, data), None, MLP
    else:
        assert checkpoint is not None
        teacher, _ = load_checkpoint(checkpoint, run.architecture, input_shape=data.input_shape, num_classes=10)
        model, config = sparse(teacher, run, data), RESNET
    designs = {name: str(layer.pattern) for name, layer in pattern_layers(model).items()}
    for name, pattern in designs.items():
        console.print(name, pattern, highlight=False)
    config = replace(config, epochs=run.epochs, seed=run.seed, precision=run.precision)
    before = evaluate(model, data.test)
    history = train(model, data, config, teacher=teacher, checkpoint=state, resume=True, console=console)
    multiply_adds = count_multiply_adds(model, data.input_shape)
    return {
        "run": asdict(run),
        "config": asdict(config),
        "accuracy": history.accuracy if history.epochs else before,
        "accuracy_before_training": before,
        "weights": count_weights(model),
        "multiply_adds": multiply_adds,
        "flops": 2 * multiply_adds,
        "seconds": history.seconds,
        "history": history.to_dict()["epochs"],
        "designs": designs,
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
    }


def mlp(run: Run, data: Dataset) -> nn.Module:
    """A new MLP, made sparse before it learns, in single weights as the seeds had it."""
    model = ModelSpec("mlp", data.num_classes, data.input_shape, HIDDEN).build()
    if run.design is not None and run.density is not None:
        example = torch.zeros(2, *data.input_shape)
        prune_(model, plan(model, example, density=run.density, design=run.design, edge=1, fit=False, seed=run.seed))
        for layer in pattern_layers(model).values():
            layer.reset_parameters()
    return model


def trained(run: Run, data: Dataset, state: Path, console: Console) -> nn.Module:
    """The dense MLP of a row."""
    torch.manual_seed(run.seed)
    model = mlp(run, data)
    config = replace(MLP, epochs=run.epochs, seed=run.seed)
    train(model, data, config, checkpoint=state.with_name(f"{run.key}.pt"), resume=True, console=console)
    return model


def sparse(dense: nn.Module, run: Run, data: Dataset, edge: int | None = None) -> nn.Module:
    """A copy of a trained network, or its sparse form, fitted and repaired on some training images."""
    if run.design is None or run.density is None:
        return copy.deepcopy(dense)
    inputs = data.train.sample(CALIBRATION, run.seed)
    return compress(
        dense, inputs[:2], density=run.density, calibration=inputs, design=run.design, edge=edge, seed=run.seed
    )


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows beside the seeds' accuracy."""
    shown = Table(title="FLOPs = 2 x multiply-adds of one image, counted by thop; time is that of training")
    for column in (
        "model",
        "data",
        "seed",
        "epochs",
        "time",
        "accuracy",
        "seeds'",
        "weights",
        "multiply-adds",
        "FLOPs",
    ):
        shown.add_column(column, justify="left" if column in ("model", "data") else "right")
    for row in rows:
        run = row["run"]
        theirs = SEEDS.get((run["model"], run["data"]))
        shown.add_row(
            run["model"],
            run["data"],
            str(run["seed"]),
            str(run["epochs"]),
            f"{row['seconds']:.0f} s",
            f"{row['accuracy']:.2%}",
            "" if theirs is None else f"{theirs}%",
            f"{row['weights']:,}",
            f"{row['multiply_adds'] / 1e6:.2f}M",
            f"{row['flops'] / 1e6:.2f}M",
        )
    return shown


if __name__ == "__main__":
    app()
