"""Execution: the token ids of a run's rows, kept in the run folder, where a run that died and all ranks find them.

They lie in `tokens/`, an Arrow file a set. A file says what it was made of and what is in it; one that is of something
else, or not whole, is made anew in its place. So there are never more than the run's own, and they go with its folder.
"""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset
from pyarrow import ipc

from recipe import prompt, tokenized, tokenizer
from recipe.disk import file_sha256
from recipe.fetch import tokenizer_files
from recipe.progress import Reporter
from recipe.prompt import PairTokenizer
from recipe.schema import Execution, Recipe, canonical_sha256
from recipe.sharing import join_ranks
from recipe.tokenized import TOKENIZED, as_dataset, sha256_of, tokenize

KEY, COUNTS, CONTENT = b"notus.key", b"notus.counts", b"notus.sha256"
SCIENCE = ("tokenization", "chat_template", "max_length", "max_prompt_length")
TOKENIZED_BY = ("tokenizers", "transformers", "jinja2")


class KeptTokens:
    """A folder of tokenized rows.

    Args:
        folder: Where they lie.
        tokenizer: The folder of the tokenizer that `rule` was made with.
        rule: From texts to token ids, as the recipe has it.
        recipe: The recipe.
        node: Which of several nodes this is, that may share the folder.
    """

    def __init__(
        self, folder: Path, tokenizer: Path, rule: PairTokenizer, recipe: Recipe, node: int = 0
    ) -> None:
        self.folder, self.rule, self.recipe, self.node = folder, rule, recipe, node
        self._made_of = {
            "tokenizer": {file.name: file_sha256(file) for file in tokenizer_files(tokenizer)},
            "science": {key: getattr(recipe.science, key) for key in SCIENCE},
            "versions": {name: version(name) for name in TOKENIZED_BY},
            "code": code_sha256(),
        }

    def tokenized(self, path: Path, reporter: Reporter) -> tuple[Dataset, dict[str, Any]]:
        """Return the rows of a curated file as `recipe.tokenized.tokenize` does, from here if they are; keep them.

        What can't be kept, on a disk that is full or may not be written, is returned all the same.

        Raises:
            UserError: The chat template refuses a conversation.
        """
        key = canonical_sha256({**self._made_of, "rows": file_sha256(path)})
        with first_on_this_node(self.recipe.execution) as writes:
            kept = self.folder / f"{path.stem}.arrow"
            found = read(kept, key)
            if found is None:
                found = tokenize(path, self.rule, self.recipe, reporter)
                if writes:
                    self._keep(kept, key, *found, reporter)
        return found

    def _keep(
        self, path: Path, key: str, rows: Dataset, counts: Mapping[str, Any], reporter: Reporter
    ) -> None:
        """Write rows aside and rename, or say why not."""
        aside = path.with_name(f".{path.name}.{self.node}.partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(aside, key, rows, counts)
            aside.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            reporter.warn(f"{path}: tokens can't be kept here ({error.strerror or error}); training goes on")


def write(path: Path, key: str, rows: Dataset, counts: Mapping[str, Any]) -> None:
    """Write rows and what is known of them.

    Raises:
        OSError: The disk is full, or can't be written.
    """
    table = rows.with_format("arrow")[:]
    known = json.dumps(counts, sort_keys=True)
    metadata = {KEY: key, COUNTS: known, CONTENT: _content(rows, known)}
    with path.open("wb") as file:
        with ipc.new_file(file, table.schema.with_metadata(metadata)) as writer:
            writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, key: str) -> tuple[Dataset, dict[str, Any]] | None:
    """Return the rows of a file and what is known of them; None if they are not there, not whole, or of another key."""
    try:
        # Into memory, not mapped: a file that is replaced or cut short meanwhile, by a node that shares it, would end
        # the process with SIGBUS.
        with pa.OSFile(str(path)) as file:
            table = ipc.open_file(file).read_all()
        found = table.schema.metadata or {}
        if found.get(KEY) != key.encode() or table.schema.names != list(TOKENIZED):
            return None
        table.validate(full=True)  # before its offsets are followed
        rows, known = as_dataset(table), found[COUNTS].decode()
        return (rows, json.loads(known)) if found[CONTENT] == _content(rows, known).encode() else None
    except (OSError, ValueError, KeyError):  # Arrow's own are of these
        return None


@functools.cache
def code_sha256() -> str:
    """Return the sha256 (hex) of the code that makes token ids of texts."""
    places = [Path(str(module.__file__)) for module in (tokenized, tokenizer, prompt)]
    files = [*places, *sorted(places[-1].parent.glob("*.py"))]
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


@contextlib.contextmanager
def first_on_this_node(execution: Execution) -> Iterator[bool]:
    """Let the first rank of each node through, then the others; yield whether this is it, to do the work for all."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    # The group that the trainer goes on with; `recipe.agreement` may have made it.
    ranks = join_ranks(execution)
    if not ranks.is_local_main_process:
        ranks.wait_for_everyone()
    try:
        yield ranks.is_local_main_process
    finally:  # after a mistake too: the others find the same one
        if ranks.is_local_main_process:
            ranks.wait_for_everyone()


def _content(rows: Dataset, known: str) -> str:
    return hashlib.sha256(f"{sha256_of(rows)} {known}".encode()).hexdigest()
