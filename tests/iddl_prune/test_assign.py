"""The fit: never worse than the pattern as it falls, exact where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibdlib
from iddl_prune import InvalidArgument, SparsePattern
from iddl_prune.assign import fit
from tests.iddl_prune.strategies import patterns


@given(patterns(), st.integers(0, 999))
def test_fit_keeps_what_it_says_and_no_less_than_unfitted(pattern: SparsePattern, seed: int) -> None:
    worth = np.random.default_rng(seed).random((pattern.out_features, pattern.in_features)) ** 4
    found = fit(worth, pattern, starts=2, seed=seed)
    assert found.unfitted - 1e-9 <= found.kept <= found.ceiling + 1e-9
    assert worth[found.pattern.mask()].sum() / worth.sum() == pytest.approx(found.kept)
    assert sorted(found.in_order) == list(range(pattern.in_features))
    assert sorted(found.out_order) == list(range(pattern.out_features))
    assert found.pattern.verify()


def test_a_planted_design_is_found_again() -> None:
    generator = np.random.default_rng(1)
    pattern = SparsePattern.from_design(21, 21, bibdlib.construct(7, 3, 1))
    hidden = pattern.permuted(generator.permutation(21), generator.permutation(21))
    worth = hidden.mask() + 0.01 * generator.random((21, 21))
    found = fit(worth, pattern, starts=20)
    assert np.array_equal(found.pattern.mask(), hidden.mask())
    assert found.kept == pytest.approx(found.ceiling)


def test_exchanges_keep_more_than_starts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = SparsePattern.from_design(40, 40, bibdlib.construct(13, 4, 1))
    kept = {}
    for exchanges in (0, 8):
        monkeypatch.setattr("iddl_prune.assign._EXCHANGES", exchanges)
        worths = (np.random.default_rng(seed).random((40, 40)) ** 4 for seed in range(5))
        kept[exchanges] = [fit(worth, pattern, starts=2).kept for worth in worths]
    assert all(more >= less for more, less in zip(kept[8], kept[0], strict=True))
    assert sum(kept[8]) > 1.01 * sum(kept[0])


@pytest.mark.parametrize(
    ("worth", "starts", "message"),
    [
        (np.ones((7, 8)), 1, "shape"),
        (-np.ones((7, 7)), 1, "negative"),
        (np.full((7, 7), np.nan), 1, "finite"),
        (np.ones((7, 7)), 0, "starts"),
    ],
)
def test_bad_arguments_are_named(worth, starts: int, message: str) -> None:
    pattern = SparsePattern.from_design(7, 7, bibdlib.construct(7, 3, 1))
    with pytest.raises(InvalidArgument, match=message):
        fit(worth, pattern, starts=starts)
