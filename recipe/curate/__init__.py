"""Feedback in, preference pairs out: reading, binarization, split and a full account of every row."""

from recipe.curate.files import data_files
from recipe.curate.report import CurateSummary
from recipe.curate.stage import curate

__all__ = ["CurateSummary", "curate", "data_files"]
