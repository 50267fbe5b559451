"""Theorems that make designs; importing this package registers them, in the order of search."""

from bibdlib.constructions import (  # noqa: I001  (the order is the order of search)
    trivial,
    finite_geometry,
    triple_systems,
    difference_sets,
    difference_families,
    from_designs,
)
from bibdlib.constructions.registry import CONSTRUCTIONS, Construction, Match

__all__ = [
    "CONSTRUCTIONS",
    "Construction",
    "Match",
    "difference_families",
    "difference_sets",
    "finite_geometry",
    "from_designs",
    "triple_systems",
    "trivial",
]
