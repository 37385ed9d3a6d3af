"""The reference pages of the documentation site, generated from the code.

`docs/mkdocs_hook.py` adds the pages to the site while mkdocs builds it.
"""
