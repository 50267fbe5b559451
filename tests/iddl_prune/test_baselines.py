"""Baselines: what they promise of degrees, of zeros, of cost."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from iddl_prune import InvalidArgument, SparsePattern, pattern_layers
from iddl_prune.assign import fit
from iddl_prune.baselines import (
    balanced,
    balanced_tiles,
    draw_anew_,
    fewer_channels,
    largest_weights,
    mask_,
    truncated_plane,
)
from iddl_prune.convert import connect_
from iddl_prune.measure import count_multiply_adds, count_weights
from iddl_prune.models import ModelSpec
from tests.iddl_prune.strategies import patterns


def some_worth(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) ** 2


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_blocks_of_equal_size_and_points_in_equally_many(b, v, data):
    fan_in = data.draw(st.integers(1, v))
    blocks = balanced(some_worth(data.draw(st.integers(0, 9)), b, v), fan_in)
    assert blocks.shape == (b, fan_in)
    assert (np.diff(blocks, axis=1) > 0).all()
    degrees = np.bincount(blocks.ravel(), minlength=v)
    assert degrees.max() - degrees.min() <= 1


def test_no_other_choice_is_worth_more():
    worth = some_worth(3, 4, 4)
    found = np.take_along_axis(worth, balanced(worth, 2), axis=1).sum()
    rows = [np.isin(np.arange(4), pair) for pair in combinations(range(4), 2)]
    choices = (np.array([rows[i] for i in index]) for index in np.ndindex(6, 6, 6, 6))
    assert found == pytest.approx(max(worth[choice].sum() for choice in choices if (choice.sum(0) == 2).all()))


def test_blocks_larger_than_the_points_are_refused():
    with pytest.raises(InvalidArgument, match=r"'fan_in' must lie between 1 and 4, not 5"):
        balanced(some_worth(0, 3, 4), 5)


@given(patterns(), st.integers(0, 9))
def test_freed_tiles_keep_degrees_and_groups_and_are_worth_no_less(pattern, seed):
    worth = some_worth(seed, pattern.out_features, pattern.in_features)
    fitted = fit(worth, pattern, starts=1).pattern
    found = balanced_tiles(worth, fitted)
    assert not found.is_design
    assert (found.reads.sum(0) == pattern.reads.sum(0)).all()
    assert (found.reads.sum(1) == pattern.reads.sum(1)).all()
    assert found.kept == pattern.kept or len(set(np.bincount(pattern.in_groups))) > 1
    assert worth[found.mask()].sum() >= worth[fitted.mask()].sum() * (1 - 1e-9)


def test_single_channels_are_matched_exactly():
    worth = some_worth(1, 12, 18)
    whole = SparsePattern(np.sort(np.argsort(worth, axis=1)[:, -6:], axis=1), np.arange(18), np.arange(12))
    np.testing.assert_array_equal(balanced_tiles(worth, whole).blocks, balanced(worth, 6))


def test_a_freed_pattern_is_a_layer_like_any_other():
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    worth = model[0].weight.detach().square().numpy()
    pattern = SparsePattern(balanced(worth, 3), np.arange(12), np.arange(8))
    connect_(model, {"0": pattern})
    assert list(pattern_layers(model)) == ["0"]
    assert model[0].weight.numel() == 24
    with pytest.raises(InvalidArgument, match="must name Linear and Conv2d layers, not a ReLU"):
        connect_(model, {"1": pattern})


def test_the_largest_weights_layer_by_layer_or_all_together():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    with torch.no_grad():
        model[1].weight.mul_(10)
    kept = {"0": 50, "1": 60}
    masks = largest_weights(model, kept)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == kept
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight.abs()
        assert weight[mask].min() >= weight[~mask].max()
    together = largest_weights(model, kept, together=True)
    assert [int(mask.sum()) for mask in together.values()] == [0, 110]


def test_the_largest_whole_filters_keep_all_taps_of_a_pair_or_none():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 5))
    masks = largest_weights(model, {"0": 9 * 7, "2": 6}, whole=True)
    taps = masks["0"].sum((2, 3))
    assert sorted(taps.unique().tolist()) == [0, 9]
    assert int(masks["0"].sum()) == 9 * 7
    norms = model[0].weight.norm(dim=(2, 3))
    assert norms[taps > 0].min() >= norms[taps == 0].max()
    assert masks["2"].equal(largest_weights(model, {"2": 6})["2"])


def test_masked_weights_stay_zero_while_the_others_learn():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    mask = torch.rand(4, 3) < 0.5
    mask_(model, {"0": mask})
    before = model[0].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        model(torch.randn(5, 3, 4, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (model[0].weight[~mask] == 0).all()
    assert (model[0].weight[mask] != before[mask]).all()


def test_the_truncated_plane_is_what_is_left_of_the_next_larger_one():
    whole = truncated_plane(13, 13)
    assert (whole.sum(0) == 4).all()
    assert ((whole.astype(int).T @ whole)[~np.eye(13, dtype=bool)] == 1).all()
    cut = truncated_plane(14, 9)
    assert cut.shape == (9, 14)
    assert (cut.sum(1) <= 5).all()
    assert len(set(cut.sum(1))) > 1


@pytest.mark.parametrize(("name", "shape"), [("mlp", (1, 8, 8)), ("resnet18", (3, 8, 8))])
def test_channels_are_taken_out_until_the_cost_is_met(name, shape):
    torch.manual_seed(0)
    model = ModelSpec(name, 10, shape).build().eval()
    examples = torch.zeros(2, *shape)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for cost in (count_weights, lambda model: count_multiply_adds(model, shape)):
        slim = fewer_channels(model, examples, cost, cost(model) / 8)
        assert cost(slim) == pytest.approx(cost(model) / 8, rel=0.1)
        assert slim.eval()(torch.randn(3, *shape)).shape == (3, 10)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    slim_before = {key: tensor.clone() for key, tensor in slim.named_parameters()}
    assert draw_anew_(slim) is slim
    assert not any(torch.equal(slim_before[key], new) for key, new in slim.named_parameters() if new.ndim > 1)
