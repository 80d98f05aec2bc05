# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Configuration of Sphinx. The documentation builds without a network."""

import ata_mm

project = 'ata_mm'
author = 'ata_mm contributors'
copyright = author
release = ata_mm.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
exclude_patterns = ['_build']

# A page of docs/api lists what __all__ of its package names.
autodoc_default_options = {
    'members': True,
    'imported-members': True,
    'show-inheritance': True,
    'special-members': '__call__',
}
# Docstrings of base classes in other packages are not always valid reST.
autodoc_inherit_docstrings = False
autodoc_member_order = 'bysource'

napoleon_numpy_docstring = False

myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3

html_theme = 'furo'
