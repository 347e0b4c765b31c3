"""Suite `chat`: a model's answers to AlpacaEval's and MT-Bench's prompts, judged by a model at an endpoint."""

import contextlib
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from recipe.errors import UserError
from recipe.evaluate.chat import alpaca, fastchat
from recipe.evaluate.chat.annotator import config_of, parameters_of
from recipe.evaluate.chat.benchmarks import BENCHMARKS
from recipe.evaluate.chat.client import Client
from recipe.evaluate.chat.endpoint import endpoint_of
from recipe.evaluate.chat.judge import Judge
from recipe.evaluate.chat.price import agree, estimate
from recipe.evaluate.kept_answers import KeptAnswers
from recipe.evaluate.ledger import Ledger
from recipe.evaluate.published import ALPACA_EVAL_INSTRUCTIONS, MT_BENCH_QUESTIONS
from recipe.evaluate.result import FOLDER
from recipe.evaluate.subject import Weights
from recipe.evaluate.suite import Evaluating, Planned
from recipe.evaluation import ChatBenchmark
from recipe.run import Run
from recipe.schema import is_commit, whole_path

ANSWERS, JUDGEMENTS = "answers.jsonl", "judgements.jsonl"


def check(run: Run, weights: Weights) -> None:  # noqa: ARG001 - as every suite
    """Refuse what would stop it, before any work.

    Raises:
        UserError: No judge is named, it has no endpoint or no key, alpaca_eval has no such annotator, or local data are
            not there.
    """
    evaluation = run.recipe.evaluation
    endpoint_of(evaluation)
    for name in evaluation.benchmark_data:
        near = difflib.get_close_matches(name, get_args(ChatBenchmark), n=1, cutoff=0.65)
        if near and name not in near:  # all else may be a task of lm-eval's
            raise UserError(f"benchmark_data: {name!r} is no benchmark; did you mean {near[0]!r}?")
    for name in evaluation.chat_benchmarks:
        local = evaluation.benchmark_data.get(name)
        if local is not None and not whole_path(local).exists():
            raise UserError(f"benchmark_data: {name}: {whole_path(local)}: not there; check the path")
    if "alpaca_eval" in evaluation.chat_benchmarks:
        parameters_of(evaluation.alpaca_annotator, config_of(evaluation.alpaca_annotator))
        revision = evaluation.benchmark_revisions.get(alpaca.REPOSITORY)
        if revision is not None and not is_commit(revision):
            raise UserError(
                f"benchmark_revisions: {alpaca.REPOSITORY}: {revision} is no commit id (40 hexadecimal digits)"
            )


def plan(run: Run) -> Sequence[Planned]:
    """Return what it would ask, as many requests as have an answer of the model's."""
    evaluation = run.recipe.evaluation
    limit, note = evaluation.evaluate_limit, f"judged by {evaluation.judge or 'nobody yet (`judge`)'}"
    found = []
    if "alpaca_eval" in evaluation.chat_benchmarks:
        local = evaluation.benchmark_data.get("alpaca_eval")
        number = ALPACA_EVAL_INSTRUCTIONS if local is None else len(alpaca.rows_of(whole_path(local)))
        revision = evaluation.benchmark_revisions.get(alpaca.REPOSITORY)
        data = f"{alpaca.REPOSITORY} {alpaca.file_of(evaluation.alpaca_annotator)} at {revision or 'main, not pinned'}"
        requests = min(number, limit or number)
        found.append(
            Planned(
                "alpaca_eval", 0, "win_rate", local or data, requests, local is not None or bool(limit), note
            )
        )
    if "mt_bench" in evaluation.chat_benchmarks:
        local = evaluation.benchmark_data.get("mt_bench")
        turns = [2] * MT_BENCH_QUESTIONS
        if local is not None:
            turns = [len(one.turns) for one in fastchat.load(local, Path()).questions]
        data = f"{fastchat.REPOSITORY} at {fastchat.COMMIT[:12]}"
        found.append(Planned("mt_bench", 0, "score", local or data, sum(turns[:limit]), note=note))
    return found


def measure(evaluating: Evaluating) -> dict[str, object]:
    """Have the model answer and the judge judge, and write results, answers and judgements.

    What was answered and judged before is not again: by this evaluation, which may have been killed, or by an earlier
    one of the same weights.

    Raises:
        UserError: The endpoint or the data can't be had, the price is not agreed to, or no answer holds a verdict.
        InterruptedRunError: The endpoint has not answered for as long as we wait.
    """
    evaluation = evaluating.run.recipe.evaluation
    client = Client(endpoint_of(evaluation), evaluation.judge_timeout)
    with contextlib.closing(client):
        return _measure(evaluating, client)


def _measure(evaluating: Evaluating, client: Client) -> dict[str, object]:
    evaluation, reporter = evaluating.run.recipe.evaluation, evaluating.reporter
    client.knock()
    before = evaluating.run.path(FOLDER, evaluating.suite, evaluating.subject.weights)
    answers = KeptAnswers(evaluating.subject, Ledger(evaluating.kept / ANSWERS, before / ANSWERS), reporter)
    judge = Judge(
        client,
        Ledger(evaluating.kept / JUDGEMENTS, before / JUDGEMENTS),
        reporter,
        evaluation.judge_requests,
    )
    benchmarks = [BENCHMARKS[name](evaluating) for name in dict.fromkeys(evaluation.chat_benchmarks)]
    asked = judge.missing([request for one in benchmarks for request in one.foreseen(answers)])
    agree(estimate(asked, evaluation.judge_usd), client.endpoint, reporter, yes=evaluating.yes)
    for one in benchmarks:
        one.answer(answers)
    answers.unload()
    said: dict[str, object] = {one.name: one.result(judge) for one in benchmarks}
    answers.ledger.write_all(evaluating.out / ANSWERS)
    judge.ledger.write_all(evaluating.out / JUDGEMENTS)
    return said
