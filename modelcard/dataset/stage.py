"""Stage: the data set's repository as it will be published: Parquet files, audit and card."""

import shutil
from pathlib import Path

from modelcard.dataset.card import render_data_card
from modelcard.dataset.columns import layout_of, write_published
from modelcard.dataset.facts import CARD, Split, read_data_facts
from modelcard.facts.missing import missing
from recipe.disk import file_sha256
from recipe.progress import Reporter
from recipe.run import Run, Stage

NAME = "dataset"
SPLITS = {
    "train": "train.parquet",
    "test": "heldout.parquet",
}  # as `datasets` calls them: where the run has them


def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:  # noqa: ARG001 - every stage has one
    """Write `dataset/`: `data/SPLIT-00000-of-00001.parquet`, `audit.json`, and `README.md` from these."""
    folder = out / NAME
    (folder / "data").mkdir(parents=True)
    pairs = {split: run.path("data", name) for split, name in SPLITS.items()}
    audit = run.path("data", "audit.json")
    for path in (*pairs.values(), audit):
        if not path.is_file():
            raise missing(path.name, needs=CARD)
    layout = layout_of(list(pairs.values()))
    splits = []
    for split, path in pairs.items():
        name = f"data/{split}-00000-of-00001.parquet"
        rows = write_published(path, folder / name, layout)
        splits.append(Split(split, name, rows, (folder / name).stat().st_size, file_sha256(folder / name)))
    shutil.copyfile(audit, folder / audit.name)
    card = render_data_card(read_data_facts(run, layout, tuple(splits)))
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return {"pairs": ", ".join(f"{split.rows} {split.name}" for split in splits), "columns": layout}


STAGE = Stage(
    name=NAME,
    does="the pairs as a data set, with audit and card",
    needs=("fetch", "curate"),
    outputs=(NAME,),
    reads=("science", "release"),
    work=work,
)
