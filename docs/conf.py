"""How the documentation is built: `make docs`. It needs no network."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
# The gallery's matrices are small: threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(HERE))

from generate import generate  # noqa: E402

import bibdlib  # noqa: E402

generate(HERE / "generated")

project = "iddl"
author = "The iddl developers"
copyright = "2026, The iddl developers"
release = version = bibdlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "auto_examples/*.py"]
default_role = "literal"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
# The attributes of a dataclass are its parameters; as such several of them can share a line.
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_attr_annotations = False
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),
    "remove_config_comments": True,
    "show_signature": False,
}

html_theme = "furo"
html_title = "iddl"
html_show_sphinx = False


def _keep_bars(app, what, name, obj, options, lines):
    """Let |x| in a docstring be a size, not the name of a reST substitution."""
    lines[:] = [re.sub(r"\|(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\|", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", _keep_bars)
