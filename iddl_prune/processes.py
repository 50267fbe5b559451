"""Several processes that train one model: which is the first, and whether all began with the same one."""

from __future__ import annotations

import os
from hashlib import sha256

import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import distributed, nn

from iddl_prune.convert import pattern_layers
from iddl_prune.errors import PruneError

__all__ = ["check_agreement", "is_first", "of_torchrun"]


def is_first() -> bool:
    """Whether this process is the one that prints and writes; also told before the processes have met."""
    return not rank_zero_only.rank  # type: ignore[attr-defined]


def of_torchrun() -> dict[str, int]:
    """Processes a machine and machines, as Lightning Fabric's arguments, if torchrun started this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    return {"devices": int(os.environ["LOCAL_WORLD_SIZE"]), "num_nodes": int(os.environ["GROUP_WORLD_SIZE"])}


def check_agreement(model: nn.Module, name: str = "model") -> None:
    """Make sure that all processes hold the same designs and the same weights; each takes part.

    Wrapping for distributed training would give every process the weights of the first, but not its patterns.

    Raises
    ------
    PruneError
        In every process alike, naming the first pattern or tensor that differs.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    mine = _digests(model)
    everyone: list[dict[str, str]] = [{} for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(everyone, mine)
    first = everyone[0]
    for rank, theirs in enumerate(everyone):
        for what in {**first, **theirs}:
            if first.get(what) != theirs.get(what):
                raise PruneError(
                    f"The {name} of process {rank} is not that of process 0: {what} differs. "
                    "Build it from the same seed, data and files in every process."
                )


def _digests(model: nn.Module) -> dict[str, str]:
    found = {f"the pattern of {key!r}": layer.pattern.digest for key, layer in pattern_layers(model).items()}
    for key, tensor in model.state_dict().items():
        numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        found[f"{key!r} {tuple(tensor.shape)}"] = sha256(numbers.tobytes()).hexdigest()
    return found
