"""Paths of somebody's machine in what is published: they tell of people and mean nothing to anybody else."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from publish.checks.folder import BadFileError, Fault, Folder

TEXTS = frozenset((".cfg", ".jinja", ".json", ".md", ".sig", ".toml", ".txt", ".yaml", ".yml"))
# Their texts are data: words of a vocabulary, answers of people and models.
DATA = frozenset(
    ("added_tokens.json", "audit.json", "merges.txt", "tokenizer.json", "vocab.json", "vocab.txt")
)
# Homes, what is temporary, and where disks and networks are mounted; not /usr or /etc, which all machines have.
# Behind a letter, digit, dot or slash it is part of an address or of a longer path.
_PLACE = re.compile(
    r"""(?<![\w./~-])(?:
        /(?:home|Users|root|mnt|media|scratch|workspace)/[\w.~-]+
      | /(?:private/)?(?:var/)?tmp/[\w.~-]+
      | /(?:private/)?var/folders/[\w.~-]+
      | [A-Za-z]:\\{1,2}[\w.~-]+
    )|file:///?[\w.~/-]+""",
    re.VERBOSE,
)


def place_faults(folder: Folder) -> Iterator[Fault]:
    """Give the texts, data aside, that name a path of a machine, with the first one."""
    for name in folder.files:
        path = PurePosixPath(name)
        if path.suffix.casefold() not in TEXTS or path.name in DATA:
            continue
        try:
            text = folder.text(name)
        except BadFileError as error:
            yield Fault(error.said, name)
            continue
        if found := _PLACE.search(text.replace("\\/", "/")):
            yield Fault(f"names a path of a machine, {found[0]}", name)
