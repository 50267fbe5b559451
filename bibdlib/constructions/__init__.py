"""Theorems that make designs; importing this package registers them, in the order of search."""

from bibdlib.constructions import (  # noqa: I001  (the order is the order of search)
    trivial,
    from_designs,
)
from bibdlib.constructions.registry import CONSTRUCTIONS, Construction, Match

__all__ = ["CONSTRUCTIONS", "Construction", "Match", "from_designs", "trivial"]
