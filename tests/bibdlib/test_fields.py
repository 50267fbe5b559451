"""Finite fields, against their axioms and against galois."""

import galois
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibdlib import InvalidParameters
from bibdlib.fields import _CONWAY, finite_field
from bibdlib.numbers import factorization, hilbert_symbol, is_prime

ORDERS = [2, 3, 4, 5, 7, 8, 9, 16, 25, 27, 32, 49, 64, 81, 125, 128, 169, 243, 256, 1009]


@pytest.mark.parametrize("q", [4, 8, 9, 25, 27, 64, 81, 243])
def test_the_numbers_are_those_of_galois(q):
    field, theirs = finite_field(q), galois.GF(q)
    elements = theirs.elements
    some = theirs(np.arange(0, q, max(1, q // 16)))
    assert np.array_equal(field.add(elements[:, None], some), elements[:, None] + some)
    assert np.array_equal(field.multiply(elements[:, None], some), elements[:, None] * some)
    assert field.primitive == int(theirs.primitive_element)


def test_the_polynomials_are_those_of_galois():
    for q, polynomial in _CONWAY.items():
        if q <= 128:
            assert polynomial == int(galois.GF(q).irreducible_poly)


def test_fields_beyond_the_table():
    q = 5**6
    field = finite_field(q)
    assert sorted(field.powers.tolist()) == list(range(1, q))


@pytest.mark.parametrize("q", sorted({*ORDERS, *_CONWAY}))
def test_every_element_but_0_is_a_power(q):
    field = finite_field(q)
    assert sorted(field.powers.tolist()) == list(range(1, q))
    assert np.array_equal(field.powers[field.logarithms[1:]], np.arange(1, q))
    e = next((d for d in range(2, q) if (q - 1) % d == 0), 1)
    assert sorted(np.concatenate([field.coset(e, i) for i in range(e)]).tolist()) == list(range(1, q))


@given(st.sampled_from(ORDERS), st.data())
def test_axioms(q, data):
    field = finite_field(q)
    a, b, c = (data.draw(st.integers(0, q - 1)) for _ in range(3))
    assert field.multiply(a, field.add(b, c)) == field.add(field.multiply(a, b), field.multiply(a, c))
    assert field.multiply(a, field.multiply(b, c)) == field.multiply(field.multiply(a, b), c)
    assert field.subtract(field.add(a, b), b) == a
    n = data.draw(st.integers(0, 5))
    power = 1
    for _ in range(n):
        power = field.multiply(power, a)
    assert field.power(a, n) == power
    assert field.power(a, q) == a


@pytest.mark.parametrize(
    ("q", "message"), [(6, r"not 6 = 2 \* 3"), (1, "at least 2"), (4.0, "integer"), (True, "integer")]
)
def test_there_is_no_other_field(q, message):
    with pytest.raises(InvalidParameters, match=message):
        finite_field(q)


@given(st.integers(1, 10**15))
def test_factors_multiply_back(n):
    product = 1
    for p, e in factorization(n):
        assert is_prime(p)
        product *= p**e
    assert product == n


@given(*[st.integers(-200, 200).filter(bool)] * 2)
def test_hilbert_symbols_multiply_to_one(a, b):
    """Over all places, the real one included."""
    primes = {2, *(p for p, _ in factorization(abs(a))), *(p for p, _ in factorization(abs(b)))}
    product = -1 if a < 0 and b < 0 else 1
    for p in primes:
        product *= hilbert_symbol(a, b, p)
    assert product == 1
