"""Whether all ranks of a training train the same: a mixture of recipes or data would look like a run and be none."""

import os
from typing import Any

from torch import distributed

from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.fetch import load_inputs
from recipe.made_by import versions
from recipe.run import Run
from recipe.sharing import join_ranks

Facts = dict[str, Any]
"""What has to be the same on every rank, as plain values, by what a person calls it."""

MISTAKE = "mistake"


def refuse_mixture(run: Run) -> None:
    """Compare this rank with all others, in a process group that the trainer goes on with.

    Raises:
        UserError: Another rank trains something else, or one can't read its part. The same line on every rank.
    """
    join_ranks(run.recipe.execution)
    try:
        mine = facts_of(run)
    except UserError as error:  # the others wait for this rank
        mine = {MISTAKE: str(error)}
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, (int(os.environ["GROUP_RANK"]), mine))
    refuse_differing(everyone)


def facts_of(run: Run) -> Facts:
    """Return the facts of this rank.

    Raises:
        UserError: The base or the tokenizer is not where its recipe says.
    """
    inputs = load_inputs(run)
    stack = versions()
    del stack["python"]
    return {
        **run.recipe.science.canonical(),
        **run.recipe.execution.model_dump(mode="json"),
        "devices": int(os.environ["LOCAL_WORLD_SIZE"]),  # `auto` is another number on another machine
        "the base's revision": inputs["base"]["revision"],
        "the tokenizer's revision": inputs["tokenizer"]["revision"],
        **{
            f"data/{name}": f"sha256-{file_sha256(run.path('data', name))[:16]}"
            for name in ("train.parquet", "heldout.parquet")
        },
        **{f"the version of {name}": version for name, version in stack.items()},
    }


def refuse_differing(everyone: list[tuple[int, Facts]]) -> None:
    """Refuse ranks that differ from the first.

    Args:
        everyone: The node and the facts of each rank.

    Raises:
        UserError: Names the node and the first thing that differs.
    """
    for node, facts in everyone:
        if MISTAKE in facts:
            raise UserError(f"node {node}: {facts[MISTAKE]}")
    _, expected = everyone[0]
    for node, facts in everyone:
        for name in expected | facts:
            here, there = expected.get(name), facts.get(name)
            if here != there:
                raise UserError(
                    f"node {node}: {name} is {there}, on node 0 it is {here}; "
                    "start all nodes with the same recipe, data and packages"
                )
