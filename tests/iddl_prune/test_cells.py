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
from iddl_prune.plan import Plan


def pattern(cells=(3, 4), edge=1, inputs=60, outputs=50):
    return SparsePattern.from_design(inputs, outputs, bibdlib.construct(7, 3, 1), edge=edge, cells=cells)


def names(cells, n, seed):
    generator = np.random.default_rng(seed)
    return np.array([[generator.permutation(n) for _ in range(cells[1])] for _ in range(cells[0])])


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_every_cell_is_a_design_and_every_column_of_cells(rows, columns, seed):
    cells = rows, columns
    woven = pattern(cells).relabelled(names(cells, 7, seed), names(cells, 7, seed + 1))
    assert woven.verify().holds
    for column in range(columns):
        stacked = np.concatenate([woven.cell(row, column) for row in range(rows)])
        assert bibdlib.verify(bibdlib.Design(bibdlib.Parameters(7, 3, rows), stacked)).holds
    assert woven.reads.sum(0).tolist() == [3 * rows] * 7 * columns
    assert woven.blocks.shape == (7 * rows, 3 * columns)


def test_names_taken_back_give_the_pattern_as_it_falls():
    points, blocks = names((3, 4), 7, 0), names((3, 4), 7, 1)
    there = pattern().relabelled(points, blocks)
    assert there.digest != pattern().digest
    back = there.relabelled(np.argsort(points, axis=-1).ravel(), np.argsort(blocks, axis=-1).ravel())
    assert back.digest == pattern().digest


def test_one_spoilt_cell_is_no_design():
    blocks = pattern().blocks.copy()
    blocks[8, 3:6] = blocks[9, 3:6]
    certificate = replace(pattern(), blocks=blocks).verify()
    assert not certificate.holds
    assert "expected" in certificate.reason


def test_cells_must_divide_blocks_and_points():
    with pytest.raises(InvalidArgument, match=r"'cells' must divide the blocks and the points, not \(2, 4\)"):
        replace(pattern(), cells=(2, 4))
    with pytest.raises(InvalidArgument, match="'out_features' must give at least 56 units"):
        pattern(cells=(8, 1))


def test_the_control_has_the_degrees_of_every_cell():
    design = pattern(inputs=56, outputs=42)
    drawn = design.random(0)
    assert not drawn.is_design
    assert drawn.kept == design.kept
    for cell in np.ndindex(3, 4):
        assert np.bincount(drawn.cell(*cell).ravel()).tolist() == [3] * 7


def test_planted_cells_are_found_again():
    planted = pattern(inputs=28, outputs=21).relabelled(names((3, 4), 7, 2), names((3, 4), 7, 3))
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
    assert decided.layers["0"].cells == (1, 8)
    assert "(8, 2, 3) in 1 x 8" in str(decided)
    assert "at random 25%" in str(decided)
    again = Plan.from_dict(decided.to_dict())
    assert again == decided
    sparse = prune_(copy.deepcopy(dense), again)
    assert sparse[0].pattern.verify().holds
    assert plan(dense, x, density=0.25, edge=1, cells=False).layers["0"].cells == (1, 1)
