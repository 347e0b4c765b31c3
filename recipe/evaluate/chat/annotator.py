"""alpaca_eval's annotators with a judge of ours: their prompts, order of outputs and parsers, but not their clients.

The package's own client returns empty answers once its retries are used up, and keeps nothing before all of a chunk is
answered. So an annotator is run twice: up to its prompts, which are then judged elsewhere, and again with the answers.
"""

import contextlib
import difflib
import importlib
import importlib.util
import io
import logging
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml
from packaging.version import parse as parse_version

from recipe.errors import UserError
from recipe.evaluate.chat.client import Choice, Request, text_of

Row = dict[str, Any]

SEED = 0  # the package's own; by it and the instruction is drawn which output is shown first
LONGEST = ("max_tokens", "max_tokens_to_sample", "max_new_tokens")  # as its clients call it
TO_JUDGE = ("temperature", "top_p", "logprobs", "top_logprobs", "tools", "tool_choice")
# Which model and where, how its library is called, what its tokens cost.
OF_CLIENTS = (
    *("model_name", "model_kwargs", "client_kwargs", "client_function_name", "price_per_token"),
    *("num_procs", "batch_size", "requires_chatml", "is_chatml_prompt"),
)
MESSAGE = "<|im_"  # what its prompts are made of messages with
# What a text may not spell out in a prompt, and the characters, of a plane that text has none of, that stand for it.
_PARTS = (MESSAGE, "{instruction}", "{output_1}", "{output_2}")
HIDDEN = {part: chr(0x10FF00 + place) for place, part in enumerate(_PARTS)}


class Annotator:
    """One of the package's annotators.

    Args:
        name: Its folder there.

    Raises:
        UserError: There is none of this name, or it is not one for a judge at an endpoint.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        config = config_of(name)
        self.parameters = parameters_of(name, config)
        self._whole = config.get("completion_key") == "completions_all"
        self._complete: Callable[[Sequence[str]], dict[str, list[Any]]] = _collect
        package = _import("alpaca_eval.annotators")

        class Ours(package.PairwiseAnnotator):  # type: ignore[misc, name-defined]
            @property
            def SingleAnnotator(own) -> Callable[..., Any]:  # noqa: N802, N805
                single = super().SingleAnnotator
                return lambda **configured: single(
                    **configured | {"fn_completions": lambda prompts, **_: self._complete(prompts)}
                )

        with quiet():
            self._pool = Ours(
                annotators_config=name, seed=SEED, caching_path=None, is_avoid_reannotations=False
            )
        (self._single,) = self._pool.annotators.values()

    def requests(self, references: Sequence[Row], outputs: Sequence[Row]) -> list[Request]:
        """Return what the judge is to be asked, to compare each output with the reference at the same place.

        Pairs that are the same are asked for once, and those of two equal outputs are a draw without asking.
        """
        self._complete = _collect
        try:
            self._run(references, outputs)
        except _CollectedError as collected:
            return [self._request(prompt) for prompt in collected.prompts]
        return []

    def annotate(
        self,
        references: Sequence[Row],
        outputs: Sequence[Row],
        requests: Sequence[Request],
        choices: Sequence[Choice],
    ) -> list[Row]:
        """Return the package's annotations, a row a pair, from the answers to `requests`."""
        answers = {one.text: choice for one, choice in zip(requests, choices, strict=True)}

        def complete(prompts: Sequence[str]) -> dict[str, list[Any]]:
            found = [answers[self._request(prompt).text] for prompt in prompts]
            return {
                "completions": [text_of(one) for one in found],
                "completions_all": [_dump(one) for one in found],
            }

        self._complete = complete
        return [
            {key: _shown(value) if isinstance(value, str) else _plain(value) for key, value in row.items()}
            for row in self._run(references, outputs)
        ]

    def verdict(self, choice: Choice) -> tuple[Any, ...] | None:
        """Return what the annotator's parser reads in an answer; None if that is nothing, or not what was asked for.

        Raises:
            UserError: It reads log-probabilities, and the answer has none.
        """
        if self.parameters.get("logprobs") and not choice.get("logprobs"):
            raise UserError(
                f"alpaca_eval: {self.name} reads the judge's log-probabilities, and its endpoint gives none; set "
                "`alpaca_annotator` to one that reads what it says, as alpaca_eval_gpt4"
            )
        try:
            found = tuple(
                self._single.fn_completion_parser(_dump(choice) if self._whole else text_of(choice))
            )
        except Exception:  # they raise whatever they meet; the package takes it for no verdict as well
            return None
        sound = len(found) == self._single.batch_size and all(_plain(value) is not None for value in found)
        return found if sound else None

    def _run(self, references: Sequence[Row], outputs: Sequence[Row]) -> list[Row]:
        with quiet():
            found: list[Row] = self._pool.annotate_head2head(
                [_hidden(row) for row in references],
                [_hidden(row) for row in outputs],
                is_ordered=True,
                chunksize=None,
            )
        return found

    def _request(self, prompt: str) -> Request:
        messages = _import("alpaca_eval.utils").prompt_to_chatml(prompt)
        return Request(
            [{key: _shown(value) for key, value in message.items()} for message in messages], self.parameters
        )


def winrate(annotations: Sequence[Row]) -> dict[str, float]:
    """Return the package's own figures of annotations: `win_rate`, `standard_error`, `discrete_win_rate`, `n_total`.

    In percent, and how many; `standard_error` is NaN for one annotation alone.
    """
    with quiet():
        found = _import("alpaca_eval.metrics").get_winrate(list(annotations))
    return {name: float(value) for name, value in found.items()}


def config_of(name: str) -> Row:
    """Return the configuration of an annotator, as its file has it.

    Raises:
        UserError: There is none of this name, or it is several.
    """
    folder = _folder()
    known = sorted(path.parent.name for path in folder.glob("*/configs.yaml"))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        raise UserError(f"alpaca_annotator: alpaca_eval has none named {name!r}; did you mean {near!r}?")
    configs = yaml.safe_load((folder / name / "configs.yaml").read_text(encoding="utf-8"))
    if len(configs) > 1:
        raise UserError(
            f"alpaca_annotator: {name} is {len(configs)} judges, and one is asked here; take another"
        )
    (config,) = configs.values()
    template = folder / str(config["prompt_template"])
    if not template.read_text(encoding="utf-8").lstrip().startswith(MESSAGE):
        raise UserError(
            f"alpaca_annotator: {name} asks in a text, and judges are asked in messages here; take another"
        )
    return dict(config)


def parameters_of(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an annotator's configuration goes to the judge with each request.

    Raises:
        UserError: It has what only a client of the package can do.
    """
    found: dict[str, Any] = {}
    for key, value in (config.get("completions_kwargs") or {}).items():
        if key in LONGEST:
            found["max_tokens"] = value
        elif key in TO_JUDGE:
            found[key] = value
        elif key not in OF_CLIENTS:
            raise UserError(
                f"alpaca_annotator: {name} asks with {key}, which alpaca_eval's own client alone can do; take another"
            )
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the package says to itself: it logs on the root logger, warns, and shows a bar of its own."""
    root = logging.getLogger()
    silent, level = logging.NullHandler(), root.level
    root.addHandler(silent)  # without any, its first line would install one for good
    root.addFilter(_not_its_own)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_not_its_own)
        root.removeHandler(silent)
        root.setLevel(level)


def _not_its_own(record: logging.LogRecord) -> bool:
    return f"{os.sep}alpaca_eval{os.sep}" not in record.pathname


def _import(name: str) -> Any:
    """Return a module of the package, without what its import does besides.

    It reads a `.env` file that lies about, sets the root logger's level, and needs pkg_resources, which setuptools has
    no more, for two functions.
    """
    if name in sys.modules:
        return sys.modules[name]
    stand_in: Any = types.ModuleType("pkg_resources")
    stand_in.parse_version, stand_in.get_distribution = parse_version, distribution
    before = {"pkg_resources": sys.modules.get("pkg_resources")}
    told = os.environ.get("PYTHON_DOTENV_DISABLED")
    sys.modules["pkg_resources"], os.environ["PYTHON_DOTENV_DISABLED"] = stand_in, "1"
    try:
        with quiet():
            return importlib.import_module(name)
    finally:
        for module, was in before.items():
            sys.modules.pop(module) if was is None else sys.modules.update({module: was})
        os.environ.pop("PYTHON_DOTENV_DISABLED") if told is None else os.environ.update(
            PYTHON_DOTENV_DISABLED=told
        )


def _folder() -> Path:
    found = importlib.util.find_spec("alpaca_eval")  # not imported: that takes seconds
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "evaluators_configs"


class _CollectedError(Exception):
    """Ends a run once its prompts are known."""

    def __init__(self, prompts: Sequence[str]) -> None:
        super().__init__()
        self.prompts = list(prompts)


def _collect(prompts: Sequence[str]) -> dict[str, list[Any]]:
    raise _CollectedError(prompts)


def _dump(choice: Choice) -> Row:
    """Return an answer as the package's client gives it to parsers that want all of it."""
    return {**choice, "text": text_of(choice)}


def _hidden(row: Row) -> Row:
    """Return a row whose texts spell out nothing that a prompt is made with."""
    return {key: _replaced(value, HIDDEN) if isinstance(value, str) else value for key, value in row.items()}


def _shown(text: str) -> str:
    return _replaced(text, {mark: part for part, mark in HIDDEN.items()})


def _replaced(text: str, by: Mapping[str, str]) -> str:
    for old, new in by.items():
        text = text.replace(old, new)
    return text


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a number that is none is None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124
