"""Settings of the Sphinx site: `make docs` builds it, warnings being errors."""

import re
import sys
import warnings
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from measured import substitutions  # noqa: E402

from senn.machine import keep_compilations, use_threads  # noqa: E402

# The examples are executed in this process, with the settings that `senn train` makes.
use_threads(1)
keep_compilations(HERE.parent / "build" / "jax-cache")
warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")

project = "senn"
release = installed("senn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["snippets", "sg_execution_times.rst", "gallery/*.ipynb"]
html_theme = "furo"
html_title = "senn"
html_static_path = ["_static"]
html_show_copyright = False
html_css_files = ["senn.css"]

# A reference to one of our own names must lead somewhere; other libraries' names need not, for
# the site is built without the network that their inventories would need.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!senn\b).*"),
    ("py:class", r"senn\..*\.(Tree|Net|Layered)"),
    ("py:class", r"senn\.(learner|shrinking)\.Own"),
    ("py:class", r"senn\.(training\.state\.RunState|checkpoints\.Checkpoint)"),
    ("py:class", r"senn\.(prices\.Prices|pruning\.Going|nn\.wrapping\.network\.Plan)"),
    ("py:.*", r"senn\.(proposals\.spread\.|positions\.).*"),
]
default_role = "code"

myst_enable_extensions = ["substitution"]
myst_heading_anchors = 3
myst_substitutions = substitutions()

maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = True
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 3600,  # how long an example took here says little elsewhere
}


def shorten_types(app, what, name, obj, options, signature, returns):  # noqa: ARG001
    """Arrays by the name that everybody knows them by."""
    return tuple(
        text and text.replace("jaxlib._jax.Array", "Array") for text in (signature, returns)
    )


def skip_fields(app, what, name, obj, skip, options):  # noqa: ARG001
    """Fields of named tuples stand in the signature; "Alias for field number 0" says no more."""
    return True if "Alias for field" in (getattr(obj, "__doc__", None) or "") else None


def attributes_in_words(app, what, name, obj, options, lines):  # noqa: ARG001
    """What follows the name of an attribute is a description, not a type."""
    if "Attributes" in lines:
        start = lines.index("Attributes") + 2
        text = "\n".join(lines[start:])
        lines[start:] = re.sub(r"^([\w, ]+) : ", r"\1\n    ", text, flags=re.MULTILINE).splitlines()


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", attributes_in_words, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("autodoc-skip-member", skip_fields)
