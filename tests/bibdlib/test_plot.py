"""Pictures: what is drawn, not how it looks."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from bibdlib import Design, InvalidParameters, Parameters, construct
from bibdlib.plot import draw_bipartite, draw_incidence, draw_plane, draw_spectrum, to_networkx

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.patches import Circle, Polygon

FANO = Design(Parameters(7, 3, 1), [[i, (i + 1) % 7, (i + 3) % 7] for i in range(7)])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


@pytest.mark.parametrize("relabel", range(20))
def test_fano_is_drawn_as_six_straight_lines_and_a_circle(relabel):
    permutation = np.random.default_rng(relabel).permutation(7)
    ax = draw_plane(Design(FANO.parameters, permutation[FANO.blocks]))
    assert sum(isinstance(patch, Circle) for patch in ax.patches) == 1
    assert len(ax.lines) == 6
    for line in ax.lines:
        (a, b, c) = line.get_xydata()
        assert abs(np.linalg.det([b - a, c - a])) < 1e-12
        assert np.dot(a - b, c - b) < 0  # the middle one lies between


def test_other_designs_are_drawn_as_polygons():
    design = construct(6, 3, 4)
    ax = draw_plane(design)
    assert sum(isinstance(patch, Polygon) for patch in ax.patches) == design.b
    assert [text.get_text() for text in ax.texts] == [str(x) for x in range(design.v)]


def test_incidence_graph_has_an_edge_for_each_incidence():
    graph = to_networkx(FANO)
    assert graph.number_of_edges() == 21
    assert all(graph.has_edge(("point", x), ("block", i)) for i, block in enumerate(FANO.blocks) for x in block)
    assert len(draw_bipartite(FANO).texts) == 14


def test_incidence_picture_is_the_incidence_matrix():
    (image,) = draw_incidence(FANO).images
    assert np.array_equal(image.get_array(), FANO.incidence_matrix())


def test_spectrum_of_a_design_has_two_values_and_axes_are_reused():
    ax = draw_spectrum(FANO, label="design")
    values = ax.lines[0].get_ydata()
    assert np.allclose(values, [3] + 6 * [np.sqrt(2)])
    assert draw_spectrum(np.eye(7), ax=ax, label="identity") is ax
    assert len(ax.lines) == 2


def test_what_is_no_matrix_is_refused():
    with pytest.raises(InvalidParameters, match="incidence"):
        draw_incidence([1, 0, 1])


def test_pictures_are_imported_without_matplotlib():
    code = "import sys, bibdlib.plot; sys.exit('matplotlib' in sys.modules or 'networkx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
