"""How Sphinx builds the guide: `make docs`. Nothing is fetched, while it is built or when it is read.

The pictures of `how_it_works.md` are drawn first, into `_generated`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from pictures import draw_all  # noqa: E402  (beside this file)

from speechbrain_dynsnet import __version__  # noqa: E402

project = "speechbrain_dynsnet"
author = "The speechbrain_dynsnet contributors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["attrs_block", "attrs_inline"]
myst_heading_anchors = 3

# Docstrings are plain text with names in single backticks.
default_role = "literal"
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings name the types
autodoc_inherit_docstrings = False

html_theme = "furo"
html_title = "speechbrain_dynsnet"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
suppress_warnings = ["ref.python"]  # two rooms have a Pair: where a type is named so, no link is made

draw_all(HERE / "_generated")


def setup(app: Sphinx) -> None:
    """Have docstrings read as they are meant."""
    app.connect("autodoc-process-docstring", escape_markup)


def escape_markup(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """In docstrings |x| is an amount, and no substitution; and a name in backticks ends with them, whatever follows."""
    parts = re.split(r"(`[^`]*`)", "\n".join(lines))
    parts[::2] = [re.sub(r"^(?=[\w^])", r"\\ ", part).replace("|", r"\|") for part in parts[::2]]
    lines[:] = "".join(parts).removeprefix("\\ ").split("\n")
