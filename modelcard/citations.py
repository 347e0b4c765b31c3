"""What a card cites: the work that this run used, and no other."""

import re
from pathlib import Path

from modelcard.facts import Facts

FILE = Path(__file__).parent / "citations.bib"


def citations(facts: Facts) -> list[str]:
    """Return the BibTeX entries of what a run used, in a fixed order."""
    science, data = facts.recipe.science, facts.data
    zephyr = science.tokenization == "zephyr-2023" or "zephyr" in facts.base.name.lower()
    used = {
        "rafailov2023dpo": True,
        "hu2022lora": True,
        "tunstall2023zephyr": zephyr,
        "tunstall2023handbook": zephyr,
        "cui2023ultrafeedback": is_ultrafeedback(data.name),
        "vonwerra2020trl": True,
        "mangrulkar2022peft": True,
    }
    known = entries()
    return [known[key] for key, is_used in used.items() if is_used]


def is_ultrafeedback(name: str) -> bool:
    """Whether a data set says by its name that it was made of UltraFeedback."""
    return "ultrafeedback" in re.sub(r"[^a-z]", "", name.lower())


def entries() -> dict[str, str]:
    """Return every known BibTeX entry by its key."""
    found = re.split(r"\n\n+", FILE.read_text(encoding="utf-8").strip())
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in found}
