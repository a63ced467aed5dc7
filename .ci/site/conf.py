"""Sphinx settings of the site; `build.py` beside this file lays out its pages."""

import re
from typing import Any

from asrkit import __version__

project = "asrkit"
author = "The asrkit developers"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]  # a shell command of several lines

napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has them
default_role = "py:obj"  # a link where it names something of the page's module
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"asrkit {version}"
html_show_copyright = html_show_sphinx = html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Any) -> None:
    """Signatures as the source has them, where Python has made something else of them."""

    def tidy(app: Any, what: str, name: str, it: Any, options: Any, text: str, result: str) -> Any:
        return _tidied(text), _tidied(result)

    app.connect("autodoc-process-signature", tidy)


def _tidied(signature: str | None) -> str | None:
    if signature is None:
        return None
    text = signature.replace("<factory>", "...")  # no text that could be parsed
    return re.sub(
        r"~numpy\.ndarray\[.*?~numpy\.dtype\[(.*?)\]\]", r"~numpy.typing.NDArray[\1]", text
    )
