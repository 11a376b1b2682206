"""How Sphinx builds these pages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import batchup

project = "batchup"
author = "The batchup maintainers"
project_copyright = f"2026, {author}"
version = release = batchup.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build", "benchmarks/*"]  # the tables are included in benchmarks.md
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # a name in single backticks is a link, where there is something to link to
autodoc_member_order = "bysource"
autodoc_mock_imports = ["keras"]
autodoc_typehints = "none"  # the docstrings say it in words
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"batchup {version}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sphinx = False
