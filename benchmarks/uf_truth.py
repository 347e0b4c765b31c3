"""What is in rows of raw feedback, found by plain loops over each row as it is made: what an audit is held against.

It shares no code with `recipe.curate` on purpose. Rows are counted from 0, completions of a row too.
"""

from array import array
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from benchmarks.uf_marks import ASPECTS, HIGH, LOW, PLACES, TEN

SPECIAL_TOKENS = (
    "</s>",
    "<s>",
    "<unk>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
)
RULES = ("ratings", "overall_score")


class Truth:
    """Counts row after row, in their order. Of a text it keeps a number."""

    def __init__(self) -> None:
        self.rows = self.completions = self.usable = 0
        self.sources: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.models: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.ratings: dict[str, Counter[str]] = {aspect: Counter() for aspect in ASPECTS}
        self.scores: Counter[str] = Counter()
        self.left_out: dict[str, dict[str, list[int]]] = {rule: defaultdict(list) for rule in RULES}
        self.counts: Counter[str] = Counter()
        self.noticed: dict[str, list[int]] = defaultdict(list)
        self.suspicious: dict[str, list[tuple[int, int]]] = {"low": [], "between": [], "high": []}
        self.ties: Counter[str] = Counter()
        self.compared: Counter[str] = Counter()
        self.differs: Counter[str] = Counter()
        self.prompts, self.responses = array("q"), array("q")

    def add(self, row: dict[str, Any]) -> None:
        """Count the next row."""
        number, self.rows = self.rows, self.rows + 1
        answers = row["completions"]
        means = [mean_rating(answer["annotations"]) for answer in answers]
        scores = [answer["overall_score"] for answer in answers]
        notices: Counter[str] = Counter()
        self._count(row, means, notices)
        best = {"ratings": best_of(means), "overall_score": best_of(scores)}
        self._choose(row, best)
        for rule, marks in zip(RULES, (means, scores), strict=True):
            reason = reason_for(row, marks)
            if reason:
                self.left_out[rule][reason].append(number)
        for name, marks in (("ratings", means), ("score", scores)):
            if len(marks) > 1 and min(marks) == max(marks):
                self.ties[f"all_equal_by_{name}"] += 1
            elif len(marks) > 1 and marks.count(max(marks)) > 1:
                self.ties[f"top_by_{name}"] += 1
        by_ratings, by_score = best.values()
        notices["chosen_differs"] = int(None not in (by_ratings, by_score) and by_ratings != by_score)
        notices["same_response_other_score"] = same_but_rated_otherwise(answers, means, scores)
        notices["no_completions"] = int(not answers)
        notices["fewer_completions"] = int(0 < len(answers) < PLACES)
        for name, count in notices.items():
            if count:
                self.counts[name] += count
                self.noticed[name].append(number)

    def _count(self, row: dict[str, Any], means: list[float], notices: Counter[str]) -> None:
        """Count a row's marks and texts."""
        source = self.sources[row["source"]]
        source["rows"] += 1
        self.prompts.append(hash(row["instruction"]))
        look_at(row["instruction"], notices)
        for place, answer in enumerate(row["completions"]):
            self.completions += 1
            score = answer["overall_score"]
            for total in (source, self.models[answer["model"]]):
                total["completions"] += 1
                total["rating_sum"] += means[place]
                total["score_sum"] += score
            self.scores[f"{score:g}"] += 1
            for aspect in ASPECTS:
                rating = answer["annotations"][aspect]["Rating"]
                self.ratings[aspect][rating] += 1
                notices["rating_na"] += rating == "N/A"
                notices["rating_zero"] += rating == "0"
            if score == TEN:
                found = "low" if means[place] <= LOW else "high" if means[place] > HIGH else "between"
                self.suspicious[found].append((self.rows - 1, place))
                notices[f"score_10_{found}"] += 1
                self.models[answer["model"]]["score_10_low"] += found == "low"
            response = answer["response"]
            self.responses.append(hash(response))
            notices["empty_response"] += not response.strip()
            self.usable += bool(response.strip())
            look_at(response, notices)

    def _choose(self, row: dict[str, Any], best: dict[str, int | None]) -> None:
        """Count what the two rules choose."""
        for rule, name in zip(RULES, ("chosen_by_ratings", "chosen_by_score"), strict=True):
            place = best[rule]
            if place is not None:
                self.models[row["completions"][place]["model"]][name] += 1
        if None not in best.values():
            self.compared[row["source"]] += 1
            self.differs[row["source"]] += best["ratings"] != best["overall_score"]

    def as_dict(self) -> dict[str, Any]:
        """Return all that was counted, for a JSON file."""
        groups: dict[int, list[int]] = defaultdict(list)
        prompts = np.frombuffer(self.prompts, np.int64)
        values, counts = np.unique(prompts, return_counts=True)
        again = set(values[counts > 1].tolist())
        for number, prompt in enumerate(self.prompts):
            if prompt in again:
                groups[prompt].append(number)
        repeated = sorted(number for rows in groups.values() for number in rows[1:])
        _, same = np.unique(np.frombuffer(self.responses, np.int64), return_counts=True)
        compared, differs = self.compared.total(), self.differs.total()
        return {
            "rows": self.rows,
            "completions": self.completions,
            "completions_with_text": self.usable,
            "by_source": {name: means_of(facts) for name, facts in sorted(self.sources.items())},
            "by_model": {name: means_of(facts) for name, facts in sorted(self.models.items())},
            "ratings": {aspect: dict(sorted(counts.items())) for aspect, counts in self.ratings.items()},
            "scores": dict(sorted(self.scores.items(), key=lambda item: float(item[0]))),
            "left_out": {rule: dict(sorted(found.items())) for rule, found in self.left_out.items()},
            "noticed": {
                name: {"count": self.counts[name], "rows": rows}
                for name, rows in sorted(self.noticed.items())
            }
            | ({"duplicate_prompt": {"count": len(repeated), "rows": repeated}} if repeated else {}),
            "choice": {
                "compared": compared,
                "differs": differs,
                "by_source": {
                    name: {"compared": count, "differs": self.differs[name]}
                    for name, count in sorted(self.compared.items())
                },
            },
            "suspicious": self.suspicious,
            "ties": {
                f"{what}_by_{name}": self.ties[f"{what}_by_{name}"]
                for what in ("all_equal", "top")
                for name in ("ratings", "score")
            },
            "duplicates": {
                "prompts": len(groups),
                "rows": len(repeated),
                "groups": list(groups.values()),
                "responses": int((same - 1).sum()),
                "response_groups": int((same > 1).sum()),
            },
        }


def mean_rating(annotations: dict[str, Any]) -> float:
    """Return the mean over the aspects that are rated, which some are."""
    numbers = [int(note["Rating"]) for note in annotations.values() if note["Rating"] != "N/A"]
    return sum(numbers) / len(numbers)


def best_of(marks: list[float]) -> int | None:
    """Return the place of the first best, None if there is no better and worse one."""
    return marks.index(max(marks)) if len(marks) > 1 and max(marks) > min(marks) else None


def reason_for(row: dict[str, Any], marks: list[float]) -> str | None:
    """Return why the row gives no pair, if the rejected answer is the first of the lowest."""
    if len(marks) < 2:
        return "too_few_completions"
    if min(marks) == max(marks):
        return "equal_ratings"
    chosen, rejected = (row["completions"][marks.index(end(marks))]["response"] for end in (max, min))
    if not row["instruction"].strip():
        return "empty_prompt"
    if not chosen.strip() or not rejected.strip():
        return "empty_response"
    return "equal_answers" if chosen == rejected else None


def same_but_rated_otherwise(answers: list[dict[str, Any]], means: list[float], scores: list[float]) -> int:
    """Return how many answers say the same as another one of the row, where not all who do are marked alike."""
    marks: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for answer, mean, score in zip(answers, means, scores, strict=True):
        marks[answer["response"]].append((mean, score))
    return sum(len(found) for found in marks.values() if len(set(found)) > 1)


def look_at(text: str, notices: Counter[str]) -> None:
    """Count what is odd about a prompt or an answer."""
    stripped = text.strip()
    notices["edge_whitespace"] += stripped not in ("", text)
    notices["replacement_character"] += "\ufffd" in text
    notices["special_token"] += "<" in text and any(token in text for token in SPECIAL_TOKENS)


def means_of(facts: dict[str, float]) -> dict[str, float]:
    """Return counts, and means in place of sums."""
    count = int(facts["completions"])
    found = {name: int(value) for name, value in facts.items() if not name.endswith("_sum")}
    means = {
        f"mean_{of}": round(facts[f"{of}_sum"] / count, 4) if count else None for of in ("rating", "score")
    }
    return {**found, **means}  # type: ignore[dict-item]
