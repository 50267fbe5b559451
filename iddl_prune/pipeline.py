"""The whole way of one command: data, dense model, plans, fine-tuning, measurement, output folder."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.rule import Rule
from torch import nn

from iddl_prune.allocation import Override, check_allocation
from iddl_prune.checkpoint import save_pretrained
from iddl_prune.choice import check_choice
from iddl_prune.compress import compress
from iddl_prune.data import Dataset, load
from iddl_prune.densify import densities, gradually
from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.files import write_whole
from iddl_prune.finetune import History, TrainConfig, evaluate, train
from iddl_prune.importance import check_importance
from iddl_prune.measure import machine, measure
from iddl_prune.models import ModelSpec, load_checkpoint
from iddl_prune.optimize import optimize_
from iddl_prune.pictures import draw
from iddl_prune.plan import Plan, check_permutation
from iddl_prune.processes import is_first
from iddl_prune.report import Outcome, report
from iddl_prune.run import ELSEWHERE

__all__ = ["Settings", "run"]

# The pattern asked for, then its control; "dense" measures the dense model alone.
_DESIGNS = {"bibd": ("bibd", "random"), "random": ("random",), "dense": ()}


# Calibration images over which the loss is averaged when weights are valued by it.
_BATCH = 64


@dataclass(frozen=True)
class Settings:
    """What one command is told.

    Attributes
    ----------
    model, data, data_dir, download
        As in `iddl_prune.models.ModelSpec` and `iddl_prune.data.load`.
    design
        "bibd" (with random patterns of the same degrees beside it), "random", or "dense".
    density, edge, budget, allocation, overrides, importance, fit, permutation, cells, repair
        As in `iddl_prune.compress`; the random control is fitted and repaired like the design.
    calibration
        Number of training images by which weights are valued and re-solved. If left out, 768 for a model with
        convolutions, which have an equation for every place of each, else 4096.
    checkpoint
        A trained dense model; without one it is trained first, and kept beside the output for the next run.
    training
        Of the sparse models; the dense one is trained with the same settings but for `dense_epochs` and `dense_lr`,
        and without refits and average.
    steps, step_epochs
        In how many steps the density is reached, and how many epochs of training follow each but the last.
    output
        Folder of this run.
    resume
        Go on where an interrupted run of the same output folder stopped.
    timing_seconds
        How long each batch size is timed.

    Raises
    ------
    InvalidArgument
        If the design or another choice is none there is, or density or edge is out of its range.
    """

    model: str
    design: str = "bibd"
    density: float = 0.125
    edge: int | None = None
    budget: str = "weights"
    allocation: str = "uniform"
    overrides: dict[str, Override] = field(default_factory=dict)
    importance: str | None = None
    fit: bool = True
    permutation: str = "free"
    cells: bool = True
    repair: bool = True
    calibration: int | None = None
    data: str = "digits"
    data_dir: Path = Path("data")
    download: bool = False
    checkpoint: Path | None = None
    training: TrainConfig = field(default_factory=TrainConfig)
    steps: int = 1
    step_epochs: int = 1
    dense_epochs: int = 10
    dense_lr: float = 0.05
    output: Path = Path("runs/latest")
    resume: bool = False
    timing_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.design not in _DESIGNS:
            raise InvalidArgument(f"Argument 'design' must be one of {', '.join(_DESIGNS)}, not {self.design!r}.")
        check_choice(self.density, self.edge)
        densities(self.density, self.steps)
        check_allocation(self.budget, self.allocation)
        check_importance(self.importance)
        check_permutation(self.permutation)


def run(settings: Settings, console: Console) -> dict[str, Outcome]:
    """Prune, fine-tune and measure; returns what became of each model, and leaves all of it in the output folder.

    Of several processes that train together, the first prints and measures; the others return nothing.

    Raises
    ------
    PruneError
        If an argument, the data or a checkpoint is not what it should be.
    KeyboardInterrupt
        On Ctrl-C, after the state is written; `resume` goes on from it.
    """
    console = console if is_first() else Console(quiet=True)
    dataset = load(settings.data, settings.data_dir, download=settings.download)
    console.print(Rule("dense"))
    dense, spec, history = _dense(settings, dataset, console)
    dataset = dataset.with_channels(spec.input_shape[0])
    models, histories, plans = {"dense": dense}, {"dense": history}, dict[str, Plan]()
    before = {"dense": evaluate(dense, dataset.test)}
    for design in _DESIGNS[settings.design]:
        console.print(Rule(design))
        model = _pruned(settings, design, dense, dataset, console)
        before[design] = evaluate(model, dataset.test)
        console.print(f"accuracy before fine-tuning {before[design]:.2%}")
        histories[design] = train(
            model,
            dataset,
            settings.training,
            teacher=dense,
            checkpoint=settings.output / "state" / f"{design}.pt",
            resume=settings.resume,
            console=console,
        )
        models[design], plans[design] = model, model.plan  # type: ignore[assignment]
    if not is_first():
        return {}
    console.print(Rule("measured side by side"))
    figures = measure(
        models,
        dataset.input_shape,
        test=dataset.test,
        deployed=_deployed(settings, models, dataset, console),
        seconds=settings.timing_seconds,
    )
    outcomes = {name: Outcome(figures[name], histories[name], before[name], plans.get(name)) for name in models}
    for name in plans:
        save_pretrained(models[name], settings.output / name, preprocessing=dataset.preprocessing)
    report(outcomes, settings.output, console, context=_context(settings, spec))
    draw(outcomes, settings.output)
    console.print(f"Table, metrics.json, pictures and the sparse models are in {settings.output}.")
    return outcomes


def _deployed(
    settings: Settings, models: dict[str, nn.Module], dataset: Dataset, console: Console
) -> dict[str, nn.Module]:
    """The models in the forms in which they are fastest here; what each layer is computed by goes to a file."""
    example = dataset.test.sample(2, settings.training.seed).to(next(models["dense"].parameters()).device)
    forms: dict[str, nn.Module] = {}
    with console.status("timing the kernels of each layer"):
        for name in (name for name in models if name != "dense"):
            found = optimize_(copy.deepcopy(models[name]), example, seconds=settings.timing_seconds / 25)
            forms |= {name: found.model, "dense": found.dense}
            write_whole(settings.output / f"kernels-{name}.txt", f"{found}\n".encode())
    return forms


def _dense(settings: Settings, dataset: Dataset, console: Console) -> tuple[nn.Module, ModelSpec, History]:
    """The dense model: from the checkpoint, from an earlier run, or trained now."""
    if settings.checkpoint is not None:
        model, spec = load_checkpoint(
            settings.checkpoint,
            settings.model,
            input_shape=dataset.input_shape,
            num_classes=dataset.num_classes,
        )
        console.print(f"{settings.model} from {settings.checkpoint}")
        return model, spec, History(())
    spec = ModelSpec(settings.model, dataset.num_classes, dataset.input_shape)
    torch.manual_seed(settings.training.seed)
    model = spec.build()
    config = replace(settings.training, epochs=settings.dense_epochs, lr=settings.dense_lr, refit_every=0, ema=0.0)
    kept = settings.output.parent / "dense" / f"{_file_name(settings.model, settings.data)}-{_digest(config)}.pt"
    if kept.exists():
        console.print(f"{settings.model} trained before: {kept}")
    history = train(
        model, dataset.with_channels(spec.input_shape[0]), config, checkpoint=kept, resume=True, console=console
    )
    return model, spec, history


def _pruned(settings: Settings, design: str, dense: nn.Module, dataset: Dataset, console: Console) -> nn.Module:
    device = next(dense.parameters()).device
    has_places = any(isinstance(module, nn.Conv2d) for module in dense.modules())
    count = settings.calibration or (768 if has_places else 4096)
    inputs, labels = dataset.train.labelled_sample(count, settings.training.seed)

    def compressed(model: nn.Module, density: float) -> nn.Module:
        with console.status(f"planning and repairing: {design}, density {density:.3g}"):
            return compress(
                model,
                inputs[:2].to(device),
                density=density,
                calibration=zip(inputs.to(device).split(_BATCH), labels.split(_BATCH), strict=True),
                design=design,
                repair=settings.repair,
                edge=settings.edge,
                budget=settings.budget,
                allocation=settings.allocation,
                overrides=settings.overrides,
                importance=settings.importance,
                fit=settings.fit,
                permutation=settings.permutation,
                cells=settings.cells,
                seed=settings.training.seed,
            )

    def tuned(model: nn.Module, step: int) -> None:
        train(
            model,
            dataset,
            replace(settings.training, epochs=settings.step_epochs),
            teacher=dense,
            checkpoint=settings.output / "state" / f"{design}-step{step}.pt",
            resume=settings.resume,
            console=console,
        )

    model = gradually(dense, settings.density, settings.steps, compress=compressed, tune=tuned)
    decided: Plan = model.plan  # type: ignore[assignment]
    _same_plan(settings, design, decided)
    write_whole(settings.output / f"plan-{design}.txt", f"{decided}\n".encode())
    if design == settings.design:
        console.print(str(decided), highlight=False, soft_wrap=True)
    else:
        console.print("the same layers and degrees, the blocks drawn at random")
    return model


def _same_plan(settings: Settings, design: str, decided: Plan) -> None:
    """Keep the plan beside the state of the training; refuse to resume a state that another plan led to."""
    path = settings.output / "state" / f"{design}-plan.json"
    if settings.resume and path.exists() and Plan.from_dict(json.loads(path.read_text())) != decided:
        raise PruneError(f"{path} is of other settings than these; resume with the old ones, or without --resume.")
    write_whole(path, (json.dumps(decided.to_dict()) + "\n").encode())


def _file_name(*parts: str) -> str:
    """A name that is a file's on every system."""
    return re.sub(r"[^\w.]+", "-", "-".join(parts))


def _digest(config: TrainConfig) -> str:
    """Other settings make another dense model, kept beside the first; where it was trained does not count."""
    told = {name: value for name, value in asdict(config).items() if name not in ELSEWHERE}
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def _context(settings: Settings, spec: ModelSpec) -> dict[str, Any]:
    told = json.loads(json.dumps(asdict(settings), default=str))
    return {"settings": told, "model": spec.to_dict(), "machine": machine()}
