"""The site: ``python docs/build.py``.

The source is the repository, so that links between pages are the same here, in a checkout and on the site.
"""

from __future__ import annotations

from sphinx.application import Sphinx

project = "onnxplain"
author = "The onnxplain authors"
project_copyright = author

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/**/*.md",
    "benchmarks/*.md",
    "models/*/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = [".*", "build", "dist", "cpp", "src", "tests", "deploy"]

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3
#: Changelogs and lists of operators skip levels of headings on purpose.
suppress_warnings = ["myst.header"]

html_theme = "furo"
html_title = "onnxplain"
html_extra_path = ["site"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

#: Pages that list others as a table in a checkout, and as branches of the tree on the site.
_BRANCHES = {"docs/decisions/README": "0*", "docs/engines/README": "o*"}


def setup(app: Sphinx) -> None:
    app.connect("source-read", _add_branches)


def _add_branches(_app: Sphinx, name: str, source: list[str]) -> None:
    if name in _BRANCHES:
        source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{_BRANCHES[name]}\n```\n"
