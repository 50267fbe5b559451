"""ResNet18 on CIFAR-10, on a card: trained dense, pruned in several ways to equal cost, fine-tuned alike, compared.

    python benchmarks/gpu_accuracy.py --data-dir data --output benchmarks/results/gpu_accuracy.json

The images lie on the card as uint8 and are cropped and mirrored there; products are in bfloat16, images channels-last.
Each run is written when it is done and not made twice; training goes on from its last state. With `--smoke` the same
path is walked on a CPU, the sparse layers in Triton's interpreter, on random images and a network of two layers.
"""

from __future__ import annotations

import os
import sys

if "--smoke" in sys.argv:
    # Before anything imports Triton.
    os.environ["TRITON_INTERPRET"] = "1"

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from iddl_prune import compress, pattern_layers, plan
from iddl_prune.baselines import draw_anew_, fewer_channels, largest_weights, mask_
from iddl_prune.data import Dataset, Split, load
from iddl_prune.files import write_whole
from iddl_prune.finetune import TrainConfig, evaluate, train
from iddl_prune.measure import count_multiply_adds, machine
from iddl_prune.models import build

CALIBRATION = 1024

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Job:
    """What every method is given: the trained network, an image, the density, calibration images, the kernel."""

    dense: nn.Module
    example: Tensor
    density: float
    calibration: Tensor
    kernel: str

    def patterned(self, design: str) -> nn.Module:
        """Patterns fitted to the weights, kept weights re-solved."""
        sparse = compress(self.dense, self.example, density=self.density, design=design, calibration=self.calibration)
        for layer in pattern_layers(sparse).values():
            layer.use_kernel(self.kernel)
        return sparse

    def magnitude(self) -> nn.Module:
        """The largest weights of each layer that a design would convert, as many as it keeps."""
        decided = plan(self.dense, self.example, density=self.density, fit=False)
        kept = {name: layer.pattern().kept * _taps(self.dense, name) for name, layer in decided.layers.items()}
        return mask_(copy.deepcopy(self.dense), largest_weights(self.dense, kept))

    def channels(self) -> nn.Module:
        """Fewer channels, at the multiply-adds of the design."""
        decided = self.patterned("bibd").to(self.example.device)
        for layer in pattern_layers(decided).values():
            layer.use_kernel("reference")
        shape = tuple(self.example.shape[1:])
        target = count_multiply_adds(decided, shape)
        return fewer_channels(self.dense, self.example, lambda model: count_multiply_adds(model, shape), target)


METHODS: dict[str, Callable[[Job], nn.Module]] = {
    "design": lambda job: job.patterned("bibd"),
    "random of equal degrees": lambda job: job.patterned("random"),
    "magnitude, unstructured": lambda job: job.magnitude(),
    "fewer channels": lambda job: job.channels(),
    "fewer channels, drawn anew": lambda job: draw_anew_(job.channels()),
}


@app.command()
def main(
    data_dir: Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")] = Path("data"),
    density: Annotated[list[float] | None, typer.Option(help="May be given again.")] = None,
    epochs: Annotated[int, typer.Option(help="Of the dense training.", min=1)] = 30,
    fine_epochs: Annotated[int, typer.Option(help="Of fine-tuning.", min=1)] = 10,
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    kernel: Annotated[
        str,
        typer.Option(help="That trains the sparse layers; reference is torch's dense product, right for small tiles."),
    ] = "reference",
    output: Annotated[Path, typer.Option(help="The JSON to begin or to go on with.")] = Path(
        "benchmarks/results/gpu_accuracy.json"
    ),
    state_dir: Annotated[Path, typer.Option(help="Folder for states of training.")] = Path("runs/gpu_accuracy"),
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny, on the CPU, in the interpreter.")] = False,
) -> None:
    """Make every run that is not in the JSON yet, then print the table."""
    console = Console(width=120)
    if not smoke and not torch.cuda.is_available():
        console.print("There is no CUDA device; --smoke walks the same path on the CPU.")
        raise typer.Exit(2)
    device = "cpu" if smoke else "cuda"
    torch.set_float32_matmul_precision("high")
    dataset = on_device(random_images() if smoke else load("cifar10", data_dir), device)
    config = TrainConfig(batch_size=16 if smoke else 512, lr=0.2, precision="bf16-mixed", accelerator=device)
    data: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {"runs": {}}
    for seed in range(seeds):
        trained: nn.Module | None = None
        for share in density or [0.4 if smoke else 0.125]:
            for name, method in METHODS.items():
                key = f"{name}, {share:g} kept, seed {seed}"
                if key in data["runs"]:
                    continue
                if trained is None:
                    told = replace(config, epochs=1 if smoke else epochs, seed=seed)
                    trained = dense_network(dataset, told, state_dir / f"dense-{seed}.pt", console, smoke=smoke)
                console.rule(key)
                calibration = dataset.train.sample(CALIBRATION, seed)
                job = Job(trained, calibration[:1], share, calibration, kernel)
                fine = replace(config, epochs=1 if smoke else fine_epochs, seed=seed, lr=0.05)
                data["runs"][key] = {
                    "method": name,
                    "density": share,
                    "seed": seed,
                    "dense_accuracy": evaluate(trained, dataset.test),
                    **make(method, job, dataset, fine, state_dir / f"{key}.pt", console),
                    "kernel": kernel,
                    "machine": machine(),
                }
                write_whole(output, (json.dumps(data, indent=1) + "\n").encode())
    console.print(table(data))


def dense_network(dataset: Dataset, config: TrainConfig, state: Path, console: Console, *, smoke: bool) -> nn.Module:
    """The dense network of a seed, trained on the card or to where its state has come."""
    torch.manual_seed(config.seed)
    shape = dataset.input_shape
    model = _small(shape) if smoke else build("resnet18", num_classes=10, input_shape=shape, stem="cifar")
    model = model.to(memory_format=torch.channels_last)
    history = train(model, dataset, config, checkpoint=state, resume=True, console=console)
    console.print(f"dense: {history.accuracy:.2%}, {median(epoch.seconds for epoch in history.epochs):.1f} s an epoch")
    return model.eval()


def make(
    method: Callable[[Job], nn.Module], job: Job, dataset: Dataset, config: TrainConfig, state: Path, console: Console
) -> dict[str, Any]:
    """Prune, fine-tune, measure: accuracies (0..1) before and after, weights that are not zero, seconds."""
    begun = time.perf_counter()
    model = method(job).to(job.example.device).to(memory_format=torch.channels_last)
    pruned_s = time.perf_counter() - begun
    before = evaluate(model, dataset.test)
    history = train(model, dataset, config, teacher=job.dense, checkpoint=state, resume=True, console=console)
    matrices = [getattr(module, "weight", None) for module in model.modules()]
    return {
        "before": before,
        "accuracy": history.accuracy,
        "weights": sum(int((matrix != 0).sum()) for matrix in matrices if isinstance(matrix, Tensor)),
        "pruned_s": pruned_s,
        "epoch_s": median(epoch.seconds for epoch in history.epochs),
    }


def on_device(dataset: Dataset, device: str) -> Dataset:
    """The same with all images and labels on the device."""
    sides = []
    for side in (dataset.train, dataset.test):
        assert isinstance(side.images, Tensor)
        sides.append(replace(side, images=side.images.to(device), labels=side.labels.to(device)))
    return replace(dataset, train=sides[0], test=sides[1])


def random_images() -> Dataset:
    """Nothing to be learnt, but everything that images have."""
    generator = torch.Generator().manual_seed(0)

    def side(n: int) -> Split:
        images = torch.randint(256, (n, 3, 6, 6), dtype=torch.uint8, generator=generator)
        labels = torch.randint(4, (n,), generator=generator)
        return Split(images, labels, (3, 6, 6), (0.5,) * 3, (0.3,) * 3, padding=1, flip=True)

    return Dataset("random", side(16), side(8), 4)


def _small(shape: tuple[int, int, int]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(shape[0], 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def _taps(model: nn.Module, name: str) -> int:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight[0, 0].numel()


def table(data: dict[str, Any]) -> Table:
    """Accuracy after fine-tuning and before it, what was kept, and how long an epoch took."""
    shown = Table(title="accuracy in percent")
    for heading in ("run", "dense", "pruned", "fine-tuned", "weights", "s an epoch"):
        shown.add_column(heading, justify="left" if heading == "run" else "right")
    for key, run in data["runs"].items():
        accuracies = [f"{100 * run[what]:.2f}" for what in ("dense_accuracy", "before", "accuracy")]
        shown.add_row(key, *accuracies, f"{run['weights']:,}", f"{run['epoch_s']:.1f}")
    return shown


if __name__ == "__main__":
    app()
