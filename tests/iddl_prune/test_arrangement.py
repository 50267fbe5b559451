"""Every order of some numbers has one number, and every number one order."""

from itertools import permutations
from math import ceil, lgamma, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iddl_prune.arrangement import arranged, from_bytes, rank, to_bytes, width


@given(st.lists(st.integers(0, 4), max_size=6))
def test_the_rank_is_the_place_among_all_orders(row):
    alphabetical = sorted(set(permutations(row)))
    assert rank(row) == alphabetical.index(tuple(row))
    assert [tuple(arranged(row, place)) for place in range(len(alphabetical))] == alphabetical


@given(st.integers(1, 300).flatmap(lambda n: st.permutations(range(n))), st.integers(1, 20))
def test_long_orders_come_back(row, alike):
    row = [number // alike for number in row]
    content = to_bytes(row)
    assert from_bytes(sorted(row), content) == row
    assert len(content) == width(row)


def test_no_byte_too_many():
    assert width(range(120)) == ceil(lgamma(121) / log(2) / 8) == 83
    assert width([7] * 1000) == 0
    assert to_bytes([3, 3]) == b""


@pytest.mark.parametrize("content", [b"", b"\x06", b"\x00\x00"])
def test_bytes_that_tell_no_order_are_refused(content):
    with pytest.raises(ValueError, match="tell no order of 3 numbers"):
        from_bytes([1, 2, 3], content)
