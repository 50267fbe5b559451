"""Balanced incomplete block designs: constructed, verified, or proved impossible.

>>> import bibdlib
>>> bibdlib.construct(7, 3, 1)
Design(v=7, b=7, r=3, k=3, lam=1)

Constructions can be called by name, as in

>>> bibdlib.finite_geometry.projective_plane(8)
Design(v=73, b=73, r=9, k=9, lam=1)
"""

from bibdlib.catalogue import Recipe, construct, construct_implicit, existence, explain, find
from bibdlib.constructions import (
    CONSTRUCTIONS,
    Construction,
    difference_families,
    difference_sets,
    finite_geometry,
    triple_systems,
)
from bibdlib.design import BlockDesign, Design
from bibdlib.errors import (
    BibdError,
    DesignTooLarge,
    InvalidParameters,
    NoKnownConstruction,
    NonexistentDesign,
    NotADesign,
)
from bibdlib.implicit import ImplicitDesign
from bibdlib.nonexistence import Existence, Status
from bibdlib.parameters import Parameters
from bibdlib.verify import Certificate, verify, verify_sample

__version__ = "0.1.0"

__all__ = [
    "CONSTRUCTIONS",
    "BibdError",
    "BlockDesign",
    "Certificate",
    "Construction",
    "Design",
    "DesignTooLarge",
    "Existence",
    "ImplicitDesign",
    "InvalidParameters",
    "NoKnownConstruction",
    "NonexistentDesign",
    "NotADesign",
    "Parameters",
    "Recipe",
    "Status",
    "construct",
    "construct_implicit",
    "difference_families",
    "difference_sets",
    "existence",
    "explain",
    "find",
    "finite_geometry",
    "triple_systems",
    "verify",
    "verify_sample",
]
