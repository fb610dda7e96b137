"""The documentation as a site: `make docs`. Warnings, such as links that lead nowhere, are errors."""

from __future__ import annotations

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from flowtime.version import __version__

project = "flowtime"
author = "The flowtime maintainers"
copyright = "The flowtime maintainers, Apache License 2.0"
version = release = __version__

extensions = ["myst_parser"]
nitpicky = True
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"flowtime {__version__}"
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # it would be fetched from the pages, which browsers refuse for files


def setup(app: Sphinx) -> None:
    """CSV is shown as it is."""
    app.add_lexer("csv", TextLexer)
