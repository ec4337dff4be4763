"""How Sphinx builds these pages: `python -m sphinx -W --keep-going -b html docs docs/_build/html`.

Nothing is fetched: formulas are written as MathML, fonts and scripts are the theme's own, and other projects are linked
by plain addresses. The gallery is made from the figures of `paper_figs`, the reference from the docstrings, and the
tutorials run while they are built.
"""

import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]

import metagrad  # from this checkout, not from an installed package

project = "metagrad"
author = "the metagrad developers"
copyright = "the metagrad developers, MIT licence"
version = release = metagrad.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
    "command_help",
    "example_files",
    "mathml",
    "plain_docstrings",
    "figure_gallery",
]
exclude_patterns = ["_build", "_ext", "tutorials", "sg_execution_times.rst", "auto_tutorials/sg_execution_times.rst"]
nitpicky = False
smartquotes = False  # "reverse" in quotes is what one types

# Markdown
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # the sorting of tutorials is a function, which no cache keeps

# The reference
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
_SHORT = ("Array", "ArrayLike", "Bools", "Device", "Floats", "GradientKind", "MeasureName", "Method", "Objective")
_SHORT += ("OnNonfinite", "Rescue", "Scaling", "Tree")
autodoc_type_aliases = {name: name for name in _SHORT}  # what they stand for would fill the page
autodoc_default_options = {"members": True}
autosummary_generate = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# The tutorials: literate scripts that run while the pages are built, and again only where they changed
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "reset_modules": (),
    "show_signature": False,
}

# HTML
html_theme = "pydata_sphinx_theme"
html_title = "metagrad"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {"installation": [], "index": []}

warnings.filterwarnings("ignore", category=UserWarning, message="FigureCanvasAgg is non-interactive")
