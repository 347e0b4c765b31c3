"""The suite `leaderboard`: the Open LLM Leaderboard's seven tasks of November 2023, by lm-eval, with its own settings.

Then it asked without a chat template, with examples in the prompt, and named one figure of each task. The tasks are
those of the lm-eval that is installed; their versions are in the results.
"""

import difflib
import tempfile
from pathlib import Path
from typing import get_args

from recipe.disk import read_json, write_json
from recipe.errors import UserError
from recipe.evaluate.catalogue import Catalogue, Config, names_in, shipped
from recipe.evaluate.harness import Harness
from recipe.evaluate.published import LEADERBOARD, MMLU_SUBJECTS, ROWS_AND_REQUESTS
from recipe.evaluate.sources import Source, commit_of, hub_source, local_source, on_hub
from recipe.evaluate.subject import Weights
from recipe.evaluate.suite import Evaluating, Planned
from recipe.evaluate.tasks import Asked, Benchmark, count_requests, load_tasks, shots_of
from recipe.evaluation import ChatBenchmark, Evaluation
from recipe.run import Run
from recipe.schema import is_commit

BENCHMARKS = tuple(
    Benchmark(task, one.shots, metric if by == "none" else f"{metric},{by}")
    for one in LEADERBOARD
    for task, metric, by in one.figures[:1]
)
REVISIONS = {  # of the data sets; EleutherAI/drop has none that we know
    "Rowan/hellaswag": "218ec52e09a7e7462a5400043bb9a69a41d06b76",
    "allenai/ai2_arc": "210d026faf9955653af8916fad021475a3f00453",
    "allenai/winogrande": "01e74176c63542e6b0bcb004dcdea22d94fb67b5",
    "cais/mmlu": "c30699e8356da336a370243923dbaf21066bb9fe",
    "openai/gsm8k": "740312add88f781978c0658806c59bc2815b9866",
    "truthfulqa/truthful_qa": "741b8276f2d1982aa3d5b832d3ee81ed3b896490",
}


def check(run: Run, weights: Weights) -> None:  # noqa: ARG001 - as every suite's
    """Refuse tasks that lm-eval does not know, and local rows that are not there."""
    evaluation = run.recipe.evaluation
    known = [*names_in(shipped()), *get_args(ChatBenchmark)]
    for name in evaluation.benchmark_data:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise UserError(f"benchmark_data: {name!r} is no task; did you mean {near!r}?")
    _ask(evaluation)


def plan(run: Run) -> list[Planned]:
    """Return a line for each task: counted where its rows are here, as published where they are not."""
    evaluation = run.recipe.evaluation
    catalogue, asked = _ask(evaluation)
    return [_planned(catalogue, one, evaluation) for one in asked]


def measure(evaluating: Evaluating) -> dict[str, object]:
    """Measure the tasks one by one."""
    evaluation = evaluating.run.recipe.evaluation
    catalogue, asked = _ask(evaluation, evaluating)
    return Harness(evaluating, catalogue, evaluation.benchmark_chat_template).measure(asked)


def _ask(evaluation: Evaluation, evaluating: Evaluating | None = None) -> tuple[Catalogue, list[Asked]]:
    """Return the benchmarks, with their rows as they are here; with `evaluating` those of the Hub are brought."""
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    names = list(dict.fromkeys(evaluation.benchmark_tasks or known))
    catalogue, asked = Catalogue(names), []
    for name in names:
        benchmark, leaves = known.get(name, Benchmark(name)), catalogue.leaves(name)
        sources = {
            leaf: _source(leaf, config, benchmark, evaluation, evaluating, alone=len(leaves) == 1)
            for leaf, config in leaves.items()
        }
        asked.append(Asked(benchmark, leaves, sources))
    return catalogue, asked


def _source(
    leaf: str,
    config: Config,
    benchmark: Benchmark,
    evaluation: Evaluation,
    evaluating: Evaluating | None,
    *,
    alone: bool,
) -> Source:
    shots, local = shots_of(config, benchmark), evaluation.benchmark_data
    if leaf in local:
        return local_source(leaf, config, local[leaf], shots, alone=True)
    if benchmark.name in local:
        return local_source(leaf, config, local[benchmark.name], shots, alone=alone)
    named = _named(config, evaluation)
    if evaluating is not None and on_hub(config) and not (named and is_commit(named)):
        named = _looked_up(str(config["dataset_path"]), named, evaluating)
    commit = named if named and is_commit(named) else None
    return hub_source(leaf, config, commit, shots, bring=evaluating is not None)


def _named(config: Config, evaluation: Evaluation) -> str | None:
    """Return the revision of a data set that the recipe names, or that is known here."""
    path = str(config.get("dataset_path"))
    return evaluation.benchmark_revisions.get(path, REVISIONS.get(path))


def _looked_up(path: str, revision: str | None, evaluating: Evaluating) -> str:
    """Return the commit that a data set is measured at, though none is named: looked up once, and said."""
    file, key = evaluating.kept / "revisions.json", f"{path}@{revision or 'main'}"
    known: dict[str, str] = read_json(file) if file.is_file() else {}
    if key not in known:
        known[key] = commit_of(path, revision)
        write_json(file, known)
        evaluating.reporter.warn(
            f"{path}: no commit is named for it; measured at {known[key]}, which benchmark_revisions can name"
        )
    return known[key]


def _planned(catalogue: Catalogue, asked: Asked, evaluation: Evaluation) -> Planned:
    benchmark, limit = asked.benchmark, evaluation.evaluate_limit
    shots = {shots_of(config, benchmark) for config in asked.leaves.values()}
    requests, exact = None, all(source.files for source in asked.sources.values())
    if exact:
        requests = _counted(catalogue, asked, limit)
    elif published := ROWS_AND_REQUESTS.get(benchmark.name):
        requests = _scaled(benchmark.name, *published, limit)
    notes = [] if exact else ["about: as published; they are counted once the rows are here"]
    source = next(iter(asked.sources.values()))
    if source.revision is None:
        notes.append(
            f"{source.path} is pinned to no commit; benchmark_revisions does that, or it is looked up then"
        )
    return Planned(
        task=benchmark.name,
        shots=shots.pop() if len(shots) == 1 else None,
        metric=(benchmark.metric or "all").replace(",", ", "),
        data=_shown(asked),
        requests=requests,
        exact=exact,
        note="; ".join(notes),
    )


def _shown(asked: Asked) -> str:
    sources = list(asked.sources.values())
    first, revisions = sources[0], {source.revision for source in sources}
    part = f"{len(sources)} of them" if len(sources) > 1 else first.config
    inside = ", ".join(name for name in (part, first.split) if name)
    revision = next(iter(revisions)) if len(revisions) == 1 else "local"
    short = (revision or "").removeprefix("sha256:")[:12]
    return f"{first.path} ({inside})" + (f" @ {short}" if short else "")


def _counted(catalogue: Catalogue, asked: Asked, limit: int | None) -> int:
    from recipe.evaluate.harness_model import hushed

    with tempfile.TemporaryDirectory() as folder, hushed():
        return count_requests(load_tasks(catalogue, asked, Path(folder)), limit)


def _scaled(name: str, rows: int, requests: int, limit: int | None) -> int:
    if limit is None:
        return requests
    taken = min(rows, limit * (MMLU_SUBJECTS if name == "mmlu" else 1))  # each subject is limited by itself
    return round(requests * taken / rows)
