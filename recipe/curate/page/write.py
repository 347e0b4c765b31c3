"""Writes the page: the texts as they are read, and before them, once all were seen, all the rest."""

import hashlib
import html
import os
import re
import shutil
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.compute as pc

from recipe.curate.page.columns import Columns
from recipe.curate.page.figures import read_figures, script_safe
from recipe.curate.page.pack import deflated, pack_texts
from recipe.curate.page.rows import Rows
from recipe.errors import UserError
from recipe.progress import Reporter

_BLOCK = 128  # rows whose texts are deflated together: a click inflates some 1 MB
_CORES = os.cpu_count() or 1
_SCRIPTS = ("data.js", "draw.js", "figures.js", "table.js", "panel.js", "main.js")  # in this order


def write_page(folder: Path, out: Path, *, title: str, reporter: Reporter) -> None:
    """Write the audit of a run's data folder as one HTML file that needs nothing else.

    The same data give the same bytes. Of the texts some 50 MB are in memory at a time. `out` is whole or as
    it was before.

    Args:
        folder: Holds `audit.json` and `feedback.parquet`, or, for feedback that came as pairs,
            `train.parquet` and `heldout.parquet`.
        out: The file to write.
        title: What the page is called.
        reporter: Where progress goes.

    Raises:
        UserError: Something is missing or broken in `folder`, or `out` cannot be written.
    """
    audit, rows = read_figures(folder / "audit.json"), Rows(folder)
    texts, whole = out.with_name(out.name + ".texts"), out.with_name(out.name + ".part")
    with _cleared(out, texts, whole):
        with (
            texts.open("wb") as file,
            ThreadPoolExecutor(_CORES) as pool,
            reporter.bar("writing the rows", rows.count) as bar,
        ):
            body = _Body(file, pool)
            for batch in rows.batches():
                body.add(batch)
                bar.advance(batch.num_rows)
            body.finish()
        with whole.open("wb") as file:
            head, tail = _page(title, audit, body, raw=rows.raw)
            file.write(head)
            with texts.open("rb") as blocks:
                shutil.copyfileobj(blocks, file, 1 << 20)
            file.write(tail)
        whole.replace(out)


@contextmanager
def _cleared(out: Path, *aside: Path) -> Iterator[None]:
    """Leave none of the files `aside`; a system's refusal becomes a UserError about `out`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); give another file") from error
    finally:
        for path in aside:
            with suppress(OSError):
                path.unlink()


class _Body:
    """Writes the blocks of texts to `file` while it gathers the columns and the prompts."""

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor) -> None:
        self.file, self.pool = file, pool
        self.columns = Columns()
        self.rows = 0
        self.block_starts: list[int] = []
        self.prompt_starts: list[int] = []
        self.prompts: list[Future[bytes]] = []
        self.waiting: deque[Future[bytes]] = deque()
        self.written = 0

    def add(self, batch: Any) -> None:
        """Add a batch of feedback."""
        completions = batch.column("completions").flatten()
        first = self.columns.add(batch, completions)
        self.prompt_starts.append(self.rows)
        self.prompts.append(self.pool.submit(_deflated, batch.column("instruction")))
        responses, critiques = (pc.struct_field(completions, name) for name in ("response", "critique"))
        for start in range(0, batch.num_rows, _BLOCK):
            begin, end = first[start], first[min(start + _BLOCK, batch.num_rows)]
            self.block_starts.append(self.rows + start)
            size = end - begin
            self._submit(responses.slice(begin, size), critiques.slice(begin, size))
        self.rows += batch.num_rows

    def _submit(self, *texts: Any) -> None:
        self.waiting.append(self.pool.submit(_deflated, *texts))
        while len(self.waiting) > 4 * _CORES:
            self._write()

    def _write(self) -> None:
        content = self.waiting.popleft().result()
        self.file.write(_data(f"block-{self.written}", content))
        self.written += 1

    def finish(self) -> None:
        """Write what is not written yet."""
        while self.waiting:
            self._write()


def _deflated(*texts: Any) -> bytes:
    return deflated(pack_texts(*texts))


def _data(name: str, content: bytes) -> bytes:
    return b'<script type="text/plain" id="%s">%s</script>\n' % (name.encode(), content)


def _page(title: str, audit: dict[str, Any], body: _Body, *, raw: bool) -> tuple[bytes, bytes]:
    """Return what comes before the blocks of texts, and what comes after them."""
    script = "".join(_asset(name) for name in _SCRIPTS)
    style = _asset("page.css")
    columns = body.columns.packed(raw=raw, blocks=body.block_starts, prompts=body.prompt_starts)
    prompts = [_data(f"prompts-{place}", part.result()) for place, part in enumerate(body.prompts)]
    parts = {
        "title": html.escape(title),
        "policy": _policy(script, style),
        "style": style,
        "audit": script_safe(audit),
        "columns": deflated(columns).decode(),
        "prompts": b"".join(prompts).decode(),
        "script": script,
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))
    head, tail = page.split("<!-- blocks -->\n")
    return head.encode(), tail.encode()


def _policy(script: str, style: str) -> str:
    """Return a Content-Security-Policy: nothing is fetched, and no script but the page's own runs."""
    allowed = [
        f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (script, style)
    ]
    return (
        f"default-src 'none'; script-src {allowed[0]}; style-src {allowed[1]}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
