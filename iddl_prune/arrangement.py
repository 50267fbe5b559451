"""The order of a row of things that may be alike, as the one number that tells it from all other orders of the same.

So many different orders, so many numbers, and no bit more: enumerative coding (T. M. Cover, IEEE Trans. Inf. Theory
19 (1973) 73). An order of n different things takes log2(n!) bits; things that are alike take fewer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from math import factorial, prod

__all__ = ["arranged", "from_bytes", "rank", "to_bytes", "width"]


def rank(row: Sequence[int]) -> int:
    """Place of a row among all orders of its numbers, in alphabetical order: 0 if it ascends."""
    rest, orders, place = sorted(row), _orders(row), 0
    for number in row:
        smaller = bisect_left(rest, number)
        alike = bisect_right(rest, number) - smaller
        place += orders * smaller // len(rest)
        orders = orders * alike // len(rest)
        del rest[smaller]
    return place


def arranged(numbers: Sequence[int], place: int) -> list[int]:
    """The inverse of `rank`: numbers, given in any order, in the order of that place, 0 <= place < all orders."""
    rest, orders, row = sorted(numbers), _orders(numbers), []
    for left in range(len(rest), 0, -1):
        number = rest[place * left // orders]
        smaller = bisect_left(rest, number)
        alike = bisect_right(rest, number) - smaller
        place -= orders * smaller // left
        orders = orders * alike // left
        row.append(rest.pop(smaller))
    return row


def to_bytes(row: Sequence[int]) -> bytes:
    """The rank in as many bytes as the largest needs."""
    return rank(row).to_bytes(width(row), "little")


def from_bytes(numbers: Sequence[int], content: bytes) -> list[int]:
    """The inverse of `to_bytes`, given the numbers in any order.

    Raises
    ------
    ValueError
        If there are more or fewer bytes than these numbers take, or no order has that rank.
    """
    place = int.from_bytes(content, "little")
    if len(content) != width(numbers) or place >= _orders(numbers):
        raise ValueError(f"{len(content)} bytes tell no order of {len(numbers)} numbers.")
    return arranged(numbers, place)


def width(numbers: Sequence[int]) -> int:
    """Bytes that tell every order of these numbers."""
    return ((_orders(numbers) - 1).bit_length() + 7) // 8


def _orders(numbers: Sequence[int]) -> int:
    return factorial(len(numbers)) // prod(map(factorial, Counter(numbers).values()))
