"""The command that serves the embedded Hub."""

from pathlib import Path
from typing import Annotated

import typer

from commandline import work
from commandline.options import HUB_ROOT


def hub_serve(
    root: Annotated[Path, typer.Option(help="Where its repositories lie.")] = HUB_ROOT,
    port: Annotated[int, typer.Option(help="0: a free one.")] = 8484,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0: all of this machine's.")
    ] = "127.0.0.1",
) -> None:
    """Serve the embedded Hub, on loopback unless told otherwise, until Ctrl-C."""
    from publish.localhub import local_token, serve

    reporter = work.reporter_for(False, False)

    def ready(endpoint: str) -> None:
        reporter.say(f"export HF_ENDPOINT={endpoint}   # for any Hub client; reading needs no token")
        reporter.say(f"export HF_TOKEN={local_token(root)} HF_HUB_DISABLE_XET=1   # to write as well")

    serve(root, port, host=host, on_ready=ready)
