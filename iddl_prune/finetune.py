"""Training, of dense and of sparse models alike, on whatever devices Lightning Fabric finds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from numpy.random import SeedSequence
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from iddl_prune.convert import pattern_layers
from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.mode import in_eval_mode
from iddl_prune.ops import KERNELS
from iddl_prune.plan import Plan
from iddl_prune.processes import check_agreement, of_torchrun
from iddl_prune.refit import hearing, plan_after, refit_
from iddl_prune.run import Epoch, History, Interrupt, Run, TrainConfig

__all__ = ["Epoch", "Examples", "History", "TrainConfig", "TrainingData", "evaluate", "train"]


class Examples(Protocol):
    """Labelled inputs, fetched raw many at a time and prepared on the device; `iddl_prune.data.Split` is one."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]: ...

    def prepare(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor: ...


class TrainingData(Protocol):
    """What `train` needs: examples to learn from and examples to be tested on."""

    @property
    def train(self) -> Examples: ...

    @property
    def test(self) -> Examples: ...


def train(
    model: nn.Module,
    data: TrainingData,
    config: TrainConfig,
    *,
    teacher: nn.Module | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
    console: Console | None = None,
) -> History:
    """Train a model in place, on one device or several; it stays on the device it was trained on.

    On a CPU its sparse layers are computed by the kernel that trains fastest there, and have their own again after it.
    Where its channels have changed places its plan, if it has one, tells the new ones.

    Everything random depends on the seed and the step alone, so a run that was stopped and resumed ends
    with the same bits as one that was not (on the CPU; a GPU adds in an order of its own).

    Parameters
    ----------
    model
        Takes prepared inputs, returns logits (n, classes).
    teacher
        Model to learn from as well, put on the same device in eval mode; see `TrainConfig.distillation`.
    checkpoint
        File that takes the state of the training once a minute, at the end, and on Ctrl-C.
    resume
        Go on from `checkpoint` if that file is there.
    on_epoch
        Called after each epoch.
    console
        Where a line is printed each epoch, under a progress bar if it is a terminal; rich's own if left out.

    Raises
    ------
    InvalidArgument
        If this machine has no such accelerator, devices or precision.
    KeyboardInterrupt
        On Ctrl-C, after the step is finished and the checkpoint written; a second Ctrl-C stops at once.
    PruneError
        If the processes do not hold the same model, the loss is no longer finite, or the checkpoint cannot be
        resumed under this config.
    """
    fabric = _fabric(config)
    fabric.launch()
    with _fastest_kernel(model, fabric, config):
        return _train(fabric, model, data, config, teacher, checkpoint, resume, on_epoch, console)


def _train(
    fabric: Fabric,
    model: nn.Module,
    data: TrainingData,
    config: TrainConfig,
    teacher: nn.Module | None,
    checkpoint: str | Path | None,
    resume: bool,
    on_epoch: Callable[[Epoch], None] | None,
    console: Console | None,
) -> History:
    check_agreement(model)
    if teacher is not None:
        check_agreement(teacher, "teacher")
    wrapped, optimizer = fabric.setup(model, _optimizer(model, config))
    if teacher is not None:
        teacher = teacher.to(fabric.device).eval()
    run = Run(fabric, model, optimizer, config, Path(checkpoint) if checkpoint is not None else None)
    if resume:
        run.resume()
    per_epoch = max(1, len(data.train) // config.batch_size)
    steps = per_epoch * config.epochs
    with Interrupt() as interrupt, _progress(console, fabric.is_global_zero) as progress:
        bar = progress.add_task("training", total=steps, completed=run.step)
        while len(run.epochs) < config.epochs:
            number = len(run.epochs)
            started = time.perf_counter() - run.seconds
            model.train()
            for raw, labels in _batches(data.train, config, fabric, number, run.step - number * per_epoch):
                _seed(config.seed, run.step, fabric.global_rank)
                for group in optimizer.param_groups:
                    group["lr"] = config.lr_at(run.step, steps)
                inputs = _laid_out(data.train.prepare(raw, torch.default_generator), config)
                with hearing(model, run.heard, fabric) if config.hears_at(run.step, steps) else nullcontext():
                    loss = _loss(wrapped, teacher, inputs, labels, config, fabric)
                    fabric.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                if run.average is not None:
                    run.average.update_parameters(model)
                if share := config.refit_share_at(run.step, steps):
                    refit_(model, run.heard, share, optimizer=run.optimizer, average=run.outcome)
                    run.heard.clear()
                run.loss_sum += loss.detach()
                run.step += 1
                run.seconds = time.perf_counter() - started
                progress.update(bar, completed=run.step)
                run.pause(interrupt)
            mean_loss = _total(run.loss_sum, fabric) / (per_epoch * fabric.world_size)
            if not math.isfinite(mean_loss):
                raise PruneError(
                    f"The loss of epoch {number + 1} is {mean_loss}; a lower lr than {config.lr} may help."
                )
            seconds = time.perf_counter() - started
            accuracy = _accuracy(run.outcome, data.test, config.batch_size, fabric)
            run.end_epoch(Epoch(number + 1, mean_loss, accuracy, seconds))
            if fabric.is_global_zero:
                progress.console.print(_line(run.epochs[-1], config))
            if on_epoch is not None:
                on_epoch(run.epochs[-1])
            run.pause(interrupt)
        run.save()
    if run.average is not None:
        model.load_state_dict(run.average.module.state_dict())
    if isinstance(decided := getattr(model, "plan", None), Plan):
        model.plan = plan_after(decided, model)  # type: ignore[assignment]
    return History(tuple(run.epochs))


def evaluate(model: nn.Module, examples: Examples, *, batch_size: int = 512) -> float:
    """Share of the examples (0..1) that a model puts in their class; on the model's device, in its own precision."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return _right(model, examples, range(len(examples)), batch_size, device) / len(examples)


def _fabric(config: TrainConfig) -> Fabric:
    told = {name: getattr(config, name) for name in ("accelerator", "devices", "precision")} | of_torchrun()
    try:
        return Fabric(**told)
    except (RuntimeError, ValueError, TypeError) as error:
        asked = ", ".join(f"'{name}' = {value!r}" for name, value in told.items())
        raise InvalidArgument(f"Arguments {asked} must be what this machine has: {error}") from error


@contextmanager
def _fastest_kernel(model: nn.Module, fabric: Fabric, config: TrainConfig) -> Iterator[None]:
    """Machine code for 32-bit floats on a CPU, torch's products for other floats there; elsewhere as it is."""
    layers = list(pattern_layers(model).values()) if fabric.device.type == "cpu" else []
    own = [layer.kernel for layer in layers]
    for layer in layers:
        is_vector = str(config.precision).startswith("32") and KERNELS["vector"].available("cpu", layer.weight.dtype)
        layer.use_kernel("vector" if is_vector else "reference")
    try:
        yield
    finally:
        for layer, kernel in zip(layers, own, strict=True):
            layer.use_kernel(kernel)


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def _batches(
    examples: Examples, config: TrainConfig, fabric: Fabric, epoch: int, first: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's batches from number `first` on: an order of (seed, epoch) alone, each batch shared by the processes.

    What does not fill a batch is left for other epochs.
    """
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(_mix(config.seed, epoch)))
    batches = [
        batch[fabric.global_rank :: fabric.world_size].tolist()
        for batch in order.split(config.batch_size)
        if len(batch) == min(config.batch_size, len(examples))
    ]
    loader: Any = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_sampler=batches[first:],
        collate_fn=_as_they_are,
        num_workers=config.workers,
    )
    for inputs, labels in loader:
        yield inputs.to(fabric.device), labels.to(fabric.device)


def _laid_out(inputs: Tensor, config: TrainConfig) -> Tensor:
    """Images in the layout in which processors multiply short floats: channels last."""
    is_short = "16" in str(config.precision) and inputs.ndim == 4
    return inputs.contiguous(memory_format=torch.channels_last) if is_short else inputs


def _as_they_are(batch: Any) -> Any:
    return batch


def _mix(*numbers: int) -> int:
    return int(SeedSequence(numbers).generate_state(1)[0])


def _seed(*numbers: int) -> None:
    torch.manual_seed(_mix(*numbers))


def _loss(
    model: nn.Module, teacher: nn.Module | None, inputs: Tensor, labels: Tensor, config: TrainConfig, fabric: Fabric
) -> Tensor:
    logits = model(inputs).float()
    loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    if teacher is None or config.distillation == 0:
        return loss
    with torch.no_grad(), fabric.autocast():
        wanted = teacher(inputs).float()
    softened = F.kl_div(
        F.log_softmax(logits / config.temperature, dim=1),
        F.log_softmax(wanted / config.temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - config.distillation) * loss + config.distillation * config.temperature**2 * softened


def _accuracy(model: nn.Module, examples: Examples, batch_size: int, fabric: Fabric) -> float:
    mine = range(fabric.global_rank, len(examples), fabric.world_size)
    with fabric.autocast():
        right = _right(model, examples, mine, batch_size, fabric.device)
    return _total(torch.tensor(right, device=fabric.device), fabric) / len(examples)


def _total(number: Tensor, fabric: Fabric) -> float:
    """The sum of what every process has."""
    total = fabric.all_reduce(number, reduce_op="sum")
    assert isinstance(total, Tensor)
    return total.item()


@torch.no_grad()
def _right(model: nn.Module, examples: Examples, indices: range, batch_size: int, device: torch.device) -> int:
    """How many of the examples a model puts in their class."""
    right = 0
    with in_eval_mode(model):
        for start in range(0, len(indices), batch_size):
            raw, labels = examples.__getitems__(list(indices[start : start + batch_size]))
            logits = model(examples.prepare(raw.to(device)))
            right += int((logits.argmax(1) == labels.to(device)).sum())
    return right


def _progress(console: Console | None, visible: bool) -> Progress:
    console = console or Console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (visible and console.is_terminal),
    )


def _line(epoch: Epoch, config: TrainConfig) -> str:
    return (
        f"epoch {epoch.number}/{config.epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}  "
        f"{epoch.seconds:.2f} s"
    )
