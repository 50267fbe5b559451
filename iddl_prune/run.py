"""A training run: what it is told, what it has reached, and how it stops and goes on."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.refit import Heard, places, put_back_

__all__ = ["ELSEWHERE", "SCHEDULES", "Epoch", "History", "Interrupt", "Run", "TrainConfig"]

_SAVE_EVERY_SECONDS = 60.0
_FORMAT = 2

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "linear", "constant")

# What may change between a run and its resumption: where it computes, not what.
ELSEWHERE = ("devices", "accelerator", "workers")


@dataclass(frozen=True)
class TrainConfig:
    """How to train; with the same data and seed it settles every number on one device.

    Attributes
    ----------
    epochs, batch_size, seed
        The batch is that of a step, over all devices together.
    lr, warmup, schedule
        Peak of the learning rate, the share of all steps in which it is reached linearly (P. Goyal et al., Accurate,
        large minibatch SGD, 2017), and how it goes on: down in half a ``cosine`` (I. Loshchilov, F. Hutter, SGDR,
        ICLR 2017), down in a line (``linear``), or not at all (``constant``).
    optimizer, momentum, weight_decay
        ``sgd`` with Nesterov's momentum, or ``adamw``, which has momenta of its own.
    label_smoothing
        Share of the target spread over all classes.
    distillation, temperature
        Share of the loss that asks for the teacher's softened answers (G. Hinton, O. Vinyals, J. Dean, Distilling the
        knowledge in a neural network, 2015); without a teacher it has no say.
    refit_every, refit_share, refit_until, refit_window
        Every so many steps (0: never) channels of the sparse layers change places, at most this share of each side of
        a layer, fewer and fewer until this share of all steps, when the last have; see `iddl_prune.refit.refit_`.
        The gradients of so many steps before tell which.
    ema
        Decay a step of the exponential moving average of the weights, which is what is tested and what comes out (B.
        Polyak, A. Juditsky, SIAM J. Control Optim. 30 (1992) 838); 0 for the weights of the last step. In the first
        steps the decay is (1 + step) / (10 + step) where that is less.
    devices, accelerator, precision
        As in `lightning_fabric.Fabric`: ``bf16-mixed`` computes in bfloat16 and keeps float32 weights. Under torchrun
        it says how many devices.
    workers
        Processes that read inputs ahead; worth while for images on disk only.

    Raises
    ------
    InvalidArgument
        If a number is out of its range, or there is no such optimizer or schedule.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.05
    warmup: float = 0.1
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    distillation: float = 0.5
    temperature: float = 4.0
    refit_every: int = 0
    refit_share: float = 0.02
    refit_until: float = 0.75
    refit_window: int = 64
    ema: float = 0.0
    seed: int = 0
    devices: int | str = 1
    accelerator: str = "auto"
    precision: Any = "32-true"
    workers: int = 0

    def __post_init__(self) -> None:
        least = {"epochs": 0, "batch_size": 1, "refit_every": 0, "seed": 0, "workers": 0}
        for name, minimum in {**least, "refit_window": 1}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise InvalidArgument(f"Argument '{name}' must be an integer of at least {minimum}, not {value!r}.")
        for name in ("lr", "temperature"):
            if not getattr(self, name) > 0:
                raise InvalidArgument(f"Argument '{name}' must be positive, not {getattr(self, name)!r}.")
        if not self.weight_decay >= 0:
            raise InvalidArgument(f"Argument 'weight_decay' must not be negative, not {self.weight_decay!r}.")
        for name in ("warmup", "momentum", "label_smoothing", "distillation", "refit_share", "refit_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidArgument(f"Argument '{name}' must lie between 0 and 1, not {getattr(self, name)!r}.")
        if not 0 <= self.ema < 1:
            raise InvalidArgument(f"Argument 'ema' must be at least 0 and less than 1, not {self.ema!r}.")
        for name, known in {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}.items():
            if getattr(self, name) not in known:
                raise InvalidArgument(f"Argument '{name}' must be one of {known}, not {getattr(self, name)!r}.")
        if self.refit_every and str(self.precision).startswith("16"):
            raise InvalidArgument(
                f"Argument 'precision' must not be {self.precision!r} where 'refit_every' is set: it scales losses."
            )

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0: up in a line, down by the schedule."""
        rising = math.ceil(self.warmup * steps)
        if step < rising:
            return self.lr * (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        left = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
        return self.lr * left[self.schedule]

    def hears_at(self, step: int, steps: int) -> bool:
        """Whether a step, counted from 0, is one of those before channels may change places."""
        if self.refit_every == 0:
            return False
        due = step - step % self.refit_every + self.refit_every - 1
        return due - step < self.refit_window and self.refit_share_at(due, steps) > 0

    def refit_share_at(self, step: int, steps: int) -> float:
        """Share of the channels that may change places after a step, counted from 0; mostly none."""
        last = self.refit_until * steps
        if self.refit_every == 0 or (step + 1) % self.refit_every or step + 1 > last:
            return 0.0
        return self.refit_share * (1 + math.cos(math.pi * (step + 1) / last)) / 2


@dataclass(frozen=True)
class Epoch:
    """One epoch: its mean loss, the accuracy on the test examples after it (0..1), its time without that test."""

    number: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class History:
    """The epochs of a training run, in order."""

    epochs: tuple[Epoch, ...]

    @property
    def accuracy(self) -> float:
        """Accuracy after the last epoch, 0..1; not a number if there was none."""
        return self.epochs[-1].accuracy if self.epochs else math.nan

    @property
    def seconds(self) -> float:
        """Time spent training, the tests between epochs left out."""
        return sum(epoch.seconds for epoch in self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """The epochs, as JSON holds them."""
        return asdict(self)


class Run:
    """What a training run has reached; all of it goes into the checkpoint."""

    def __init__(
        self, fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, config: TrainConfig, path: Path | None
    ) -> None:
        self.fabric, self.model, self.optimizer, self.config, self.path = fabric, model, optimizer, config, path
        self.average = AveragedModel(model, multi_avg_fn=_decaying(config.ema)) if config.ema else None
        self.epochs: list[Epoch] = []
        self.heard: Heard = {}
        self.step = 0
        self.loss_sum = torch.zeros((), device=fabric.device)
        self.seconds = 0.0
        self._saved_at = time.monotonic()

    @property
    def outcome(self) -> nn.Module:
        """The model that is tested and comes out: the average, or the model itself."""
        return self.model if self.average is None else self.average.module

    def end_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        self.loss_sum = torch.zeros_like(self.loss_sum)
        self.seconds = 0.0

    def pause(self, interrupt: Interrupt) -> None:
        """Save if it is time to, stop if asked to; the first process decides for all."""
        due = self.path is not None and time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS
        stop, due = self.fabric.broadcast((interrupt.requested, due))
        if stop or due:
            self.save()
        if stop:
            where = f"; {self.path} holds its state" if self.path is not None else ""
            raise KeyboardInterrupt(f"Training stopped after step {self.step}{where}.")

    def save(self) -> None:
        """Write everything beside the file, then put it in the file's place."""
        if self.path is None:
            return
        loss_sum = self.fabric.all_reduce(self.loss_sum, reduce_op="mean")
        if self.fabric.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_name(self.path.name + ".part")
            state = {
                "format": _FORMAT,
                "config": asdict(self.config),
                "model": self.model.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "places": places(self.model),
                "heard": self.heard,
                "optimizer": self.optimizer.state_dict(),
                "epochs": [asdict(epoch) for epoch in self.epochs],
                "step": self.step,
                "loss_sum": loss_sum,
                "seconds": self.seconds,
            }
            torch.save(state, beside)
            os.replace(beside, self.path)
        self.fabric.barrier()
        self._saved_at = time.monotonic()

    def resume(self) -> None:
        """Go on from the file if it is there."""
        if self.path is None or not self.path.exists():
            return
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds for a file that is cut short
            raise PruneError(f"{self.path} cannot be resumed; it may be cut short: {error}") from error
        if not isinstance(kept, dict) or kept.get("format") != _FORMAT:
            raise PruneError(f"{self.path} is no state of a training run that this version writes.")
        for name, value in asdict(self.config).items():
            if name not in ELSEWHERE and kept["config"].get(name) != value:
                was = kept["config"].get(name)
                raise PruneError(f"{self.path} was written with {name} = {was!r}; it cannot go on with {value!r}.")
        try:
            put_back_(self.model, kept["places"])
            self.model.load_state_dict(kept["model"])
            if self.average is not None:
                put_back_(self.average.module, kept["places"])
                self.average.load_state_dict(kept["average"])
        except (RuntimeError, InvalidArgument) as error:
            raise PruneError(f"{self.path} holds the state of another model: {error}") from error
        self.optimizer.load_state_dict(kept["optimizer"])
        self.epochs = [Epoch(**epoch) for epoch in kept["epochs"]]
        self.step, self.seconds = kept["step"], kept["seconds"]
        device = self.fabric.device
        self.heard = {name: {key: t.to(device) for key, t in told.items()} for name, told in kept["heard"].items()}
        self.loss_sum = kept["loss_sum"].to(self.fabric.device)


def _decaying(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """Average that forgets by `decay` a step, faster in the first steps."""

    @torch.no_grad()
    def update(averages: Any, now: Any, steps: Tensor | int) -> None:
        torch._foreach_lerp_(averages, now, 1 - min(decay, (1 + int(steps)) / (10 + int(steps))))

    return update


class Interrupt:
    """Holds Ctrl-C back until a step is finished; the second one stops at once."""

    requested = False

    def __enter__(self) -> Interrupt:
        self._own = threading.current_thread() is threading.main_thread()
        if self._own:
            self._before = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            signal.signal(signal.SIGINT, self._before)

    def _request(self, *_: object) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
