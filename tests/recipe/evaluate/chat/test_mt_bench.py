"""MT-Bench as FastChat has it: what is asked, and what becomes of the grades."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from recipe.disk import file_sha256
from recipe.errors import UserError
from recipe.evaluate.answers import Conversation, Decoding
from recipe.evaluate.chat import fastchat, mt_bench
from recipe.evaluate.chat.fastchat import Benchmark
from recipe.evaluate.chat.judge import Judged
from tests.recipe.evaluate.chat.chat_data import PROMPTS, QUESTIONS, read_lines, write_lines, write_mt_bench

DECODING = Decoding(max_new_tokens=8, temperature=0.3)


class Answering:
    """Answers with what it was asked last, and remembers at which temperature."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, Conversation]] = []

    def to(self, conversations: Sequence[Conversation], decoding: Decoding, title: str) -> list[str]:
        self.asked += [(decoding.temperature, one) for one in conversations]
        return [f"To {one[-1]['content']}" for one in conversations]

    def known(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str | None]:
        return [f"To {one[-1]['content']}" if len(one) == 1 else None for one in conversations]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mt_bench(tmp_path_factory.mktemp("fastchat") / "data")


@pytest.fixture(scope="module")
def benchmark(folder: Path) -> Benchmark:
    return fastchat.load(str(folder), Path("unused"))


def said(score: float | None, text: str = "") -> Judged[float]:
    return Judged({"message": {"content": text}}, score, "2026-11-29T12:00:00+00:00", "judge")


def test_answers_are_sampled_by_category_and_the_second_turn_follows_the_first(benchmark: Benchmark) -> None:
    model = Answering()
    found = mt_bench.write_answers(benchmark.questions, model, DECODING)  # type: ignore[arg-type]
    assert found == [tuple(f"To {turn}" for turn in question.turns) for question in benchmark.questions]
    by_question = {one[0]["content"]: temperature for temperature, one in model.asked}
    assert [by_question[str(question["turns"][0])] for question in QUESTIONS] == [0.7, 0.0, 0.1]
    for question in QUESTIONS:
        first, second = question["turns"]
        asked = [one for _, one in model.asked if one[0]["content"] == first]
        assert asked == [
            [{"role": "user", "content": first}],
            [
                {"role": "user", "content": first},
                {"role": "assistant", "content": f"To {first}"},
                {"role": "user", "content": second},
            ],
        ]


def test_what_has_no_temperature_of_its_own_gets_the_recipe_s(tmp_path: Path) -> None:
    folder = write_mt_bench(tmp_path / "data")
    write_lines(
        folder / fastchat.QUESTIONS,
        [
            {"question_id": 1, "category": "cooking", "turns": ["Boil an egg."]},
            {"question_id": 2, "category": "writing", "turns": ["Write."], "required_temperature": 0.9},
        ],
    )
    model = Answering()
    mt_bench.write_answers(fastchat.load(str(folder), tmp_path).questions, model, DECODING)  # type: ignore[arg-type]
    assert sorted(temperature for temperature, _ in model.asked) == [0.3, 0.9]


def test_what_is_not_answered_yet_is_foreseen_as_long_as_usual(benchmark: Benchmark) -> None:
    foreseen = mt_bench.known_answers(benchmark.questions, Answering(), DECODING)  # type: ignore[arg-type]
    assert [(first[:2], len(second)) for first, second in foreseen] == [("To", mt_bench.STAND_IN)] * 3


def test_the_judge_is_asked_by_fastchat_s_prompts(benchmark: Benchmark) -> None:
    answers = [("a{1}", "b"), ("c", "d"), ("e", "f")]
    requests = mt_bench.requests(benchmark, benchmark.questions, answers)
    assert all(one.parameters == {"temperature": 0, "max_tokens": 2048} for one in requests)
    assert [[message["role"] for message in one.messages] for one in requests] == [["system", "user"]] * 6
    writing, maths, _, second_writing, second_maths, _ = (one.messages[1]["content"] for one in requests)
    assert writing == PROMPTS["single-v1"].format(question=QUESTIONS[0]["turns"][0], answer="a{1}")
    assert maths == PROMPTS["single-math-v1"].format(
        question="What is 6 times 7?", answer="c", ref_answer_1="6 times 7 is 42."
    )
    first, second = QUESTIONS[0]["turns"]
    assert second_writing == PROMPTS["single-v1-multi-turn"].format(
        question_1=first, answer_1="a{1}", question_2=second, answer_2="b"
    )
    assert second_maths == PROMPTS["single-math-v1-multi-turn"].format(
        question_1="What is 6 times 7?",
        answer_1="c",
        question_2="And what is half of that?",
        answer_2="d",
        ref_answer_1="6 times 7 is 42.",
        ref_answer_2="Half of 42 is 21.",
    )


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("It is good. Rating: [[7]]", 7.0),
        ("Rating: [[8.5]] and not [[2]]", 8.5),
        ("Rating: [6]", 6.0),
        ("[3] and [[10]]", 10.0),
        ("Rating: [[0]]", None),
        ("Rating: [[85]]", None),
        ("Rating: [[rating]]", None),
        ("Rating: 7", None),
        ("[[7", None),
        ("", None),
    ],
)
def test_a_grade_is_in_double_brackets_or_else_in_single_ones(text: str, score: float | None) -> None:
    assert mt_bench.grade({"message": {"content": text}}) == score


def test_figures_are_fastchat_s_means(benchmark: Benchmark) -> None:
    scores = [3.0, 9.0, None, 4.0, None, 10.0]
    grades = mt_bench.graded(benchmark.questions, [said(score) for score in scores])
    rows = pd.DataFrame(
        [{"score": -1 if one.score is None else one.score, "turn": one.turn} for one in grades]
    )
    rows = rows[rows["score"] != -1]
    found = mt_bench.figures(grades)
    assert found["score"][0] == rows["score"].mean()
    assert found["first_turn"][0] == rows[rows["turn"] == 1]["score"].mean()
    assert found["second_turn"][0] == rows[rows["turn"] == 2]["score"].mean()
    by_question = pd.Series([3.5, 9.0, 10.0])
    assert found["score"][1] == pytest.approx(by_question.sem())
    assert found["first_turn"][1] == pytest.approx(pd.Series([3.0, 9.0]).sem())
    assert mt_bench.by_category(grades) == [
        {"category": "writing", "questions": 1, "score": 3.5},
        {"category": "math", "questions": 1, "score": 9.0},
        {"category": "stem", "questions": 1, "score": 10.0},
    ]


def test_what_was_not_graded_at_all_has_no_figure(benchmark: Benchmark) -> None:
    grades = mt_bench.graded(
        benchmark.questions, [said(5.0), said(None), said(7.0), said(None), said(None), said(None)]
    )
    found = mt_bench.figures(grades)
    assert sorted(found) == ["first_turn", "score"]
    assert [one["category"] for one in mt_bench.by_category(grades)] == ["writing", "stem"]
    assert mt_bench.figures(grades[:1])["score"] == (5.0, None)


def test_local_files_are_named_by_their_hash(folder: Path, tmp_path: Path, benchmark: Benchmark) -> None:
    assert benchmark.path == "local:data"
    other = write_mt_bench(tmp_path / "data", number=2)
    assert benchmark.revision.startswith("sha256:")
    assert fastchat.load(str(other), tmp_path).revision != benchmark.revision
    assert fastchat.load(str(folder), tmp_path).revision == benchmark.revision


def spoil(name: str, change: Callable[[list[dict[str, object]]], object]) -> Callable[[Path], None]:
    def spoiled(folder: Path) -> None:
        rows = read_lines(folder / name)
        change(rows)
        write_lines(folder / name, rows)

    return spoiled


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        (
            lambda folder: (folder / fastchat.PROMPTS).unlink(),
            "benchmark_data: mt_bench: {} lacks judge_prompts.jsonl; name a folder of the layout of FastChat's",
        ),
        (
            lambda folder: (folder / fastchat.QUESTIONS).write_text('{"question_id": 1, "cat'),
            "{}/mt_bench/question.jsonl:1: no JSON; take the file anew",
        ),
        (
            spoil(fastchat.QUESTIONS, lambda rows: rows[1].pop("category")),
            "{}/mt_bench/question.jsonl:2: no category",
        ),
        (
            spoil(fastchat.QUESTIONS, lambda rows: rows[1].update(turns=["a", "b", "c"])),
            "{}/mt_bench/question.jsonl: question 2 has not one or two turns of text",
        ),
        (
            spoil(fastchat.REFERENCES, lambda rows: rows.clear()),
            "{}/mt_bench/reference_answer: no answer to question 2, which is graded by one",
        ),
        (
            spoil(fastchat.PROMPTS, lambda rows: rows.pop(1)),
            "{}/judge_prompts.jsonl: no single-math-v1; take FastChat's",
        ),
    ],
)
def test_files_that_are_not_what_they_should_be(
    tmp_path: Path, spoiled: Callable[[Path], None], said: str
) -> None:
    folder = write_mt_bench(tmp_path / "data")
    spoiled(folder)
    with pytest.raises(UserError) as refused:
        fastchat.load(str(folder), tmp_path)
    assert str(refused.value).startswith(said.format(folder))


def test_downloads_are_hashed_and_kept(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {name: file_sha256(folder / name) for name in fastchat.SHA256}
    asked = []

    def download(url: str) -> bytes:
        asked.append(url)
        return (folder / url.removeprefix(f"{fastchat.DATA}/")).read_bytes()

    with pytest.raises(
        UserError, match=r"mt_bench/question.jsonl of lm-sys/FastChat at 0e6d3e4beaab came with another"
    ):
        fastchat.load(None, tmp_path / "kept", download)
    assert not list(tmp_path.rglob("*.jsonl"))
    monkeypatch.setattr(fastchat, "SHA256", hashes)
    asked.clear()
    found = fastchat.load(None, tmp_path / "kept", download)
    assert (found.path, found.revision) == ("lm-sys/FastChat", fastchat.COMMIT)
    assert len(found.questions) == 3
    assert sorted(asked) == sorted(f"{fastchat.DATA}/{name}" for name in hashes)
    (tmp_path / "kept" / fastchat.PROMPTS).write_text("torn")
    fastchat.load(None, tmp_path / "kept", download)
    assert asked[3:] == [f"{fastchat.DATA}/{fastchat.PROMPTS}"]


def test_without_a_network_it_is_said_what_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastchat, "DATA", "http://127.0.0.1:1/data")
    with pytest.raises(UserError) as refused:
        fastchat.load(None, tmp_path)
    assert str(refused.value).startswith(
        "mt_bench: http://127.0.0.1:1/data/mt_bench/question.jsonl can't be downloaded ("
    )
    assert str(refused.value).endswith(
        "or name a copy of FastChat's files with `benchmark_data: {mt_bench: FOLDER}`"
    )
