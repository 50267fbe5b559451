"""Theorems that make designs; importing this package registers them, in the order of search."""

from bibdlib.constructions import (  # noqa: I001  (the order is the order of search)
    trivial,
    finite_geometry,
    triple_systems,
    difference_sets,
    difference_families,
    hadamard,
    hyperplane_difference_sets,
    weighing_matrices,
    arcs_and_unitals,
    witt_designs,
    projective_line,
    from_designs,
    parallel_classes,
    designs_on_blocks,
    group_divisible,
)
from bibdlib.constructions.registry import CONSTRUCTIONS, Construction, Match

__all__ = [
    "CONSTRUCTIONS",
    "Construction",
    "Match",
    "arcs_and_unitals",
    "designs_on_blocks",
    "difference_families",
    "difference_sets",
    "finite_geometry",
    "from_designs",
    "group_divisible",
    "hadamard",
    "hyperplane_difference_sets",
    "orthogonal_arrays",
    "parallel_classes",
    "projective_line",
    "triple_systems",
    "trivial",
    "weighing_matrices",
    "witt_designs",
]
