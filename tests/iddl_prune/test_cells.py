"""A layer filled with copies of a design, each with an order of points and blocks of its own."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import bibdlib
from iddl_prune import InvalidArgument, SparsePattern, plan, prune_
from iddl_prune.assign import fit
from iddl_prune.plan import LayerPlan, Plan

FANO = bibdlib.construct(7, 3, 1)


def pattern(cells=(3, 4), edge=1, inputs=60, outputs=50, lists=None):
    return SparsePattern.from_design(inputs, outputs, FANO, edge=edge, cells=cells, lists=lists)


def names(shape, n, seed):
    return np.random.default_rng(seed).permuted(np.broadcast_to(np.arange(n), (*shape, n)), axis=-1)


@st.composite
def arrangements(draw):
    """Cells of Fano planes, and a number of lists among which their blocks can be dealt out."""
    copies, columns = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    joined = draw(st.sampled_from([k for k in range(1, columns + 1) if 7 * copies * columns % k == 0]))
    return (copies, columns), 7 * copies * columns // joined, joined


def dealt(falls, seed):
    """What blocks join, dealt out anew in each column among those that join any there; the blocks in another order."""
    generator, order = np.random.default_rng(seed), []
    for copies in falls.copies:
        places = np.arange(len(copies))
        places[copies >= 0] = generator.permutation(places[copies >= 0])
        order.append(places)
    return np.array(order)[:, generator.permutation(len(falls.blocks))]


@given(arrangements(), st.integers(0, 99))
def test_every_column_is_a_design_and_every_block_joins_as_many(arranged, seed):
    cells, lists, joined = arranged
    falls = pattern(cells, lists=lists, outputs=130)
    woven = falls.relabelled(names(cells, 7, seed), dealt(falls, seed))
    assert woven.verify().holds
    for column in range(cells[1]):
        assert bibdlib.verify(bibdlib.Design(bibdlib.Parameters(7, 3, cells[0]), woven.column(column))).holds
    assert woven.reads.sum(0).tolist() == [3 * cells[0]] * 7 * cells[1]
    assert woven.blocks.shape == (lists, 3 * joined)
    assert ((woven.by_column.sum(2) == 3).sum(1) == joined).all()


@given(arrangements(), st.integers(0, 99))
def test_names_taken_back_give_the_pattern_as_it_falls(arranged, seed):
    (copies, columns), lists, _ = arranged
    falls = pattern((copies, columns), lists=lists, outputs=130)
    blocks = dealt(falls, seed)
    there = falls.relabelled(np.tile(np.arange(7), (copies, columns, 1)), blocks)
    assert np.array_equal(there.by_column, falls.by_column[blocks.T, np.arange(columns)])
    as_it_falls = falls.relabelled(np.tile(np.arange(7), copies * columns), np.tile(np.arange(lists), columns))
    assert as_it_falls.digest == falls.digest


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_plans_of_the_first_form_are_read(copies, columns, seed):
    """There each copy had an order of its own for its blocks."""
    orders = names((copies, columns), 7, seed)
    told = {"kind": "Linear", "in_features": 60, "out_features": 50, "taps": (), "v": 7, "k": 3, "lam": 1}
    told |= {"edge": 1, "reason": "", "cells": [copies, columns], "points": names((copies, columns), 7, seed + 1)}
    told |= {"points": told["points"].ravel().tolist(), "blocks": orders.ravel().tolist()}
    found = LayerPlan.from_dict(told, form=1).pattern().by_column
    points = np.reshape(told["points"], (copies, columns, 7))
    for cell in np.ndindex(copies, columns):
        reads = np.zeros((7, 7), dtype=bool)
        np.put_along_axis(reads, FANO.blocks, True, axis=1)
        row = 7 * cell[0]
        assert np.array_equal(found[row : row + 7, cell[1]], reads[orders[cell]][:, points[cell]])


def test_blocks_must_join_as_many():
    falls = pattern((1, 4), lists=14)
    blocks = np.tile(np.arange(14), (4, 1))
    blocks[0] = blocks[0, ::-1]
    with pytest.raises(InvalidArgument, match="'blocks' must let each block join as many"):
        falls.relabelled(np.tile(np.arange(7), 4), blocks)


def test_one_spoilt_column_is_no_design():
    blocks = pattern().blocks.copy()
    blocks[8, 3:6] = blocks[9, 3:6]
    certificate = replace(pattern(), blocks=blocks).verify()
    assert not certificate.holds
    assert "expected" in certificate.reason


def test_cells_and_lists_must_be_whole():
    with pytest.raises(InvalidArgument, match=r"'cells' must divide the points, .* not \(1, 3\)"):
        replace(pattern(), cells=(1, 3))
    with pytest.raises(InvalidArgument, match=r"'cells' must divide .* not \(2, 4\)"):
        replace(pattern(), cells=(2, 4))
    with pytest.raises(InvalidArgument, match="'out_features' must give at least 56 units"):
        pattern(cells=(8, 1))
    for lists in (14, 22):
        with pytest.raises(InvalidArgument, match=f"'lists' must be at least 21 and divide 84, not {lists}"):
            pattern(lists=lists)


@given(arrangements(), st.integers(0, 99))
def test_the_control_has_the_degrees_of_every_column(arranged, seed):
    cells, lists, _ = arranged
    design = pattern(cells, lists=lists, outputs=130)
    drawn = design.random(seed)
    assert not drawn.is_design
    assert drawn.cells == cells
    assert np.array_equal(drawn.by_column.sum(0), design.by_column.sum(0))
    assert np.array_equal(drawn.by_column.sum(2), design.by_column.sum(2))


def test_columns_that_only_some_blocks_join_keep_more_than_one_design_as_sparse():
    worth = np.random.default_rng(0).exponential(size=(60, 60)) ** 2
    some = fit(worth, pattern((1, 8), lists=28, inputs=60, outputs=60), starts=1)
    assert some.pattern.verify().holds
    assert some.kept > 1.5 * some.pattern.density
    assert len(np.unique(pattern((1, 8), lists=28).joins, axis=0)) == 4
    assert len(np.unique(some.pattern.joins, axis=0)) > 4
    as_told = pattern((1, 8), lists=28, inputs=60, outputs=60).relabelled(some.points, some.blocks)
    assert as_told.permuted(some.in_order, some.out_order).digest == some.pattern.digest
    assert worth[some.pattern.mask()].sum() / worth.sum() == pytest.approx(some.kept)


def test_planted_cells_are_found_again():
    falls = pattern(inputs=28, outputs=21)
    planted = falls.relabelled(names((3, 4), 7, 2), dealt(falls, 3))
    worth = planted.mask() + 0.01 * np.random.default_rng(0).random((21, 28))
    found = fit(worth, pattern(inputs=28, outputs=21), starts=8)
    assert found.pattern.verify().holds
    assert found.kept > 0.8
    as_told = pattern(inputs=28, outputs=21).relabelled(found.points, found.blocks)
    assert as_told.permuted(found.in_order, found.out_order).digest == found.pattern.digest
    assert worth[found.pattern.mask()].sum() / worth.sum() == pytest.approx(found.kept)


def test_cells_keep_more_than_one_design():
    worth = np.random.default_rng(0).exponential(size=(60, 60)) ** 2
    many, one = (pattern(cells, inputs=60, outputs=60) for cells in ((8, 8), (1, 1)))
    assert fit(worth, many, starts=1).kept > fit(worth, one, starts=4).kept + 0.05


def test_a_plan_fills_layers_with_cells_and_survives_json():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    x = torch.randn(8, 64)
    decided = plan(dense, x, density=0.25, edge=1, calibration=x)
    assert decided.layers["0"].cells == (1, 16)
    assert "(4, 2, 8) in 1 x 16 cells" in str(decided)
    assert "at random 25%" in str(decided)
    again = Plan.from_dict(decided.to_dict())
    assert again == decided
    sparse = prune_(copy.deepcopy(dense), again)
    assert sparse[0].pattern.verify().holds
    assert plan(dense, x, density=0.25, edge=1, cells=False).layers["0"].cells == (1, 1)
