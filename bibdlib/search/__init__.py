"""Search for designs under a prescribed group.

>>> from bibdlib import Parameters
>>> from bibdlib.search import search
>>> search(Parameters(41, 5, 1), "Z41").design()
Design(v=41, b=82, r=10, k=5, lam=1)

Every method but "annealing" needs OR-tools: ``pip install "iddl[search]"``.
"""

from bibdlib.search.ladder import ladder
from bibdlib.search.layouts import Layout, layouts
from bibdlib.search.orbit_matrix import orbit_matrix, subset_orbits
from bibdlib.search.run import METHODS, SearchResult, search

__all__ = ["METHODS", "Layout", "SearchResult", "ladder", "layouts", "orbit_matrix", "search", "subset_orbits"]
