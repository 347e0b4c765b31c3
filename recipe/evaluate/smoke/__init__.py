"""The suite `smoke`: two small tasks of our own in lm-eval's YAML, measured as the leaderboard's are.

They ask what the embedded feedback teaches, with questions that are in no training set: `smoke_reply` for the most
likely of three ways to begin an answer, of like length, of which one is helpful; `smoke_answer` for an answer, and
whether the right words are in it. A model that has learnt nothing finds about one helpful beginning in three; what
preference tuning did to the embedded model is seen.
"""

from pathlib import Path

from recipe.disk import write_text
from recipe.evaluate.catalogue import Catalogue
from recipe.evaluate.harness import Harness
from recipe.evaluate.smoke.rows import ROWS, as_jsonl
from recipe.evaluate.sources import local_source
from recipe.evaluate.subject import Weights
from recipe.evaluate.suite import Evaluating, Planned
from recipe.evaluate.tasks import Asked, Benchmark
from recipe.run import Run

BENCHMARKS = (Benchmark("smoke_reply", 0, "acc"), Benchmark("smoke_answer", 0, "right"))
DATA = "builtin:smoke"


def check(run: Run, weights: Weights) -> None:
    """Refuse nothing: all that it needs is here."""


def plan(run: Run) -> list[Planned]:
    """Return a line for each task."""
    limit = run.recipe.evaluation.evaluate_limit
    planned = []
    for benchmark in BENCHMARKS:
        rows = ROWS[benchmark.name]()[:limit]
        requests = sum(len(row.get("replies", "1")) for row in rows)
        planned.append(
            Planned(benchmark.name, 0, str(benchmark.metric), f"{DATA} ({benchmark.name})", requests)
        )
    return planned


def measure(evaluating: Evaluating) -> dict[str, object]:
    """Measure both, in the model's own chat format."""
    catalogue, asked = Catalogue([benchmark.name for benchmark in BENCHMARKS], Path(__file__).parent), []
    for benchmark in BENCHMARKS:
        file = evaluating.kept / f"{benchmark.name}.rows.jsonl"
        write_text(file, as_jsonl(ROWS[benchmark.name]()))
        leaves = catalogue.leaves(benchmark.name)
        sources = {
            leaf: local_source(leaf, config, str(file), 0, alone=True, path=DATA)
            for leaf, config in leaves.items()
        }
        asked.append(Asked(benchmark, leaves, sources))
    return Harness(evaluating, catalogue, chat=True).measure(asked)
