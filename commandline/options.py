"""The options that commands share, and where runs lie if nothing else is said."""

from pathlib import Path
from typing import Annotated

import typer

RUNS = Path("runs")
HUB_ROOT = RUNS / "hub"
RecipeName = Annotated[str, typer.Argument(help="A recipe file, or the name of one that ships with Notus.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
]
RunFolder = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="The run folder. [default: runs/RECIPE]")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
HubName = Annotated[
    str | None,
    typer.Option(
        "--hub",
        help="`local`: the embedded Hub; `remote`: HF_ENDPOINT. [default: local if the base is built in]",
    ),
]
HubRoot = Annotated[Path, typer.Option("--hub-root", metavar="DIR", help="Where the embedded Hub lies.")]
Data = Annotated[
    bool, typer.Option("--data", help="With the pairs as a data set, which goes to `hub_dataset_id`.")
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        envvar="NOTUS_SIGNING_KEY",
        help="Sign the release with this EC private key (PEM); if encrypted, by NOTUS_SIGNING_PASSWORD.",
    ),
]
Keyless = Annotated[
    bool,
    typer.Option("--keyless", help="Sign it by Sigstore with this environment's identity, a CI job's."),
]
Tag = Annotated[
    str | None, typer.Option("--tag", metavar="TAG", help="Release under this tag instead of `version`.")
]
Revision = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="TAG",
        help="Check a repository, `owner/name` or `datasets/owner/name`, at a tag or commit, without a run.",
    ),
]
PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE", help="With --revision: check the signature by this key."),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="`venv`: here; `docker`: in the image, offline but for the Hub. [default: the recipe's]",
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="IMAGE",
        help="Another image than `notus:cuda` or `notus:cpu`; implies --runtime docker.",
    ),
]
# torchrun's names, and where it looks for them
NodeCount = Annotated[
    int,
    typer.Option(
        "--nnodes", metavar="N", envvar="PET_NNODES", help="Train on N nodes: the same command on each."
    ),
]
NodeRank = Annotated[
    int | None,
    typer.Option("--node-rank", metavar="R", envvar="PET_NODE_RANK", help="Which node this is, from 0."),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--rdzv-endpoint",
        metavar="HOST:PORT",
        envvar="PET_RDZV_ENDPOINT",
        help="Where node 0 listens. [default: MASTER_ADDR:MASTER_PORT of the environment]",
    ),
]
MaxRestarts = Annotated[
    int,
    typer.Option(
        "--max-restarts",
        metavar="N",
        envvar="PET_MAX_RESTARTS",
        help="Of several processes: start them again so often, should one be lost.",
    ),
]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Train from the beginning; throws away what training has made so far."),
]
Yes = Annotated[bool, typer.Option("--yes", help="With --restart: don't ask.")]
