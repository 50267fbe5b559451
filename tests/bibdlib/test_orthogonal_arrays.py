"""Orthogonal arrays, Hadamard and weighing matrices: what the recursions stand on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibdlib import InvalidParameters
from bibdlib.constructions.hadamard import hadamard_matrix, has_hadamard_matrix
from bibdlib.constructions.orthogonal_arrays import has_orthogonal_array, orthogonal_array
from bibdlib.constructions.weighing_matrices import balanced_weighing_matrix


@given(k=st.integers(1, 7), n=st.integers(1, 40))
def test_two_columns_show_each_pair_of_levels_once(k, n):
    if not has_orthogonal_array(k, n):
        return
    array = orthogonal_array(k, n)
    assert array.shape == (n * n, k)
    assert (array[0] == 0).all()
    for i in range(k):
        for j in range(i):
            assert len(np.unique(array[:, i] * n + array[:, j])) == n * n


def test_two_orthogonal_squares_are_known_of_every_order_but_two():
    """Euler thought of 2, 6, 10, 14, ...; but only 2 and 6 have none."""
    assert [n for n in range(1, 500) if not has_orthogonal_array(4, n)] == [2, 6]


@pytest.mark.parametrize(("k", "n"), [(4, 10), (4, 14), (4, 22), (4, 18), (6, 12), (5, 15), (5, 50), (6, 63)])
def test_recursions_of_orthogonal_arrays_are_used(k, n):
    array = orthogonal_array(k, n)
    for i in range(k):
        assert all(len(np.unique(array[:, i] * n + array[:, j])) == n * n for j in range(i))


def test_an_orthogonal_array_that_nobody_has_is_refused():
    with pytest.raises(InvalidParameters, match="known orthogonal array, not 4, 6"):
        orthogonal_array(4, 6)


@given(st.integers(1, 30).map(lambda n: 4 * n).filter(has_hadamard_matrix) | st.sampled_from([1, 2]))
def test_rows_of_a_hadamard_matrix_are_orthogonal(order):
    matrix = hadamard_matrix(order).astype(int)
    assert (matrix @ matrix.T == order * np.eye(order, dtype=int)).all()
    assert (matrix[0] == 1).all()
    assert (matrix[:, 0] == 1).all()


def test_hadamard_matrices_to_order_88_are_known():
    assert all(has_hadamard_matrix(order) for order in range(4, 89, 4))
    with pytest.raises(InvalidParameters, match="not 6"):
        hadamard_matrix(6)


@pytest.mark.parametrize(("r", "m"), [(3, 2), (3, 3), (4, 2), (5, 2), (8, 2), (4, 3)])
def test_quotients_of_rows_of_a_weighing_matrix_are_balanced(r, m):
    matrix = balanced_weighing_matrix(r, m)
    size = (r**m - 1) // (r - 1)
    assert matrix.shape == (size, size)
    assert ((matrix >= 0).sum(axis=1) == r ** (m - 1)).all()
    for i in range(size):
        for j in range(i):
            both = (matrix[i] >= 0) & (matrix[j] >= 0)
            quotients = (matrix[i] - matrix[j])[both] % (r - 1)
            assert (np.bincount(quotients, minlength=r - 1) == r ** (m - 2)).all()
