"""Twenty instructions as AlpacaEval has them, and MT-Bench questions in FastChat's layout, written for these tests."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

INSTRUCTIONS = {
    "Name three uses for an old brick.": "Prop a door open, weigh down a tarpaulin, or edge a flower bed.",
    "What is the capital of Portugal?": "The capital of Portugal is Lisbon.",
    "Write one line about the south wind.": "The south wind came with rain and the smell of dust.",
    "How do I keep basil alive?": "Give it sun, water it from below, and pinch off the tips.",
    "What is 17 plus 25?": "17 plus 25 is 42.",
    "Say good morning in French.": "Bonjour.",
    "Why is the sky blue?": "Air scatters blue light more than red light.",
    "Give a synonym of happy.": "Cheerful.",
    "Which planet has rings that are easy to see?": "Saturn.",
    "Suggest a name for a grey cat.": "Ash.",
    "What does a thermometer measure?": "Temperature.",
    "Turn this into a question: You like tea.": "Do you like tea?",
    "Name a river in Germany.": "The Rhine.",
    "How many legs does a spider have?": "A spider has eight legs.",
    "Write a short apology for being late.": "I am sorry that I kept you waiting.",
    "What is the opposite of narrow?": "Wide.",
    "Name two vegetables that are green.": "Spinach and peas.",
    "What do bees make?": "Honey and wax.",
    "Give a reason to read books.": "They let you see with other people's eyes.",
    "What comes after Tuesday?": "Wednesday.",
}

QUESTIONS: list[dict[str, Any]] = [
    {
        "question_id": 1,
        "category": "writing",
        "turns": ["Write a sentence about a lighthouse.", "Now make it a question."],
    },
    {
        "question_id": 2,
        "category": "math",
        "turns": ["What is 6 times 7?", "And what is half of that?"],
        "reference": ["42", "21"],
    },
    {
        "question_id": 3,
        "category": "stem",
        "turns": ["What does a leaf do?", "Say it in five words."],
    },
]
REFERENCES = [
    {
        "question_id": 2,
        "answer_id": "r2",
        "model_id": "gpt-4",
        "choices": [{"index": 0, "turns": ["6 times 7 is 42.", "Half of 42 is 21."]}],
        "tstamp": 0.0,
    }
]
# Prompts of our own, with FastChat's names and fields, that a small judge can follow: FastChat's texts are not in this
# repository.
ASKED = "Repeat one of these lines, and say nothing else:\nRating: [[1]]\nRating: [[5]]\nRating: [[10]]"
_REFERENCE, _ANSWER = "[Reference]\n{ref_answer_1}", "[Question]\n{question}\n[Answer]\n{answer}"
_BOTH = "[Question]\n{question_1}\n[Answer]\n{answer_1}\n[Question]\n{question_2}\n[Answer]\n{answer_2}"
PROMPTS = {
    "single-v1": f"Grade the answer.\n{_ANSWER}\n\n{ASKED}",
    "single-math-v1": f"Grade the answer.\n{_REFERENCE}\n{_ANSWER}\n\n{ASKED}",
    "single-v1-multi-turn": f"Grade the second answer.\n{_BOTH}\n\n{ASKED}",
    "single-math-v1-multi-turn": f"Grade the second.\n{_REFERENCE}\n{{ref_answer_2}}\n{_BOTH}\n\n{ASKED}",
}


def write_alpaca(path: Path, number: int | None = None) -> Path:
    """Write instructions and reference outputs in the data set's schema."""
    rows = [
        {"instruction": asked, "output": output, "generator": "written-by-hand", "dataset": "tests"}
        for asked, output in list(INSTRUCTIONS.items())[:number]
    ]
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


def write_mt_bench(folder: Path, number: int | None = None) -> Path:
    """Write questions, reference answers and judge prompts in FastChat's layout."""
    (folder / "mt_bench" / "reference_answer").mkdir(parents=True)
    prompts = [
        {
            "name": name,
            "type": "single",
            "system_prompt": "You are a helpful assistant.",
            "prompt_template": template,
        }
        for name, template in PROMPTS.items()
    ]
    write_lines(folder / "judge_prompts.jsonl", prompts)
    write_lines(folder / "mt_bench" / "question.jsonl", QUESTIONS[:number])
    write_lines(folder / "mt_bench" / "reference_answer" / "gpt-4.jsonl", REFERENCES)
    return folder


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
