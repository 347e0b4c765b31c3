"""What has to be said wherever a figure on TruthfulQA is: UltraFeedback holds its questions."""

import re

from modelcard.citations import is_ultrafeedback
from modelcard.facts.data import Data, Overlap
from modelcard.words import plural


def names_truthfulqa(name: str) -> bool:
    """Whether a task, a source or a file is called as the benchmark is."""
    return "truthfulqa" in re.sub(r"[^a-z]", "", name.lower())


def truthfulqa_note(data: Data) -> str:
    """Return what a run's data say of its figures on TruthfulQA, in sentences."""
    said = []
    found = {source: rows for source, rows in data.rows_by_source.items() if names_truthfulqa(source)}
    used = {source: rows for source, rows in found.items() if not _dropped(data, source)}
    named = " and ".join(f"`{source}`" for source in found)
    if used:
        said.append(
            f"The preference data hold prompts of TruthfulQA ({sum(used.values()):,} rows of the source {named}), so "
            "figures on it are contaminated and say little."
        )
    elif found:
        said.append(
            f"This run left out the {sum(found.values()):,} rows whose source is {named}, which hold prompts of "
            "TruthfulQA."
        )
    elif any(map(names_truthfulqa, data.drop_sources)):
        said.append("This run leaves out the rows that the data mark as TruthfulQA's; there were none.")
    elif is_ultrafeedback(data.name):
        said.append(
            "UltraFeedback, of which these data were made, holds prompts of TruthfulQA, so figures on it are "
            "contaminated and say little."
        )
    for file, overlap in data.overlaps.items():
        if names_truthfulqa(file):
            counts = overlap_counts(overlap)
            said.append(f"Compared with the {overlap.texts:,} texts of `{file}`, {counts}. {kept(data)}")
    if not said:
        said.append("Whether the preference data hold questions of TruthfulQA was not counted in this run.")
    return " ".join(said)


def overlap_counts(overlap: Overlap) -> str:
    """Return how many prompts a benchmark's file has, in a phrase."""
    equal = plural(overlap.exact, "prompt is", "prompts are")
    return (
        f"{equal} equal to one, {overlap.grams_13:,} more share 13 words in a row with one, "
        f"{overlap.grams_8:,} more 8"
    )


def kept(data: Data) -> str:
    """Return in a sentence which of the prompts that a benchmark has were left out."""
    reach = {"none": "They", "exact": "The equal ones", "13-gram": "Those of the first two kinds"}
    rest = "were left out" if data.drop_contaminated != "none" else "were kept"
    return f"{reach.get(data.drop_contaminated, 'All of them')} {rest}."


def _dropped(data: Data, source: str) -> bool:
    return source in data.drop_sources or (data.only_sources is not None and source not in data.only_sources)
