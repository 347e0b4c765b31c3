"""AlpacaEval and MT-Bench, each from the model's answers to a result file."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from recipe.disk import write_text
from recipe.errors import UserError
from recipe.evaluate.answers import Decoding
from recipe.evaluate.chat import alpaca, fastchat, mt_bench
from recipe.evaluate.chat.annotator import Annotator, winrate
from recipe.evaluate.chat.client import Request
from recipe.evaluate.chat.judge import Judge, Judged
from recipe.evaluate.kept_answers import KeptAnswers
from recipe.evaluate.result import figures, write_result
from recipe.evaluate.suite import Evaluating


class Benchmark(Protocol):
    """What is answered, judged and counted."""

    name: str

    def __init__(self, evaluating: Evaluating) -> None:
        """Bring its data.

        Raises:
            UserError: They are not there.
        """

    def foreseen(self, answers: KeptAnswers) -> list[Request]:
        """Return what the judge will be asked, as far as answers are known, and else something as long."""

    def answer(self, answers: KeptAnswers) -> None:
        """Have the model answer."""

    def result(self, judge: Judge) -> str:
        """Have the answers judged, write the result, and return what to tell.

        Raises:
            UserError: The judge gave no verdict at all.
        """


class AlpacaEval:
    """Which share of its answers a judge prefers to a reference model's."""

    name = "alpaca_eval"

    def __init__(self, evaluating: Evaluating) -> None:
        evaluation = evaluating.run.recipe.evaluation
        self.evaluating, self.decoding = evaluating, _decoding(evaluating)
        self.annotator = Annotator(evaluation.alpaca_annotator)
        self.references = alpaca.load(
            evaluation.benchmark_data.get(self.name),
            evaluation.alpaca_annotator,
            evaluation.benchmark_revisions.get(alpaca.REPOSITORY),
        )
        self.rows = self.references.rows[: evaluation.evaluate_limit]
        self.answers: list[str] = []
        self.written: dict[str, Any] = {}

    def foreseen(self, answers: KeptAnswers) -> list[Request]:
        """See `Benchmark`. An answer that is not known is taken for as long as the reference's."""
        known = answers.known(alpaca.conversations(self.rows), self.decoding)
        # Another text than the reference's: pairs of equal outputs are not asked about.
        stand_ins = [
            f"{row['output']} " if one is None else one for row, one in zip(self.rows, known, strict=True)
        ]
        return self.annotator.requests(self.rows, self._outputs(stand_ins))

    def answer(self, answers: KeptAnswers) -> None:
        """See `Benchmark`."""
        before = answers.cut
        self.answers = answers.to(alpaca.conversations(self.rows), self.decoding, "AlpacaEval")
        self.written = _written(self.decoding, answers, answers.cut - before)

    def result(self, judge: Judge) -> str:
        """See `Benchmark`."""
        outputs = self._outputs(self.answers)
        requests = self.annotator.requests(self.rows, outputs)
        judged = judge.judge(requests, self.annotator.verdict, "AlpacaEval judged")
        without = _without_verdict(
            judged, f"alpaca_eval: {{}} of {judge.endpoint.model}'s {{}} as {self.annotator.name} reads them"
        )
        rows = self.annotator.annotate(self.rows, outputs, requests, [one.choice for one in judged])
        _write_rows(self.evaluating.out / "annotations.jsonl", rows)
        found = winrate(rows)
        error = found["standard_error"]
        content = figures(
            self.name,
            {
                "win_rate": (found["win_rate"], None if error != error else error),  # noqa: PLR0124 - NaN of one row
                "discrete_win_rate": (found["discrete_win_rate"], None),
            },
            samples=len(rows),
        )
        content["n-samples"][self.name]["effective"] = int(found["n_total"])
        write_result(
            self.evaluating.out,
            self.name,
            content,
            self.evaluating,
            by={
                "name": "alpaca_eval",
                "version": version("alpaca_eval"),
                "url": "https://github.com/tatsu-lab/alpaca_eval",
            },
            data={
                self.name: {
                    "path": self.references.path,
                    "config": self.references.config,
                    "split": "eval",
                    "revision": self.references.revision,
                }
            },
            judge=_judge(judge, judged, self.annotator.name, without),
            details={
                "reference": self.references.generator,
                "wins": int(found["n_wins"]),
                "losses": int(found["n_wins_base"]),
                "draws": int(found["n_draws"]),
                "characters": _mean_length(self.answers),
                "reference_characters": _mean_length([row["output"] for row in self.rows]),
                "answers": self.written,
            },
        )
        spread = "" if error != error else f" ± {error:.2f}"  # noqa: PLR0124
        return (
            f"win rate {found['win_rate']:.2f}%{spread} over {self.references.generator}, {int(found['n_total']):,} of "
            f"{len(rows):,} answers{_told(without, self.written)}"
        )

    def _outputs(self, answers: Sequence[str]) -> list[alpaca.Row]:
        release, weights = self.evaluating.run.recipe.release, self.evaluating.subject.weights
        generator = {
            "adapter": release.hub_model_id,
            "merged": release.hub_merged_model_id,
            "base": release.hub_base_model_id or "base",
        }[weights]
        return [
            {"instruction": row["instruction"], "output": answer, "generator": generator}
            for row, answer in zip(self.rows, answers, strict=True)
        ]


class MTBench:
    """Which grade a judge gives its answers, from 1 to 10, in two turns."""

    name = "mt_bench"

    def __init__(self, evaluating: Evaluating) -> None:
        evaluation = evaluating.run.recipe.evaluation
        self.evaluating, self.decoding = evaluating, _decoding(evaluating)
        self.benchmark = fastchat.load(evaluation.benchmark_data.get(self.name), evaluating.kept / "fastchat")
        self.questions = self.benchmark.questions[: evaluation.evaluate_limit]
        self.answers: mt_bench.Answers = []
        self.written: dict[str, Any] = {}

    def foreseen(self, answers: KeptAnswers) -> list[Request]:
        """See `Benchmark`."""
        known = mt_bench.known_answers(self.questions, answers, self.decoding)
        return mt_bench.requests(self.benchmark, self.questions, known)

    def answer(self, answers: KeptAnswers) -> None:
        """See `Benchmark`."""
        before = answers.cut
        self.answers = mt_bench.write_answers(self.questions, answers, self.decoding)
        self.written = _written(self.decoding, answers, answers.cut - before)

    def result(self, judge: Judge) -> str:
        """See `Benchmark`."""
        requests = mt_bench.requests(self.benchmark, self.questions, self.answers)
        judged = judge.judge(requests, mt_bench.grade, "MT-Bench judged")
        without = _without_verdict(judged, f"mt_bench: {{}} of {judge.endpoint.model}'s {{}}")
        grades = mt_bench.graded(self.questions, judged)
        _write_rows(self.evaluating.out / "grades.jsonl", [self._row(one, judge) for one in grades])
        found = mt_bench.figures(grades)
        graded = {one.question.id for one in grades if one.score is not None}
        write_result(
            self.evaluating.out,
            self.name,
            figures(self.name, found, samples=len(graded)),
            self.evaluating,
            by={
                "name": "Notus, by FastChat's protocol",
                "version": version("notus"),
                "url": f"https://github.com/{fastchat.REPOSITORY}/tree/{fastchat.COMMIT}/fastchat/llm_judge",
            },
            data={
                self.name: {
                    "path": self.benchmark.path,
                    "config": "mt_bench",
                    "split": "question",
                    "revision": self.benchmark.revision,
                }
            },
            judge=_judge(judge, judged, "single-v1", without),
            details={
                "by_category": mt_bench.by_category(grades),
                "characters": _mean_length([one for said in self.answers for one in said]),
                "answers": self.written | {"temperatures": mt_bench.TEMPERATURES},
            },
        )
        value, error = found["score"]
        spread = "" if error is None else f" ± {error:.2f}"
        turns = ", ".join(
            f"{name.replace('_', ' ')} {found[name][0]:.2f}"
            for name in ("first_turn", "second_turn")
            if name in found
        )
        told = _told(without, self.written)
        of = f"{len(graded):,} of {len(self.questions):,} questions"
        return f"score {value:.2f}{spread} of 10 ({turns}), {of}{told}"

    def _row(self, one: mt_bench.Graded, judge: Judge) -> dict[str, Any]:
        """Return a grade as FastChat writes it, who asks for a grade of -1 where there is none."""
        grading = self.benchmark.gradings[bool(one.question.references), one.turn]
        return {
            "question_id": one.question.id,
            "category": one.question.category,
            "turn": one.turn,
            "judge": [_placeless(judge.endpoint.model), grading.name],
            "judgment": one.judged.text,
            "score": -1 if one.score is None else one.score,
            "at": one.judged.at,
        }


BENCHMARKS: dict[str, type[AlpacaEval] | type[MTBench]] = {"alpaca_eval": AlpacaEval, "mt_bench": MTBench}


def _decoding(evaluating: Evaluating) -> Decoding:
    evaluation = evaluating.run.recipe.evaluation
    return Decoding(
        evaluation.answer_tokens,
        evaluation.answer_temperature,
        evaluation.answer_seed,
        evaluation.evaluate_batch_size,
    )


def _without_verdict(judged: Sequence[Judged[Any]], said: str) -> int:
    """Return how many answers of the judge's hold no verdict.

    Raises:
        UserError: None does.
    """
    without = sum(one.verdict is None for one in judged)
    if judged and without == len(judged):
        about = said.format("none", f"{len(judged):,} answers")
        raise UserError(f"{about} holds a verdict; take a judge that follows the prompt")
    return without


def _told(without: int, written: dict[str, Any]) -> str:
    cut = f"; {written['cut']:,} cut at {written['max_new_tokens']:,} tokens" if written["cut"] else ""
    return cut + (f"; {without:,} without a verdict" if without else "")


def _judge(judge: Judge, judged: Sequence[Judged[Any]], annotator: str, without: int) -> dict[str, Any]:
    days = sorted(one.at[:10] for one in judged)
    return {
        "model": _placeless(judge.endpoint.model),
        "answered_as": sorted({_placeless(one.model) for one in judged}),
        "endpoint": judge.endpoint.host,
        "from": days[0] if days else None,
        "to": days[-1] if days else None,
        "annotator": annotator,
        "judgements": len(judged),
        "without_verdict": without,
    }


def _placeless(model: str) -> str:
    """Return a judge's name; of one that a server of one's own calls by its folder, the folder's."""
    return Path(model).name if model.startswith(("/", "~", "./", "../")) else model


def _written(decoding: Decoding, answers: KeptAnswers, cut: int) -> dict[str, Any]:
    return {
        "max_new_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
        "by": answers.by,
        "cut": cut,
    }


def _mean_length(texts: Sequence[str]) -> int:
    return round(sum(map(len, texts)) / len(texts))


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))
