"""Settings of the documentation site; `make docs` builds it.

The source folder is the repository's root: pages, their links to each other and to results and code are the same on
the site as in the repository.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import repository  # noqa: E402

project = "Loss landscapes of anomaly detectors"
author = "The lamp-landscape developers"
version = release = repository.version()

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "repository",
]
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**.md",
    "docs/gallery/**.rst",
    "results/*.md",
    "benchmarks/*.md",
    "training/assets/*.md",
]
exclude_patterns = ["docs/site", "docs/examples", ".*", "out", "build", "dist", "**/__pycache__"]
keep_warnings = True

# Pages: links to headings work as on code hosts, files that are no pages are offered as they are.
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
suppress_warnings = [
    "myst.header",  # tables in results/ begin with no heading of the first level
    "ref.python",  # one name in two modules, in annotations that say it without its module
]

# Docstrings: single backticks are code, types are short. Classes of other packages have no pages to link to here.
default_role = "code"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
nitpick_ignore_regex = [("py:.*", name) for name in repository.FOREIGN]

sphinx_gallery_conf = {
    "examples_dirs": "docs/examples",
    "gallery_dirs": "docs/gallery",
    "filename_pattern": r"/\d_",
    "image_scrapers": ("repository.scrape_figures",),
    "reset_modules": ("repository.start_example",),
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("landscape", "training", "analysis", "figures"),
    "reference_url": {"landscape": None, "training": None, "analysis": None, "figures": None},
    "prefer_full_module": {r"landscape\.\w+"},
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 10**6,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
    "thumbnail_size": (400, 280),
}

html_theme = "furo"
html_title = project
html_additional_pages = {"index": "to-the-first-page.html"}
html_extra_path = [str(repository.PAGES)]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
templates_path = ["templates"]
copybutton_prompt_text = ">>> |\\.\\.\\. |\\$ "
copybutton_prompt_is_regexp = True
