"""Channels change places and the network computes what it did; all layers are fitted under one order."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet18, resnet34, resnet50
from torchvision.models.vgg import make_layers

import bibdlib
from iddl_prune import InvalidArgument, Plan, SparsePattern, compress, group_fit, plan, prune_
from iddl_prune.dependency import ChannelGroup, Side, channel_groups, moves_of, permute_
from iddl_prune.group_fit import fit_groups
from tests.iddl_prune.test_plan import cifar_resnet18, mlp


class Dense(nn.Module):
    """A dense block: each convolution reads all that came before it, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.grow = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 4 * i) for i in range(3))
        self.head = nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = [self.stem(x)]
        for norm, grow in zip(self.norms, self.grow, strict=True):
            features.append(grow(norm(torch.cat(features, 1)).relu()))
        return self.head(nn.functional.adaptive_avg_pool2d(torch.cat(features, 1), 1).flatten(1))


class Shuffle(nn.Module):
    """Two groups that may not be permuted: one is cut in halves that are multiplied, one is normalised in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 6, 1)
        self.norm, self.d = nn.GroupNorm(2, 8), nn.Conv2d(6, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.a(x).chunk(2, 1)
        return self.d(self.c(self.norm(self.b(left * right))).relu())


class Scaled(nn.Module):
    """Channels that a graph of layers sees as free to move, but each has a factor of its own, which would stay."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x) * torch.arange(1.0, 9.0).view(1, 8, 1, 1))


class Doubled(nn.Module):
    """Channels that the next layer reads twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(16, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        return self.b(torch.cat([y, y.relu()], 1))


def vgg() -> nn.Module:
    features = make_layers([8, 8, "M", 16, 16, "M", 24, 24, "M"], batch_norm=True)
    return nn.Sequential(
        features, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 5)
    )


def shaken(model: nn.Module) -> nn.Module:
    """Statistics of batch norms as training leaves them: no two channels alike."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_(std=0.1)
    return model.eval()


def relative_error(answer: torch.Tensor, expected: torch.Tensor) -> float:
    return ((answer - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(
    ("make", "shape", "groups"),
    [
        (mlp, (1, 12, 12), 2),
        (resnet18, (3, 32, 32), 12),
        (resnet34, (3, 32, 32), 20),
        (resnet50, (3, 32, 32), 37),
        (vgg, (3, 16, 16), 7),
        (Dense, (3, 8, 8), 4),
        (Doubled, (3, 8, 8), 1),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)), (3, 8, 8), 1),
    ],
    ids=["mlp", "resnet18", "resnet34", "resnet50", "vgg16-bn", "concatenation", "doubled", "depthwise"],
)
def test_permuted_networks_compute_the_same(make: Callable[[], nn.Module], shape: tuple[int, ...], groups: int) -> None:
    model, inputs = shaken(make()), torch.randn(2, *shape)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = channel_groups(model, inputs)
    assert len(found) == groups
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    generator = np.random.default_rng(0)
    moves = moves_of(found, [generator.permutation(group.channels) for group in found], model)
    other = permute_(copy.deepcopy(model), moves)
    with torch.no_grad():
        assert relative_error(other(inputs), model(inputs)) < 1e-5
    changed = [name for name, value in other.state_dict().items() if not torch.equal(value, before[name])]
    assert len(changed) > len(before) / 2


def test_what_cannot_move_stays() -> None:
    model, inputs = shaken(Shuffle()), torch.randn(2, 3, 8, 8)
    movable = {side.module for group in channel_groups(model, inputs) for side in group.sides}
    assert movable == {"c", "d"}


@pytest.mark.parametrize("zeros", [False, True])
def test_what_the_graph_does_not_see_is_tried(zeros: bool) -> None:
    """A network that answers nothing but zeros answers them under wrong orders too."""
    model = Scaled()
    if zeros:
        nn.init.zeros_(model.b.weight)
        nn.init.zeros_(model.b.bias)
    assert channel_groups(model, torch.randn(2, 3, 8, 8)) == ()


@torch.no_grad()
def test_frozen_weights_move_as_well() -> None:
    found = channel_groups(Doubled().requires_grad_(False), torch.randn(2, 3, 8, 8))
    assert [group.channels for group in found] == [8]


def test_moves_are_checked_before_anything_moves() -> None:
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    good = {"1": {"out": tuple(reversed(range(96)))}}
    for bad, message in (
        ({"9": {"out": (0,)}}, "'9'"),
        ({"3": {"in": (0, 0)}}, "permute the 96 channels of '3'"),
        ({"2": {"in": (0,)}}, "not ReLU"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            permute_(model, good | bad)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("design", ["bibd", "random"])
def test_a_plan_by_groups_keeps_what_it_says_in_contiguous_tiles(design: str) -> None:
    model, inputs = shaken(cifar_resnet18()), torch.randn(2, 3, 32, 32)
    decided = plan(model, inputs, density=0.25, design=design, permutation="groups", starts=1)
    moved = permute_(copy.deepcopy(model), decided.moves)
    with torch.no_grad():
        assert relative_error(moved(inputs), model(inputs)) < 1e-5
    for name, layer in decided.layers.items():
        pattern = layer.pattern()
        for groups in (pattern.in_groups, pattern.out_groups):
            assert np.count_nonzero(np.diff(groups)) == groups.max()
        worth = moved.get_submodule(name).weight.detach().double().square().sum((2, 3)).numpy()
        assert layer.worth is not None
        kept, unfitted, ceiling = layer.worth
        assert worth[pattern.mask()].sum() / worth.sum() == pytest.approx(kept)
        assert unfitted < kept < ceiling
        assert design == "random" or pattern.verify()
    assert Plan.from_dict(json.loads(json.dumps(decided.to_dict()))) == decided


def test_converted_by_groups_it_computes_what_the_masked_network_computes() -> None:
    model, inputs = shaken(cifar_resnet18()), torch.randn(2, 3, 32, 32)
    decided = plan(model, inputs, density=0.25, permutation="groups", starts=1)
    masked = copy.deepcopy(model)
    for name, layer in decided.layers.items():
        sides = decided.moves.get(name, {})
        orders = [
            np.array(sides.get(side, range(width)))
            for side, width in (("out", layer.out_features), ("in", layer.in_features))
        ]
        mask = torch.from_numpy(layer.pattern().mask()[orders[0]][:, orders[1]])
        masked.get_submodule(name).weight.data *= mask[:, :, None, None]
    sparse = prune_(copy.deepcopy(model), decided)
    with torch.no_grad():
        assert relative_error(sparse(inputs), masked(inputs)) < 1e-4


def test_compress_by_groups_repairs_towards_the_permuted_network() -> None:
    model, inputs = shaken(mlp()), torch.randn(64, 1, 12, 12)
    errors = {}
    for repair in (False, True):
        sparse = compress(
            model, inputs[:2], density=0.3, calibration=inputs, permutation="groups", repair=repair, edge=4
        )
        with torch.no_grad():
            errors[repair] = (sparse(inputs) - model(inputs)).square().mean().item()
    assert errors[True] < 0.5 * errors[False]


def planted(generator: np.random.Generator, out_order: np.ndarray, in_order: np.ndarray) -> np.ndarray:
    """Worths under which a plane lies in tiles of edge 3, its points and blocks renamed, its channels moved."""
    tiles = PLANE.reads[generator.permutation(7)][:, generator.permutation(7)]
    return np.kron(tiles, np.ones((3, 3)))[out_order][:, in_order] + 0.01 * generator.random((21, 21))


PLANE = SparsePattern.from_design(21, 21, bibdlib.construct(7, 3, 1), edge=3)
STAY, PLACES = np.arange(21), np.arange(21)[:, None]


def test_an_order_that_two_layers_share_is_found_again_and_the_names_of_each() -> None:
    generator = np.random.default_rng(3)
    hidden = generator.permutation(21)
    worths = {name: planted(generator, STAY, hidden) for name in ("one", "two")}
    groups = [ChannelGroup(21, (Side("one", "in", PLACES), Side("two", "in", PLACES)))]
    groups += [ChannelGroup(21, (Side(name, "out", PLACES),)) for name in worths]
    _, fits = fit_groups(worths, dict.fromkeys(worths, PLANE), groups, starts=40)
    for fit in fits.values():
        assert fit.kept == pytest.approx(fit.ceiling)
        assert fit.unfitted < 0.6 * fit.kept
        assert not fit.orders


def test_sides_in_no_group_have_orders_of_their_own() -> None:
    generator = np.random.default_rng(3)
    worth = planted(generator, generator.permutation(21), generator.permutation(21))
    _, fits = fit_groups({"one": worth}, {"one": PLANE}, [], starts=40)
    assert fits["one"].orders.keys() == {"in", "out"}
    assert fits["one"].kept == pytest.approx(fits["one"].ceiling)


def test_channels_that_a_layer_reads_twice_count_in_both_places() -> None:
    generator = np.random.default_rng(3)
    pattern = SparsePattern.from_design(42, 21, bibdlib.construct(7, 3, 1), edge=3)
    twice = np.stack([STAY, STAY + 21], axis=1)
    worth = np.where(np.arange(42) < 21, 0, pattern.mask())
    worth = worth[:, np.concatenate([STAY, 21 + generator.permutation(21)])]
    groups = [ChannelGroup(21, (Side("one", "in", twice),)), ChannelGroup(21, (Side("one", "out", PLACES),))]
    _, fits = fit_groups({"one": worth.astype(float)}, {"one": pattern}, groups, starts=10)
    assert fits["one"].kept == pytest.approx(1)


@given(st.integers(0, 999))
def test_no_round_and_no_start_loses(seed: int) -> None:
    """Nor where a layer reads and writes the channels of a group, so that their order has no exact best."""
    worth = np.random.default_rng(seed).random((21, 21)) ** 8
    group = ChannelGroup(21, (Side("one", "in", PLACES), Side("one", "out", PLACES)))

    def kept(rounds: int, starts: int) -> float:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(group_fit, "_ROUNDS", rounds)
            return fit_groups({"one": worth}, {"one": PLANE}, [group], starts=starts, seed=seed)[1]["one"].kept

    by_rounds = [kept(rounds, 1) for rounds in range(1, 6)]
    assert by_rounds == sorted(by_rounds)
    by_starts = [kept(5, starts) for starts in range(1, 5)]
    assert by_starts == sorted(by_starts)


@pytest.mark.parametrize("change", [{"permutation": "all"}, {"permutation": "groups", "starts": 0}])
def test_bad_arguments_are_named(change: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=list(change)[-1]):
        plan(mlp(), torch.randn(2, 1, 12, 12), density=0.25, **change)
