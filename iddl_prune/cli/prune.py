"""`iddl-prune MODEL`: the whole way from a dense model to a measured sparse one."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from iddl_prune.allocation import ALLOCATIONS, BUDGETS, Override
from iddl_prune.finetune import TrainConfig
from iddl_prune.importance import IMPORTANCES
from iddl_prune.pipeline import Settings, run
from iddl_prune.plan import PERMUTATIONS
from iddl_prune.run import SCHEDULES

__all__ = ["prune"]


# The options in groups, as --help prints them.
_pattern, _data, _training, _machine = (
    partial(typer.Option, rich_help_panel=title)
    for title in ("Pattern", "Model and data", "Training", "Machine and output")
)


class Design(StrEnum):
    """What connects the layers."""

    bibd = "bibd"
    random = "random"
    dense = "dense"


def prune(
    model: Annotated[str, typer.Argument(help="mlp, resnet18, any torchvision name, or package.module:factory.")],
    design: Annotated[Design, _pattern(help="bibd (with its random control), random, or dense.")] = Design.bibd,
    density: Annotated[float, _pattern(help="Share of the budget that the converted layers keep together.")] = 0.125,
    edge: Annotated[int | None, _pattern(help="Edge of the tiles in channels.", show_default="by width")] = None,
    budget: Annotated[str, _pattern(metavar="|".join(BUDGETS), help="What the density counts.")] = "weights",
    allocation: Annotated[
        str, _pattern(metavar="|".join(ALLOCATIONS), help="How it is shared out among the layers.")
    ] = "uniform",
    override: Annotated[
        list[str] | None,
        _pattern(metavar="LAYER=DENSITY[:EDGE]", help="For layers of this name or glob; may be given again."),
    ] = None,
    importance: Annotated[str, _pattern(metavar="|".join(IMPORTANCES), help="What a weight is worth.")] = "activation",
    permutation: Annotated[
        str,
        _pattern(
            metavar="|".join(PERMUTATIONS), help="Channels in an order of each layer, or of each dependency group."
        ),
    ] = "free",
    cells: Annotated[
        bool,
        _pattern("--cells/--one-design", help="Fill a layer with copies of its design, or spread one over it."),
    ] = True,
    fit: Annotated[bool, _pattern(help="Fit the channels to the design, or lay it as it falls.")] = True,
    repair: Annotated[bool, _pattern(help="Re-solve the kept weights by least squares.")] = True,
    calibration: Annotated[
        int | None,
        _pattern(
            min=2,
            help="Training images to fit and repair by; more repair better, in more memory.",
            show_default="768, without convolutions 4096",
        ),
    ] = None,
    data: Annotated[str, _data(help="digits, mnist, fashion-mnist, cifar10, cifar100, imagefolder:PATH.")] = "digits",
    data_dir: Annotated[Path, _data(help="Where torchvision's data sets are.")] = Path("data"),
    download: Annotated[bool, _data("--download", help="Fetch the data set if it is not there.")] = False,
    checkpoint: Annotated[
        Path | None,
        _data(help="A trained dense model: safetensors or a state dict.", show_default="train one first"),
    ] = None,
    epochs: Annotated[int, _training(min=0, help="Epochs of fine-tuning.")] = 6,
    dense_epochs: Annotated[int, _training(min=0, help="Epochs of the dense model, if it is to be trained.")] = 8,
    batch_size: Annotated[int, _training(min=1)] = 64,
    lr: Annotated[float, _training(help="Peak learning rate of fine-tuning.")] = 0.02,
    dense_lr: Annotated[float, _training(help="The same of the dense model, if it is to be trained.")] = 0.05,
    distillation: Annotated[float, _training(help="Share of the loss that asks for the dense model's answers.")] = 0.5,
    schedule: Annotated[
        str, _training(metavar="|".join(SCHEDULES), help="How the learning rate goes on from its peak.")
    ] = "cosine",
    steps: Annotated[int, _training(min=1, help="Steps in which the density is reached, by denser designs.")] = 1,
    step_epochs: Annotated[int, _training(min=0, help="Epochs of training after each step but the last.")] = 1,
    refit_every: Annotated[
        int, _training(min=0, help="Channels change places every so many training steps; 0: never.")
    ] = 0,
    refit_share: Annotated[float, _training(help="Share of the channels that may change places, at first.")] = 0.02,
    ema: Annotated[float, _training(help="Decay a step of an average of the weights; 0: the last weights.")] = 0.0,
    device: Annotated[str, _machine(help="auto, cpu, cuda, mps.")] = "auto",
    devices: Annotated[str, _machine(help="How many, as Lightning Fabric takes it.")] = "1",
    precision: Annotated[str, _machine(help="32-true, bf16-mixed, 16-mixed.")] = "32-true",
    workers: Annotated[int, _machine(min=0, help="Processes that read images ahead.")] = 0,
    output: Annotated[
        Path | None, _machine(help="Folder of the results.", show_default="runs/MODEL-DATA-DESIGN")
    ] = None,
    seed: Annotated[int, _machine(min=0)] = 0,
    resume: Annotated[bool, _machine("--resume", help="Go on where an interrupted run stopped.")] = False,
    quick: Annotated[bool, _machine("--quick", help="One epoch each, short timing: does everything work?")] = False,
) -> None:
    """Connect a dense model by a design, fine-tune it, and measure it beside the dense and a random one."""
    console = Console()
    settings = Settings(
        model=model,
        design=design.value,
        density=density,
        edge=edge,
        budget=budget,
        allocation=allocation,
        overrides=_overrides(override or []),
        importance=importance,
        fit=fit,
        permutation=permutation,
        cells=cells,
        repair=repair,
        calibration=calibration,
        data=data,
        data_dir=data_dir,
        download=download,
        checkpoint=checkpoint,
        training=TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            distillation=distillation,
            schedule=schedule,  # type: ignore[arg-type]
            refit_every=refit_every,
            refit_share=refit_share,
            ema=ema,
            accelerator=device,
            devices=int(devices) if devices.lstrip("-").isdigit() else devices,
            precision=precision,
            workers=workers,
            seed=seed,
        ),
        steps=steps,
        step_epochs=step_epochs,
        dense_epochs=dense_epochs,
        dense_lr=dense_lr,
        output=output or Path("runs") / re.sub(r"[^\w.]+", "-", f"{model}-{data}-{design.value}"),
        resume=resume,
    )
    run(_quick(settings) if quick else settings, console)


def _overrides(given: list[str]) -> dict[str, Override]:
    return {name: Override.parse(told) for name, _, told in (text.partition("=") for text in given)}


def _quick(settings: Settings) -> Settings:
    return replace(settings, training=replace(settings.training, epochs=1), dense_epochs=1, timing_seconds=1.0)
