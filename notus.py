"""The command line: which commands there are. What each does is in `commandline/`."""

import io
import os
import signal
import sys
from collections.abc import Callable

import typer

from commandline import data, evaluate, hub, look, release, stages
from recipe.errors import ending_signals, exit_on_mistake, signals_given

ENVIRONMENT = {
    # Threads that spin while they wait make torch slow on a busy machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    # Micro-batches differ in size; without it they leave holes in a GPU's memory.
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}

app = typer.Typer(
    help="One preference-tuning recipe in, one tagged and verified Hub release out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("fetch", stages.fetch),
    ("curate", stages.curate),
    ("train", stages.train),
    ("merge", stages.merge),
    ("card", stages.card),
    ("publish", stages.publish),
    ("release", release.release),
    ("verify", stages.verify),
    ("run", stages.run_all),
    ("report", data.report),
    ("compare", data.compare),
    ("tokens", look.tokens),
    ("schedule", look.schedule),
    ("doctor", look.doctor),
)
_GROUPS: tuple[tuple[str, str, tuple[tuple[str, Callable[..., None]], ...]], ...] = (
    (
        "recipe",
        "Show, compare, check and pin recipes.",
        (
            ("show", look.recipe_show),
            ("diff", look.recipe_diff),
            ("check", look.recipe_check),
            ("pin", look.recipe_pin),
        ),
    ),
    (
        "annotate",
        "Doubtful answers to Argilla, and people's answers back.",
        (("export", data.annotate_export), ("import", data.annotate_import)),
    ),
    ("hub", "The embedded Hub.", (("serve", hub.hub_serve),)),
)
for _name, _command in _COMMANDS:
    app.command(name=_name)(_command)
for _name, _does, _commands in _GROUPS:
    _group = typer.Typer(help=_does, no_args_is_help=True)
    for _called, _command in _commands:
        _group.command(name=_called)(_command)
    app.add_typer(_group, name=_name)
app.add_typer(evaluate.app, name="evaluate")


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal that lacks a character still gets a line
    signals_given.clear()
    for number in ending_signals():
        signal.signal(number, _end)
    try:
        exit_on_mistake(app)
    finally:  # what Python itself has still to do is nothing that a signal could interrupt in good order
        for number in ending_signals():
            signal.signal(number, _end_at_once)


def _end(number: int, _: object) -> None:
    """End by a signal as after a mistake: what is half-written goes, and ranks and containers end too.

    A container's first process would not even notice a signal that it has no handler for.
    """
    for each in ending_signals():
        signal.signal(each, _end_at_once)
    # Behind the terminal's `^C` and a question that was not answered; a bar has a stream of its own.
    behind = isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr.isatty() and number == signal.SIGINT
    sys.stderr.write("\n" if behind else "")
    sys.stderr.write(f"notus: ended by {signal.Signals(number).name}\n")
    signals_given.append(number)
    sys.exit(128 + number)


def _end_at_once(number: int, _: object) -> None:
    """End by a second signal, in the middle of what the first one has still to do, or when all is done."""
    os.write(2, f"notus: ended at once by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    main()
