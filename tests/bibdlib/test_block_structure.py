"""What a design says of its blocks: their order, their intersections, repeated ones, its efficiency."""

from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bibdlib import Design, Parameters, construct


@given(arrays(np.int64, (11, 5), elements=st.integers(0, 10)), st.permutations(range(11)))
def test_blocks_are_kept_in_lexicographic_order_whatever_order_they_came_in(blocks, order):
    design = Design(Parameters(11, 5, 2), blocks)
    assert design.blocks.tolist() == sorted(sorted(block) for block in blocks.tolist())
    assert Design(Parameters(11, 5, 2), np.fliplr(blocks[list(order)])) == design


@given(st.permutations(range(21)))
def test_rows_that_differ_only_at_the_end_are_ordered_too(order):
    """Twenty columns do not fit one key of 62 bits."""
    blocks = construct(21, 20, 19).blocks
    assert Design(Parameters(21, 20, 19), blocks[list(order)]).blocks.tolist() == sorted(blocks.tolist())


def test_incidence_lists_the_blocks_through_points_beyond_16_bits():
    v = (1 << 16) + 3
    design = Design(Parameters(v, v, 2), np.tile(np.arange(v), (2, 1)))
    assert design.incidence.tolist() == [[0, 1]] * v


@pytest.mark.parametrize(
    ("design", "numbers"),
    [
        (construct(7, 3), {1: 21}),
        (construct(9, 3), {0: 12, 1: 54}),
        (construct(6, 3, 4), None),
        (construct(7, 3, 2), None),
    ],
)
def test_block_intersections_count_every_pair_of_blocks(design, numbers):
    by_hand = Counter(len(set(a) & set(b)) for a, b in combinations(design.blocks.tolist(), 2))
    assert design.block_intersections == dict(sorted(by_hand.items()))
    assert numbers is None or design.block_intersections == numbers


def test_repeated_blocks_are_seen():
    fano = construct(7, 3)
    assert fano.is_simple
    assert not Design(Parameters(7, 3, 2), np.tile(fano.blocks, (2, 1))).is_simple


def test_efficiency_of_the_fano_plane():
    assert construct(7, 3).efficiency == Fraction(7, 9)
