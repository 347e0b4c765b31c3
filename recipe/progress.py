"""What a person sees while a stage works: lines, tables and progress bars, or plain lines in a log."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

T = TypeVar("T")
SECONDS_A_LINE = 5.0
WIDTH = 100  # of tables where there is no terminal
ROOM = 5  # beside a bar, for `^C` twice and the cursor


class Bar(Protocol):
    """A running progress bar."""

    def advance(self, steps: int = 1) -> None:
        """Move on by `steps`."""

    def note(self, text: str) -> None:
        """Show `text` (the current loss, say) beside the bar."""


class Reporter:
    """Writes for people, to the standard output or, when that carries JSON, to the standard error.

    Args:
        quiet: Say nothing but warnings.
        stderr: Write to the standard error.
    """

    def __init__(self, *, quiet: bool = False, stderr: bool = False) -> None:
        self.console = Console(stderr=stderr, highlight=False, soft_wrap=True)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = WIDTH  # Rich's 80 would fold the cells of wide tables
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet

    def say(self, text: str = "") -> None:
        """Print a line."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def print(self, text: Text) -> None:
        """Print styled text."""
        if not self.quiet:
            self.console.print(text)

    def head(self, text: str) -> None:
        """Print the heading of a stage."""
        if not self.quiet:
            self.console.print(f"\n{text}", style="bold", markup=False)

    def warn(self, text: str) -> None:
        """Print a warning to the standard error; `quiet` does not silence it."""
        self.errors.print(f"warning: {text}", style="yellow", markup=False)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: bool = True) -> None:
        """Print a table: the first column left-aligned, the others right-aligned, or left unless `right`."""
        if self.quiet:
            return
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
        for place, column in enumerate(columns):
            table.add_column(column, justify="right" if place and right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))  # as it is: [brackets] are no markup
        self.console.print(table)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        """Show a progress bar of `total` steps; where there is no terminal, a line every few seconds."""
        if self.quiet:
            yield _Silent()
        elif not self.console.is_terminal:
            yield _Lines(self.console, title, total)
        else:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(table_column=Column(no_wrap=True)),  # the bar is what gets shorter
                TimeElapsedColumn(table_column=Column(no_wrap=True)),
                TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[note]}", markup=False),
            )
            with _Narrower(*columns, console=self.console) as progress:
                yield _Rich(progress, title, total)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something of unknown length is done; where there is no terminal, a line."""
        if self.quiet or not self.console.is_terminal:
            self.say(f"  {text}")
            yield
        else:
            with self.console.status(text):
                yield

    def track(self, items: Iterable[T], title: str, total: int) -> Iterator[T]:
        """Yield `items` under a progress bar."""
        with self.bar(title, total) as bar:
            for item in items:
                yield item
                bar.advance()


class _Silent:
    def advance(self, steps: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Lines:
    """A line at most every few seconds, and one at the end: what a log file can show of a bar."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self.console, self.title, self.total = console, title, total
        self.done = 0
        self.text = ""
        self.last = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.last >= SECONDS_A_LINE or self.done >= self.total:
            self.last = now
            self.console.print(f"  {self.title} {self.done}/{self.total} {self.text}".rstrip(), markup=False)

    def note(self, text: str) -> None:
        self.text = text


class _Narrower(Progress):
    """A bar that leaves room for the `^C` that a terminal puts behind it, which would go on to a line of its own."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield what is shown."""
        for whole in super().get_renderables():
            yield _Narrow(whole)


class _Narrow:
    def __init__(self, whole: RenderableType) -> None:
        self.whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return console.render(self.whole, options.update_width(max(1, options.max_width - ROOM)))


class _Rich:
    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self.progress = progress
        self.task = progress.add_task(f"  {title}", total=total, note="")

    def advance(self, steps: int = 1) -> None:
        self.progress.advance(self.task, steps)

    def note(self, text: str) -> None:
        self.progress.update(self.task, note=text)
