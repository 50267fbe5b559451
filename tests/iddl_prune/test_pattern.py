"""Patterns: exact designs on any width, and a control that differs in nothing but the design."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibdlib
from iddl_prune import InvalidArgument, SparsePattern
from iddl_prune.choice import EDGES, choose
from iddl_prune.pattern import nearly_equal_groups
from tests.iddl_prune.strategies import patterns

FANO = bibdlib.construct(7, 3, 1)


@given(patterns())
def test_any_width_carries_an_exact_design(pattern: SparsePattern) -> None:
    assert pattern.verify()
    mask = pattern.mask()
    assert mask.any(axis=0).all()
    assert mask.any(axis=1).all()
    assert mask.sum() == pattern.kept
    assert pattern.density == pytest.approx(mask.mean())


@given(patterns())
def test_storage_order_lists_each_kept_pair_once(pattern: SparsePattern) -> None:
    assert np.array_equal(np.sort(pattern.positions), np.flatnonzero(pattern.mask()))


@given(patterns(), st.integers(0, 2**32 - 1))
def test_random_control_has_the_same_degrees_and_claims_no_design(pattern: SparsePattern, seed: int) -> None:
    control = pattern.random(seed)
    assert np.array_equal(control.reads.sum(axis=0), pattern.reads.sum(axis=0))
    assert np.array_equal(control.reads.sum(axis=1), pattern.reads.sum(axis=1))
    assert not control.is_design
    assert not control.verify()
    assert control.digest == pattern.random(seed).digest


def test_random_control_of_the_fano_plane_is_seldom_a_plane() -> None:
    verdicts = [
        bool(bibdlib.verify(bibdlib.Design(FANO.parameters, SparsePattern.from_design(7, 7, FANO).random(seed).blocks)))
        for seed in range(50)
    ]
    assert sum(verdicts) < 25


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 16))
def test_groups_differ_by_at_most_one_unit(features: int, groups: int, edge: int) -> None:
    if -(-features // edge) < groups:
        with pytest.raises(InvalidArgument, match="in_features"):
            nearly_equal_groups("in_features", features, groups, edge)
        return
    sizes = np.bincount(nearly_equal_groups("in_features", features, groups, edge))
    assert len(sizes) == groups
    assert sizes.min() >= 1
    units = -(-sizes // edge)
    assert units.max() - units.min() <= 1


@given(patterns(), st.randoms(use_true_random=False))
def test_permuted_pattern_is_the_permuted_mask(pattern: SparsePattern, random) -> None:
    in_order, out_order = list(range(pattern.in_features)), list(range(pattern.out_features))
    random.shuffle(in_order)
    random.shuffle(out_order)
    permuted = pattern.permuted(in_order, out_order)
    assert np.array_equal(permuted.mask(), pattern.mask()[out_order][:, in_order])
    assert permuted.verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": np.array([[0, 1, 1]])}, "blocks"),
        ({"blocks": FANO.blocks.astype(float)}, "blocks"),
        ({"in_groups": np.zeros(7, dtype=int)}, "in_groups"),
        ({"out_groups": np.arange(6)}, "out_groups"),
    ],
)
def test_broken_patterns_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    whole = {"blocks": FANO.blocks, "in_groups": np.arange(7), "out_groups": np.arange(7)}
    with pytest.raises(InvalidArgument, match=message):
        SparsePattern(**{**whole, **change})


@pytest.mark.parametrize("density", [0.05, 0.125, 0.25, 0.5])
@pytest.mark.parametrize("width", [64, 100, 512])
def test_chosen_design_fits_width_and_density(width: int, density: float) -> None:
    choice = choose(width, width, density)
    if choice is None:
        pytest.skip(f"no design of density {density} fits {width} channels")
    p = choice.parameters
    assert choice.edge in EDGES
    assert choice.cells[0] * p.b <= choice.lists
    assert choice.lists * choice.edge < width + choice.edge
    assert choice.density == pytest.approx(density, rel=0.16)
    assert str(p.v) in choice.reason


@pytest.mark.parametrize(("density", "edge"), [(0.0, None), (1.0, None), (0.5, 0)])
def test_choice_refuses_bad_arguments(density: float, edge: int | None) -> None:
    with pytest.raises(InvalidArgument):
        choose(64, 64, density, edge)


def test_too_narrow_a_layer_has_no_choice() -> None:
    assert choose(4, 4, 0.1) is None


def test_in_columns_points_are_on_as_few_blocks_as_the_density_asks_for() -> None:
    assert choose(512, 512, 0.04, cells=False) is None
    choice = choose(512, 512, 0.04)
    assert choice is not None
    design = bibdlib.construct(*vars(choice.parameters).values())
    pattern = SparsePattern.from_design(512, 512, design, edge=choice.edge, cells=choice.cells, lists=choice.lists)
    assert pattern.verify()
    assert choice.density == pytest.approx(0.04, rel=0.03)
    assert pattern.density == pytest.approx(choice.density, rel=0.03)
