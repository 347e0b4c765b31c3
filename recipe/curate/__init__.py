"""Feedback in, preference pairs out: reading, binarization, split and a full account of every row."""

from recipe.curate.files import data_files
from recipe.curate.rules import Rules
from recipe.curate.stage import count_rows, curate, pairs_in_order
from recipe.curate.summary import CurateSummary

__all__ = ["CurateSummary", "Rules", "count_rows", "curate", "data_files", "pairs_in_order"]
