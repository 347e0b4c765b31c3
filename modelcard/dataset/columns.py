"""The columns of the published pairs, and the run's pairs written in them, a row group at a time.

Where each prompt is a single turn of the user's they are those of argilla/ultrafeedback-binarized-preferences, with
the rejected answer's model and the pair's id at the end; else those of TRL's conversational preference data. In
both, Notus reads the same pairs back.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Layout = Literal["argilla", "conversational"]
MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))

# What each column holds; {score} is what the answers were compared by.
MEANING: Mapping[Layout, Mapping[str, str]] = {
    "argilla": {
        "source": "where the prompt comes from, as the source data name it",
        "instruction": "the prompt: one turn of the user's",
        "chosen_response": "the better answer",
        "rejected_response": "the worse answer",
        "chosen_avg_rating": "{score} of the better answer",
        "rejected_avg_rating": "{score} of the worse answer",
        "chosen_model": "the model that wrote the better answer",
        "rejected_model": "the model that wrote the worse answer",
        "id": "16 hex digits over prompt and answers: equal pairs share it",
    },
    "conversational": {
        "prompt": "the conversation up to the answers: a list of `role` and `content`",
        "chosen": "the better answer: a list of one message",
        "rejected": "the worse answer: a list of one message",
        "source": "where the prompt comes from, as the source data name it",
        "score_chosen": "{score} of the better answer",
        "score_rejected": "{score} of the worse answer",
        "chosen_model": "the model that wrote the better answer",
        "rejected_model": "the model that wrote the worse answer",
        "id": "16 hex digits over prompt and answers: equal pairs share it",
    },
}


def layout_of(files: Sequence[Path]) -> Layout:
    """Return the layout of the pairs in `files`, written by `recipe.curate.table`: the same one for all of them."""
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                prompts = file.read_row_group(group, columns=["prompt"])["prompt"]
                if pc.any(pc.not_equal(pc.list_value_length(prompts), 1)).as_py():
                    return "conversational"
                roles = pc.struct_field(pc.list_element(prompts, 0), "role")
                if pc.any(pc.not_equal(roles, "user")).as_py():
                    return "conversational"
    return "argilla"


def write_published(pairs: Path, out: Path, layout: Layout) -> int:
    """Write the pairs of one file to `out`, in their order; return how many. The same bytes for the same pairs."""
    convert, rows = _CONVERT[layout], 0
    with pq.ParquetFile(pairs) as file:
        schema = convert(file.schema_arrow.empty_table()).schema
        # Chunks that follow the content, and an index of pages: the Hub stores the next version's new rows only, and
        # its viewer reads a page without the rest.
        with pq.ParquetWriter(
            out, schema, compression="zstd", use_content_defined_chunking=True, write_page_index=True
        ) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                writer.write_table(convert(table))
                rows += table.num_rows
    return rows


def _argilla(pairs: pa.Table) -> pa.Table:
    return pa.table(
        {
            "source": pairs["source"],
            "instruction": pc.struct_field(pc.list_element(pairs["prompt"], 0), "content"),
            "chosen_response": pairs["chosen"],
            "rejected_response": pairs["rejected"],
            "chosen_avg_rating": pairs["chosen_rating"],
            "rejected_avg_rating": pairs["rejected_rating"],
            "chosen_model": pairs["chosen_model"],
            "rejected_model": pairs["rejected_model"],
            "id": pairs["id"],
        }
    )


def _conversational(pairs: pa.Table) -> pa.Table:
    return pa.table(
        {
            "prompt": pairs["prompt"].cast(MESSAGES),
            "chosen": _answers(pairs["chosen"]),
            "rejected": _answers(pairs["rejected"]),
            "source": pairs["source"],
            "score_chosen": pairs["chosen_rating"],
            "score_rejected": pairs["rejected_rating"],
            "chosen_model": pairs["chosen_model"],
            "rejected_model": pairs["rejected_model"],
            "id": pairs["id"],
        }
    )


def _answers(texts: pa.ChunkedArray) -> pa.Array:
    """Return each text as a list of one message, the assistant's."""
    contents = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.string())
    roles = pa.array(["assistant"] * len(contents), pa.string())
    messages = pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGES.value_type))
    return pa.ListArray.from_arrays(pa.array(range(len(contents) + 1), pa.int32()), messages, type=MESSAGES)


_CONVERT: Mapping[Layout, Callable[[pa.Table], pa.Table]] = {
    "argilla": _argilla,
    "conversational": _conversational,
}
