"""A sparse model as a file that runs without this library: ONNX, torch.export, TorchScript."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bibdlib.extras import load
from iddl_prune.convert import replaced, to_dense
from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.files import write_whole
from iddl_prune.layers import BIBDConv2d, BIBDLinear
from iddl_prune.pattern import SparsePattern

__all__ = ["FORMATS", "FORMS", "Exported", "export", "packed"]

FORMS = ("packed", "dense")

Model = TypeVar("Model", bound=nn.Module)

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """A file that was read back and gave the model's answers.

    Attributes
    ----------
    error
        Largest deviation of an output from the model's, relative to the largest output.
    run
        The file's own runtime as a module: inputs (n, ...) to outputs.
    """

    path: Path
    size_bytes: int
    error: float
    run: nn.Module


def export(
    model: nn.Module,
    path: str | Path,
    input_shape: tuple[int, ...],
    *,
    format: str = "onnx",
    form: str = "packed",
) -> Exported:
    """Write a model for other runtimes, for batches of any size; checked before the file takes its place.

    Parameters
    ----------
    model
        Sparse or not; it stays as it is.
    input_shape
        Of one input, without the batch.
    format
        "onnx" (checked in onnxruntime), "pt2" (torch.export) or "torchscript" (which torch itself gives up).
    form
        "packed" ships the kept weights alone and puts them in their places when the file is loaded (onnxruntime, which
        folds constants) or at each call (torch's formats). "dense" ships the zeros too.

    Raises
    ------
    InvalidArgument
        If there is no such format or form.
    PruneError
        If what the file computes deviates from the model by more than 1e-4 of the largest output.
    MissingExtra
        If a package of the extra ``export`` is missing.
    """
    if format not in FORMATS:
        raise InvalidArgument(f"Argument 'format' must be one of {', '.join(FORMATS)}, not {format!r}.")
    if form not in FORMS:
        raise InvalidArgument(f"Argument 'form' must be one of {', '.join(FORMS)}, not {form!r}.")
    write, read = FORMATS[format]
    shipped = (packed if form == "packed" else to_dense)(model).cpu().float().eval()
    inputs = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporters speak of their own deprecations
        content = write(shipped, inputs)
        run = read(content)
        error = max(_error(run(batch), shipped(batch)) for batch in (inputs, inputs[:1]))
    if not error <= _TOLERANCE:
        raise PruneError(f"{path} is not written: its outputs would deviate from the model's by {error:.1e} of theirs.")
    write_whole(Path(path), content)
    return Exported(Path(path), len(content), error, run)


def packed(model: Model) -> Model:
    """A copy of a model in torch's own layers and operators that stores the kept weights alone."""
    return replaced(model, _packed)


def _packed(layer: BIBDLinear | BIBDConv2d) -> nn.Module:
    dense = layer.to_dense()
    parametrize.register_parametrization(dense, "weight", _InPlace(layer.pattern))
    return dense


class _InPlace(nn.Module):
    """The kept weights, row after row, put where the design says; by operators on constants, which runtimes fold.

    The design is stored as one bit for each pair of a block and a point.
    """

    def __init__(self, pattern: SparsePattern) -> None:
        super().__init__()
        self.points = pattern.reads.shape[1]
        bits = np.packbits(pattern.reads, axis=1, bitorder="little")
        self.register_buffer("bits", torch.from_numpy(bits))
        for name, groups in (("in_groups", pattern.in_groups), ("out_groups", pattern.out_groups)):
            narrow = np.min_scalar_type(-int(groups.max()) - 1)
            self.register_buffer(name, torch.from_numpy(groups.astype(np.uint8 if groups.max() < 256 else narrow)))

    def mask(self) -> Tensor:
        """Which output reads which input."""
        powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8)
        reads = (self.get_buffer("bits")[:, :, None] & powers).bool().flatten(1)[:, : self.points]
        rows, columns = (self.get_buffer(name).to(torch.int32) for name in ("out_groups", "in_groups"))
        return reads.index_select(0, rows).index_select(1, columns)

    def forward(self, kept: Tensor) -> Tensor:
        """kept (kept, ...) -> (out_features, in_features, ...)."""
        mask = self.mask()
        places = mask.flatten().cumsum(0) - 1
        here = mask.flatten().view(-1, *[1] * (kept.ndim - 1))
        weight = torch.where(here, kept.index_select(0, places.clamp(min=0)), 0.0)
        return weight.view(*mask.shape, *kept.shape[1:])

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weights in the mask, row after row."""
        return weight[self.mask()]


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


class _Run(nn.Module):
    """A runtime as a module."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, inputs: Tensor) -> Tensor:
        return self.call(inputs)


def _to_onnx(model: nn.Module, inputs: Tensor) -> bytes:
    load("onnxscript", extra="export")
    program = torch.onnx.export(
        model,
        (inputs,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["input"],
        output_names=["output"],
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        node.ClearField("metadata_props")  # where in which source file of this machine it came from
    return proto.SerializeToString()


def _from_onnx(content: bytes) -> nn.Module:
    runtime = load("onnxruntime", extra="export")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return _Run(lambda inputs: torch.from_numpy(session.run(None, {"input": inputs.numpy()})[0]))


def _to_torchscript(model: nn.Module, inputs: Tensor) -> bytes:
    file = BytesIO()
    torch.jit.save(torch.jit.trace(model, inputs), file)
    return file.getvalue()


def _from_torchscript(content: bytes) -> nn.Module:
    return torch.jit.load(BytesIO(content))


def _to_pt2(model: nn.Module, inputs: Tensor) -> bytes:
    file = BytesIO()
    torch.export.save(torch.export.export(model, (inputs,), dynamic_shapes=({0: torch.export.Dim("batch")},)), file)
    return file.getvalue()


def _from_pt2(content: bytes) -> nn.Module:
    module = torch.export.load(BytesIO(content)).module()
    return _Run(lambda inputs: module(inputs))  # not as its child: it refuses to change modes


FORMATS = {
    "onnx": (_to_onnx, _from_onnx),
    "pt2": (_to_pt2, _from_pt2),
    "torchscript": (_to_torchscript, _from_torchscript),
}
