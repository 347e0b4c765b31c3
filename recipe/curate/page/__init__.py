"""The audit as one page: an HTML file that needs no network, with every row behind its figures."""

from recipe.curate.page.write import write_page

__all__ = ["write_page"]
