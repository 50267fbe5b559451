"""Does the design matter, or the fit, or the repair? An MLP pruned in several ways, fine-tuned alike.

    python benchmarks/accuracy.py --data-dir data --data fashion-mnist

Every method starts from the same dense network of its seed, keeps the same share of the weights of the same layers,
and is fine-tuned for as many epochs on the same batches with the dense network as teacher. Each run is written to
the JSON when it is done and not made twice.
"""

from __future__ import annotations

import copy
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils import prune

from iddl_prune import compress, plan
from iddl_prune.data import Dataset, load
from iddl_prune.files import write_whole
from iddl_prune.finetune import TrainConfig, evaluate, train
from iddl_prune.measure import machine
from iddl_prune.models import ModelSpec

DENSE = TrainConfig(epochs=10, lr=0.05, label_smoothing=0.0)
FINE = TrainConfig(epochs=3, lr=0.02)
CALIBRATION = 512

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Cell:
    """What is asked of a pruning method: density and edge of the tiles."""

    density: float
    edge: int


def _pattern(design: str, **options: Any) -> Callable[[nn.Module, Cell, Tensor, int], nn.Module]:
    def method(dense: nn.Module, cell: Cell, calibration: Tensor, seed: int) -> nn.Module:
        return compress(
            dense,
            calibration[:2],
            density=cell.density,
            edge=cell.edge,
            design=design,
            calibration=calibration,
            seed=seed,
            **options,
        )

    return method


def _magnitude(dense: nn.Module, cell: Cell, calibration: Tensor, seed: int) -> nn.Module:
    """The largest weights of each layer that a design would convert, as many as the design keeps."""
    model = copy.deepcopy(dense)
    decided = plan(dense, calibration[:2], density=cell.density, edge=cell.edge, fit=False)
    for name, layer in decided.layers.items():
        prune.l1_unstructured(model.get_submodule(name), "weight", amount=layer.weights_before - layer.pattern().kept)
    return model


METHODS: dict[str, Callable[[nn.Module, Cell, Tensor, int], nn.Module]] = {
    "random": _pattern("random", fit=False, repair=False),
    "design as it falls": _pattern("bibd", fit=False, repair=False),
    "random, fitted": _pattern("random", repair=False),
    "design, fitted": _pattern("bibd", repair=False),
    "random, fitted and repaired": _pattern("random"),
    "design, fitted and repaired": _pattern("bibd"),
    "magnitude, unstructured": _magnitude,
}


@app.command()
def main(
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    data: Annotated[str, typer.Option(help="digits, mnist, fashion-mnist, cifar10.")] = "fashion-mnist",
    density: Annotated[list[float] | None, typer.Option(help="May be given again.")] = None,
    edge: Annotated[int, typer.Option(help="Edge of the tiles in channels.")] = 1,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    output: Annotated[Path, typer.Option(help="The JSON to begin or to go on with.")] = Path(
        "benchmarks/results/accuracy.json"
    ),
    state_dir: Annotated[Path, typer.Option(help="Folder for the dense networks.")] = Path("runs/accuracy"),
) -> None:
    """Make every run that is not in the JSON yet, then print the table."""
    console = Console()
    cells = [Cell(d, edge) for d in density or [0.05, 0.14]]
    runs = json.loads(output.read_text())["runs"] if output.exists() else {}
    dataset = load(data, data_dir)
    for seed in range(seeds):
        dense, calibration = None, None
        for cell in cells:
            for name in METHODS:
                key = f"{data} {cell.density:g} edge {cell.edge} seed {seed}: {name}"
                if key in runs:
                    continue
                if dense is None:
                    dense = trained(dataset, seed, state_dir, console)
                    calibration = dataset.train.sample(CALIBRATION, seed)
                console.rule(key)
                runs[key] = {
                    "data": data,
                    "density": cell.density,
                    "edge": cell.edge,
                    "seed": seed,
                    "method": name,
                    "dense_accuracy": evaluate(dense, dataset.test),
                    **make(METHODS[name], dense, cell, calibration, seed, dataset, console),
                    "command": shlex.join(["python", *sys.argv]),
                    "machine": machine(),
                }
                write_whole(output, (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    console.print(table([run for run in runs.values() if run["data"] == data]))


def trained(dataset: Dataset, seed: int, state_dir: Path, console: Console) -> nn.Module:
    """The dense network of a seed."""
    torch.manual_seed(seed)
    model = ModelSpec("mlp", dataset.num_classes, dataset.input_shape).build()
    state = state_dir / f"{dataset.name}-{seed}.pt"
    train(model, dataset, replace(DENSE, seed=seed), checkpoint=state, resume=True, console=console)
    return model


def make(
    method: Callable[[nn.Module, Cell, Tensor, int], nn.Module],
    dense: nn.Module,
    cell: Cell,
    calibration: Tensor | None,
    seed: int,
    dataset: Dataset,
    console: Console,
) -> dict[str, Any]:
    """Prune, fine-tune, measure: accuracies before and after (0..1), and the weights that are not zero."""
    assert calibration is not None
    model = method(dense, cell, calibration, seed)
    before = evaluate(model, dataset.test)
    history = train(model, dataset, replace(FINE, seed=seed), teacher=dense, console=console)
    matrices = [getattr(module, "weight", None) for module in model.modules() if not list(module.children())]
    kept = sum(int((matrix != 0).sum()) for matrix in matrices if isinstance(matrix, Tensor))
    return {"before": before, "accuracy": history.accuracy, "weights": kept}


def table(runs: list[dict[str, Any]]) -> Table:
    """Mean and spread over the seeds, after fine-tuning and before it."""
    cells = sorted({(run["density"], run["edge"]) for run in runs})
    dense = [100 * run["dense_accuracy"] for run in {run["seed"]: run for run in runs}.values()]
    shown = Table(title=f"accuracy in percent after fine-tuning (before); dense {_spread(dense)}")
    shown.add_column("method")
    for density, edge in cells:
        shown.add_column(f"{density:.0%}, tile {edge}", justify="right")
    for name in METHODS:
        row = [name]
        for cell in cells:
            mine = [run for run in runs if run["method"] == name and (run["density"], run["edge"]) == cell]
            after, before = ([100 * run[what] for run in mine] for what in ("accuracy", "before"))
            row.append(f"{_spread(after)} ({mean(before):.1f})" if mine else "")
        shown.add_row(*row)
    return shown


def _spread(values: list[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    app()
