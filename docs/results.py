"""The page of measured results, printed from the JSON in `benchmarks/results`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accuracy import PICTURES, accuracy, plain_numbers, spread
from fit import fit, orders, which_design
from tables import table

__all__ = ["results"]


# Sections of the table of speed, and the speed-up that was asked of each case before anything was measured.
_SECTIONS = {
    "linear": "linear",
    "mlp": "MLP",
    "resnet18-cifar": "ResNet18, CIFAR stem",
    "resnet18-imagenet": "ResNet18, ImageNet stem",
    "whole": "ResNet18, 12.5 % of all its FLOPs",
    "backward": "forward and backward",
    "backward-16": "the same in 16 bits",
    "cells": "in cells",
}
_ASKED = {
    "linear": [10, 6, 6, 4, 4, 4],
    "mlp": [1, 1, 2, 2],
    "resnet18-cifar": [2, 2],
    "resnet18-imagenet": [2, 2],
    "whole": [2, 2, 2, 2],
    "backward": [1],
}


def results(folder: Path) -> str:
    """The page: a section a benchmark, each with the command that makes it again."""
    lines = [
        "# Measured",
        "",
        "Every figure here stands in a JSON file of `benchmarks/results`, which the command beside it makes again.",
        "The machine has two cores, no GPU, and was never quiet: trust ratios taken in one run, not seconds.",
        "",
    ]
    for section in (
        _seed_table,
        _speed,
        _memory,
        _shipping,
        accuracy,
        _repair,
        fit,
        orders,
        which_design,
        _designs,
        _coverage,
        _tried,
        _gpu,
    ):
        lines += [*section(folder), ""]
    return "\n".join(lines)


def _seed_table(folder: Path) -> Iterator[str]:
    rows = _read(folder / "seed_table.json")
    yield "## The table where the idea began"
    yield ""
    yield "The first project printed these models with masked dense layers. Here they have the same widths and packed"
    yield "weights: the MLPs sparse from the start (12.5 %, single weights), or pruned when they are trained"
    yield "(*fitted*), ResNet18 pruned from a trained checkpoint. One seed."
    yield ""
    yield "`python benchmarks/seed_table.py --data-dir data --checkpoint resnet18_cifar10.safetensors`"
    yield ""
    header = "model", "data", "epochs", "time", "accuracy", "theirs", "weights", "multiply-adds", "FLOPs"
    theirs = rows["seeds"]
    yield from table(
        header,
        (
            (
                run["run"]["model"],
                run["run"]["data"],
                str(run["run"]["epochs"])
                + (" of fine-tuning" if run["run"]["model"] in ("mlp_fitted", "resnet18_bibd") else ""),
                f"{run['seconds']:.0f} s",
                f"{run['accuracy']:.2%}",
                f"{theirs[key]} %" if (key := f"{run['run']['model']} {run['run']['data']}") in theirs else "",
                f"{run['weights']:,}",
                f"{run['multiply_adds'] / 1e6:.2f} M",
                f"{run['flops'] / 1e6:.2f} M",
            )
            for run in rows["rows"].values()
        ),
    )


def _repair(folder: Path) -> Iterator[str]:
    data = _read(folder / "repair.json")
    runs = list(data["runs"].values())
    one = runs[0]
    yield "## Before any fine-tuning"
    yield ""
    kept = one["weights"] / one["weights_dense"]
    yield f"ResNet18 on CIFAR-10, dense {data['dense']:.2%}, pruned to {kept:.1%} of its weights. The first"
    yield "convolution, shortcuts and classifier stay dense; no labels. The repair of the first row took"
    yield f"{one['repair_s']:.0f} s on {one['machine']['cores']} cores."
    yield ""
    yield f"`{one['command']}`"
    yield ""
    header = (
        "pattern",
        "edge of the tiles",
        "training images",
        "batch norms renewed",
        "and repaired",
        "draws of the images",
        "peak memory",
    )
    rows = []
    for case in dict.fromkeys((run["method"], run["edge"], run["calibration"]) for run in runs):
        mine = [run for run in runs if (run["method"], run["edge"], run["calibration"]) == case]
        renewed, repaired = (spread(100 * run[what] for run in mine) for what in ("renewed", "repaired"))
        peak = max(run["peak_bytes"] for run in mine)
        told = f"{renewed} %", f"{repaired} %", str(len(mine)), f"{peak / 1e9:.1f} GB"
        rows.append((case[0], str(case[1] or "largest"), str(case[2]), *told))
    yield from table(header, rows)


def _speed(folder: Path) -> Iterator[str]:
    data = _read(folder / "speed.json")
    yield "## Speed"
    yield ""
    yield "How many times faster than the fastest dense form (eager, channels-last, `torch.compile`, norms folded), all"
    yield "sides in turns. *Ideal* is one over the multiply-adds kept. CSR and BSR are torch's; *fewer channels*"
    yield "is Torch-Pruning's net of as many multiply-adds, which is another network: it answers otherwise."
    yield ""
    yield f"`{data['command']}`"
    yield ""
    yield from _speed_table(data)
    yield ""
    yield f"![Speed-up against density]({_density_plot(data['density']['results'])})"
    yield ""
    yield "Where the time of a sparse net goes, in milliseconds; the shortest of five passes, so that the parts add up"
    yield "to less than the medians above:"
    yield ""
    rows = []
    for name, title in _SECTIONS.items():
        for case, result in data[name]["results"].items():
            if any(result.get("parts", {}).values()):
                rows.append((title, case, *(f"{ms:.2f}" for ms in result["parts"].values())))
    yield from table(("", "case", "sparse layers", "dense layers", "the rest"), rows)
    yield ""
    yield from _floor(data["floor"]["results"])
    yield ""
    narrow = _read(folder / "speed-avx2.json")
    one = narrow["backward"]
    yield "All that was on a processor with vectors of 512 bits. On one with vectors of 256"
    yield f"({one['machine']['processor']}, {one['machine']['cores']} cores):"
    yield ""
    yield f"`{one['command']}`"
    yield ""
    yield from _speed_table(narrow)


def _speed_table(data: dict[str, Any]) -> Iterator[str]:
    rows = []
    for name, title in _SECTIONS.items():
        asked = iter(_ASKED.get(name, ()))
        for case, result in data.get(name, {"results": {}})["results"].items():
            dense = result["ratio"] * result["ms"][result["best"]]
            others = [
                f"{dense / result['ms'][side]:.2f}" if side in result["ms"] else ""
                for side in ("CSR", "BSR", "fewer channels")
            ]
            ms = f"{dense:.2f}", f"{result['ms'][result['best']]:.2f}"
            told = f"**{result['ratio']:.2f}**", str(next(asked, "")), f"{1 / result['share']:.1f}"
            rows.append((title, case, *ms, *told, *others))
    header = "", "case", "dense, ms", "iddl, ms", "times faster", "asked", "ideal", "CSR", "BSR", "fewer channels"
    yield from table(header, rows)


def _floor(results: dict[str, Any]) -> Iterator[str]:
    yield "At batch 1 a linear layer reads its weights once, and is not done before they are read: beside it stands how"
    yield "long torch takes to sum them up. *Far* are times after other memory was read, so that nothing is left in the"
    yield f"caches; sums get {results['gigabytes a second']:.0f} GB a second there. A call by itself is that of a layer"
    yield "of 7 inputs and outputs."
    yield ""
    header = (
        "layer",
        "",
        "megabytes",
        "ms again and again",
        "a sum, ms",
        "ms, far",
        "a sum, far",
        "a call by itself, ms",
    )
    rows = []
    for layer, told in results.items():
        if layer != "gigabytes a second":
            for side, total, call in (
                ("dense", "a sum of the dense weights", "a call of torch's layer"),
                ("vector", "a sum of ours", "a call of ours"),
            ):
                ms = [
                    f"{told[how][what]:.3f}"
                    for how in ("ms again and again", "ms after others")
                    for what in (side, total)
                ]
                own = f"{told['ms again and again'][call]:.3f}"
                rows.append((layer, side, f"{told['bytes'][side] / 1e6:.1f}", *ms, own))
    yield from table(header, rows)


def _shipping(folder: Path) -> Iterator[str]:
    data = _read(folder / "shipping.json")
    yield "## Files"
    yield ""
    yield "What the sparse layers weigh in the folder of `save_pretrained`, beside the weights that they keep: all that"
    yield "is not dense, the description included. Asked was 1.1 at most. With tiles of edge 1 nearly every weight is a"
    yield "choice of its own; told in as few bits as tell it from all others, that takes three to five for the 32 of a"
    yield "weight, more the fewer are kept. Wider tiles, or one design a layer, make it a choice of blocks."
    yield ""
    yield f"`{data['command']}`"
    yield ""
    header = "net", "plan", "density", "bytes", "of the weights kept"
    rows = (
        (run["net"], run["plan"], f"{run['density']:.1%}", f"{run['bytes']:,}", f"{run['ratio']:.3f}")
        for run in data["folder"]
    )
    yield from table(header, rows)
    yield ""
    yield "The same nets as ONNX files in onnxruntime, of the kept weights alone (*packed*) and with the zeros"
    yield "(*dense*), in turns:"
    yield ""
    forms = "packed", "dense"
    runs = (
        (net, *(f"{run['bytes'][form]:,}" for form in forms), batch, *(f"{ms[form]:.3f}" for form in forms))
        for net, run in data["onnx"].items()
        for batch, ms in run["ms"].items()
    )
    yield from table(("net", "bytes, packed", "bytes, dense", "batch", "ms, packed", "ms, dense"), runs)


def _density_plot(results: dict[str, Any]) -> str:
    """Draw the speed-up of the kernels against the density, and the ideal; the name of the picture."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 4), layout="constrained")).add_subplot()
    for kind in ("linear", "convolution"):
        points = sorted((case["share"], case["ratio"]) for name, case in results.items() if name.startswith(kind))
        axes.plot(*zip(*points, strict=True), marker="o", label=kind)
    shares = sorted(case["share"] for case in results.values())
    axes.plot(shares, [1 / share for share in shares], linestyle="--", color="gray", label="1 / density")
    axes.set(xlabel="density", ylabel="times faster than dense", xscale="log", yscale="log")
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    axes.legend()
    figure.savefig(PICTURES / "speed.png", dpi=120, metadata={"Software": None})
    return "speed.png"


def _memory(folder: Path) -> Iterator[str]:
    data = _read(folder / "memory.json")
    yield "## Memory"
    yield ""
    yield f"ResNet18 (CIFAR stem), its converted layers at {data['held']['density']:.1%} of their weights; megabytes,"
    yield f"peaks with a batch of {data['batch']}."
    yield ""
    yield f"`{data['command']}`"
    yield ""
    held, kernels = data["held"], ("reference", "vector", "gather")
    rows = [
        (what, f"{size / 1e6:.1f}", *[f"{held['sparse'][what] / 1e6:.1f}"] * len(kernels))
        for what, size in held["dense"].items()
    ]
    rows.append(("indices", "", *(f"{held[f'indices, {kernel}'] / 1e6:.1f}" for kernel in kernels)))
    for what, sides in data["peak"].items():
        rows.append((f"peak of a {what}", *(f"{size / 1e6:.0f}" for size in sides.values())))
    yield from table(("", *data["peak"]["forward"]), rows)
    yield ""
    yield "Asked was no more than dense in a forward pass, and 1.3 times that in a step of training. Convolutions"
    yield "compute with `reference` as they are pruned and with `vector` as they are deployed; `gather`, which copies"
    yield "what each block reads, misses it, and serves linear layers and exports."


def _gpu(folder: Path) -> Iterator[str]:
    yield "## On a GPU"
    yield ""
    if not (folder / "gpu.json").exists():
        yield "Nothing has been measured on a card yet: [what that leaves open](../explanation/gpu-kernels.md)."
        return
    data = _read(folder / "gpu.json")
    card = data["card"]
    yield f"One {card['name']}, torch {card['torch']}, Triton {card['triton']}. How many times faster than the best"
    yield "of dense eager, compiled and replayed as a graph; and the share of the floor, which is bytes or operations,"
    yield "whichever takes longer at what this card was measured to reach."
    yield ""
    yield "`python benchmarks/gpu.py`"
    yield ""
    runs = {key: run for key, run in data["runs"].items() if run.get("times_faster")}
    yield from table(
        ("run", "times faster", "of the floor"),
        (
            (key, f"{run['times_faster']:.2f}", f"{run['fraction_of_floor']:.0%}" if "fraction_of_floor" in run else "")
            for key, run in runs.items()
        ),
    )


def _designs(folder: Path) -> Iterator[str]:
    data = _read(folder / "designs.json")
    yield "## Building and verifying, beside SageMath"
    yield ""
    yield f"SageMath {data['sagemath']}, both sides in turns in one run, median of {data['rounds']} rounds."
    yield ""
    yield "`python benchmarks/designs.py --sage PYTHON`"
    yield ""
    yield from table(
        ("design", "bibdlib", "SageMath", "times faster"),
        (
            (
                name,
                f"{case['ours']['median_s']:.4f} s",
                f"{case['sagemath']['median_s']:.3f} s",
                f"{case['faster_median']:.0f}",
            )
            for name, case in data["cases"].items()
        ),
    )


def _coverage(folder: Path) -> Iterator[str]:
    data = _read(folder / "coverage.json")
    yield f"## Of the {data['sets']} admissible sets with r at most 41"
    yield ""
    yield "Built / impossible / unknown; every design that is built is counted."
    yield ""
    yield "`python benchmarks/coverage.py --sage PYTHON`"
    yield ""
    sides = {"bibdlib": "bibdlib", "SageMath": "sage"}
    kinds = list(data["bibdlib"]["r <= 41"])
    rows = []
    for name, side in sides.items():
        for reach, counts in data[side].items():
            told = (" / ".join(str(counts[kind][v]) for v in ("built", "impossible", "unknown")) for kind in kinds)
            rows.append((name, reach.replace("<=", "≤"), *told))
    yield from table(("", "", *(kind.replace("lam", "λ") for kind in kinds)), rows)


def _tried(folder: Path) -> Iterator[str]:
    data = _read(folder / "tried.json")
    yield "## Tried on the smallest of the unknown"
    yield ""
    yield "Groups that may act on such a design: `Z13:4 on 3*13 + 1*1` is Z_13 extended by x → 4x, on three copies"
    yield "and a fixed point. On the blocks it is prescribed likewise: as many orbits of 13 as there is room for, each"
    yield "kept by the multiplier. *Excluded* means proved for this action on points and blocks, and for no other;"
    yield "*in vain*, that rows were drawn for some seconds and no design came. Neither is a verdict on the design."
    yield ""
    yield f"`{data['command']}`"
    yield ""
    rows = []
    for told in data["sets"]:
        by_verdict = (
            "; ".join(f"`{run['group']}`" for run in told["tried"] if run["verdict"] == verdict)
            for verdict in ("excluded", "open")
        )
        rows.append((str(tuple(told["parameters"])), *by_verdict))
    yield from table(("", "excluded", "in vain"), rows)


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data
