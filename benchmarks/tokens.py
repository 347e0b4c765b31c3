"""How fast pairs become tokens and lie in their optimizer steps, beside the tokenizer library alone.

    python benchmarks/tokens.py [--pairs 61619] [--dataset FILE] [--tokenizer DIR] [--out FILE]

The library gets the texts that the rule tokenizes, ready, and has to give its own encodings: no token id is looked at.
Ours begins with a curated Parquet file and ends with the table of token ids and masks, truncated by the rule and kept
on the disk, and with the tensors of every optimizer step of an epoch. Both go through the pairs part by part, in turn.
"""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))  # a clone need not be installed

from datasets import Dataset
from pyarrow import parquet
from tokenizers import Tokenizer

from benchmarks.device import cores, cpu_name
from benchmarks.isolate import Isolated
from benchmarks.rows import drawn_lengths
from benchmarks.work import Spent
from recipe.builtin.tokenizer import train_tokenizer
from recipe.curate import Rules, pairs_in_order
from recipe.curate.pair import Pair, Reason, Turn
from recipe.curate.table import write_pairs
from recipe.disk import write_json
from recipe.errors import UserError
from recipe.hush import hush_libraries
from recipe.kept_tokens import TOKENIZED_BY, KeptTokens
from recipe.load import load_recipe
from recipe.packed import MULTIPLE, TOKENS, StepPacks
from recipe.progress import Reporter
from recipe.prompt import ChatFormat, PairTokenizer, Texts, Zephyr2023, pair_tokenizer
from recipe.schedule import schedule_of
from recipe.schema import Recipe
from recipe.tokenized import BATCH, texts_of
from recipe.tokenizer import load_tokenizer

PAIRS = 61619  # of UltraFeedback
PARTS = 10
RULES = ("zephyr-2023", "current")
VOCABULARY = 32000
AROUND = {"prompt": 25, "chosen": 4, "rejected": 4}  # tokens that the template adds
SIDES = tuple(AROUND)
FIGURES = ("share_of_library_rate", "pairs_per_s", "library_pairs_per_s", "cached_s", "peak_gb")
QUIET = Reporter(quiet=True)


@dataclass(frozen=True)
class Setting:
    """What is tokenized: a folder with `tokenizer/`, and by which rule."""

    folder: Path
    rule: str

    @property
    def recipe(self) -> Recipe:
        """The full-size recipe, by this rule."""
        return load_recipe("notus-7b-v1-lora", [f"tokenization={self.rule}", "num_train_epochs=1"])

    def tokenizer(self) -> PairTokenizer:
        """Return the rule."""
        return pair_tokenizer(load_tokenizer(self.folder / "tokenizer"), self.recipe.science)


@dataclass(frozen=True)
class Turned:
    """What one part took, of each side."""

    pairs: int
    library: Spent
    tokens: Spent
    layout: Spent

    @property
    def ours(self) -> Spent:
        """Tokens and layout."""
        return Spent(
            self.tokens.seconds + self.layout.seconds, self.tokens.cpu_seconds + self.layout.cpu_seconds
        )


def main(
    pairs: Annotated[int, typer.Option(min=1000, help="How many pairs.")] = PAIRS,
    dataset: Annotated[
        Path | None, typer.Option(help="Preference data to take words from. [default: words that are drawn]")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The folder of a tokenizer with an end-of-sequence token. [default: trained on the words]"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all that was measured as JSON.")] = None,
) -> None:
    """Measure tokenizing and laying out."""
    reporter = Reporter()
    if not reporter.console.is_terminal:
        reporter.console.width = 100  # a log has no width of its own
    isolated = Isolated("forkserver")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            mean = isolated.call(prepare, folder, pairs, dataset, tokenizer)
        except UserError as error:
            reporter.errors.print(f"tokens: {error}", markup=False)
            raise typer.Exit(2) from None
        report: dict[str, Any] = {
            "pairs": pairs,
            "texts": dataset.name if dataset else "drawn words",
            "tokenizer": tokenizer.name if tokenizer else f"trained, {VOCABULARY} tokens at most",
            "characters_a_pair": mean,
            "cpu": cpu_name(),
            "cores": cores(),
            "versions": {name: version(name) for name in TOKENIZED_BY},
            "rules": {},
        }
        for rule in RULES:
            setting = Setting(folder, rule)
            turned = isolated.call(in_turn, setting)
            whole = isolated.call(whole_run, setting)
            report["rules"][rule] = summary(turned) | whole
    slowest = min(report["rules"].values(), key=lambda found: float(found["share_of_library_rate"]))
    report |= {name: slowest[name] for name in FIGURES}
    show(report, reporter)
    if out is not None:
        write_json(out, report)


def prepare(folder: Path, pairs: int, dataset: Path | None, tokenizer: Path | None) -> float:
    """Write pairs of UltraFeedback's lengths, whole and in parts, and a tokenizer; return a pair's mean characters."""
    draw = Random(0)
    words = _words_of(dataset) if dataset else _drawn_words(draw)
    found = load_tokenizer(tokenizer) if tokenizer else train_tokenizer(_pieces(words), VOCABULARY)
    found.save_pretrained(str(folder / "tokenizer"))
    backend = Tokenizer.from_str(found.backend_tokenizer.to_str())
    sample = words[:1_000_000]
    each = len(sample) / sum(map(len, backend.encode_batch_fast(_pieces(sample), add_special_tokens=False)))

    def text(tokens: int) -> str:
        length = round(max(1, tokens) * each)
        start = draw.randrange(max(1, len(words) - length))
        return words[start : start + length]

    made = []
    for lengths in drawn_lengths(pairs, seed=0):
        prompt, chosen, rejected = (text(lengths[side] - AROUND[side]) for side in SIDES)
        made.append(Pair(prompt=(Turn("user", prompt),), chosen=chosen, rejected=rejected))
    write_pairs(made, folder / "train.parquet")
    for part in range(PARTS):
        (folder / f"part-{part}").mkdir()
        write_pairs(made[part::PARTS], folder / f"part-{part}" / "train.parquet")
    return statistics.mean(
        len(pair.prompt[0].content) + len(pair.chosen) + len(pair.rejected) for pair in made
    )


def in_turn(setting: Setting) -> list[Turned]:
    """Go through the parts, the library and ours in turn, in another order each time."""
    hush_libraries(bars=False)  # as a training does
    rule, found = setting.tokenizer(), []
    for part in range(PARTS):
        folder = setting.folder / f"part-{part}"
        texts = list(library_texts(rule, folder / "train.parquet"))
        backend = plain_backend(setting)
        library = spent(lambda: encode(backend, texts))[0] if part % 2 else None  # noqa: B023 - called at once
        kept = KeptTokens(folder / setting.rule, setting.folder / "tokenizer", rule, setting.recipe)
        tokens, (rows, _) = spent(lambda: kept.tokenized(folder / "train.parquet", QUIET))  # noqa: B023
        layout, _ = spent(lambda: lay_out(rows, setting.recipe))  # noqa: B023
        library = library or spent(lambda: encode(backend, texts))[0]  # noqa: B023
        found.append(Turned(len(rows), library, tokens, layout))
    return found


def whole_run(setting: Setting) -> dict[str, float]:
    """Do it with all pairs at once, and once more; return the seconds, and the most memory that the process had."""
    hush_libraries(bars=False)
    rule = setting.tokenizer()
    before = peak_bytes()
    path = setting.folder / "train.parquet"
    kept = KeptTokens(setting.folder / setting.rule, setting.folder / "tokenizer", rule, setting.recipe)
    tokens, (rows, counts) = spent(lambda: kept.tokenized(path, QUIET))
    layout, _ = spent(lambda: lay_out(rows, setting.recipe))
    peak = peak_bytes()
    again = KeptTokens(setting.folder / setting.rule, setting.folder / "tokenizer", rule, setting.recipe)
    cached, (read, known) = spent(lambda: again.tokenized(path, QUIET))
    assert (len(read), known) == (len(rows), counts)
    return {
        "whole_tokens_s": tokens.seconds,
        "whole_layout_s": layout.seconds,
        "cached_s": cached.seconds,
        "peak_gb": peak / 1e9,
        "peak_of_imports_gb": before / 1e9,
        "kept_gb": (setting.folder / setting.rule / "train.arrow").stat().st_size / 1e9,
        **{name: counts[name] for name in counts if name.startswith("mean_")},
    }


def lay_out(rows: Dataset, recipe: Recipe) -> None:
    """Lay every optimizer step of an epoch for one device, in packs as a GPU has them."""
    steps = StepPacks(rows, schedule_of(recipe.science, len(rows)), TOKENS["cuda"], MULTIPLE["cuda"], 1, 0)
    for step in range(len(steps)):
        steps[step]


def library_texts(rule: PairTokenizer, path: Path) -> Iterator[list[str]]:
    """Yield what the rule has tokenized, batch by batch: of each pair the prompt, and with it or alone both answers."""
    with parquet.ParquetFile(path) as file:
        for texts in texts_of(file):
            yield _texts_by(rule, texts)


def _texts_by(rule: PairTokenizer, texts: Sequence[Texts]) -> list[str]:
    if isinstance(rule, Zephyr2023):
        return [
            text
            for prompt, chosen, rejected in texts
            for text in (
                rule.prompt_text(prompt),
                rule.answer_text(prompt, chosen),
                rule.answer_text(prompt, rejected),
            )
        ]
    assert isinstance(rule, ChatFormat)
    found = []
    for prompt, *answers in texts:
        found.append(rule.render(prompt, generate=True))
        found += [rule.render([*prompt, {"role": "assistant", "content": answer}]) for answer in answers]
    return found


def plain_backend(setting: Setting) -> Tokenizer:
    """Return the library's own tokenizer, which truncates and pads nothing."""
    backend = Tokenizer.from_file(str(setting.folder / "tokenizer" / "tokenizer.json"))
    backend.no_truncation()
    backend.no_padding()
    return backend


def encode(backend: Tokenizer, batches: Sequence[Sequence[str]]) -> None:
    """Tokenize, and no more."""
    for texts in batches:
        backend.encode_batch_fast(list(texts), add_special_tokens=False)


def spent(work: Callable[[], Any]) -> tuple[Spent, Any]:
    """Return what some work took, and gave."""
    before = Spent(time.perf_counter(), time.process_time())
    found = work()
    return Spent(time.perf_counter(), time.process_time()) - before, found


def peak_bytes() -> int:
    """Return the most memory that this process had."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def summary(turned: Sequence[Turned]) -> dict[str, Any]:
    """Return the figures of a rule: rates over all parts, shares the median of the parts'."""
    pairs = sum(one.pairs for one in turned)
    return {
        "share_of_library_rate": statistics.median(one.library.seconds / one.ours.seconds for one in turned),
        "share_by_cpu_seconds": statistics.median(
            one.library.cpu_seconds / one.ours.cpu_seconds for one in turned
        ),
        "pairs_per_s": pairs / sum(one.ours.seconds for one in turned),
        "library_pairs_per_s": pairs / sum(one.library.seconds for one in turned),
        "layout_share": sum(one.layout.seconds for one in turned) / sum(one.ours.seconds for one in turned),
        "parts": [
            {"pairs": one.pairs}
            | {
                f"{name}_{unit}": getattr(getattr(one, name), unit)
                for name in ("library", "tokens", "layout")
                for unit in ("seconds", "cpu_seconds")
            }
            for one in turned
        ],
    }


def show(report: dict[str, Any], reporter: Reporter) -> None:
    """Print the table."""
    reporter.head(f"tokenizing on {report['cpu']}, {report['cores']} cores")
    reporter.say(
        f"{report['pairs']:,} pairs of {report['characters_a_pair']:,.0f} characters ({report['texts']}), tokenizer: "
        f"{report['tokenizer']};\nmedians of {PARTS} parts in turn, in batches of {BATCH} pairs\n"
    )
    reporter.table(
        ("", "library, pairs/s", "ours", "share", "by CPU time", "layout", "from the disk", "peak RSS"),
        [
            (
                rule,
                f"{found['library_pairs_per_s']:,.0f}",
                f"{found['pairs_per_s']:,.0f}",
                f"{found['share_of_library_rate']:.2f}",
                f"{found['share_by_cpu_seconds']:.2f}",
                f"{found['layout_share']:.1%}",
                f"{found['cached_s']:.2f} s",
                f"{found['peak_gb']:.2f} GB",
            )
            for rule, found in report["rules"].items()
        ],
    )


def _words_of(dataset: Path) -> str:
    recipe = load_recipe("notus-7b-v1-lora", [f"dataset={dataset}", "dataset_splits=[train]"])
    science = recipe.science
    texts = []
    for _, pair in pairs_in_order([dataset], rules=Rules.of(science), dataset_format=science.dataset_format):
        if not isinstance(pair, Reason):
            texts += [*(turn.content for turn in pair.prompt), pair.chosen, pair.rejected]
    if sum(map(len, texts)) < 100_000:
        raise UserError(f"{dataset}: too little text; give more")
    return "\n".join(texts)


def _drawn_words(draw: Random) -> str:
    """Return text of made-up words, some of them far commoner than others, in sentences and lines."""
    syllables = [
        one + two for one in "bcdfghjklmnprstvwz" for two in ("a", "e", "i", "o", "u", "an", "er", "is")
    ]
    words = ["".join(draw.choices(syllables, k=draw.choice((1, 1, 2, 2, 3, 4)))) for _ in range(20_000)]
    common = [1 / (place + 3) for place in range(len(words))]
    parts: list[str] = []
    for word in draw.choices(words, common, k=600_000):
        after = draw.choices((" ", ", ", ". ", ".\n", "\n\n- ", ": "), (80, 7, 8, 3, 1, 1))[0]
        parts.append((word.capitalize() if parts and parts[-1][-2:] in (". ", ".\n") else word) + after)
    return "".join(parts)


def _pieces(words: str) -> list[str]:
    return [words[start : start + 2000] for start in range(0, len(words), 2000)]


if __name__ == "__main__":
    typer.run(main)
