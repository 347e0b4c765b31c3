"""lm-eval's requests, answered by the model and kept as they are: what was killed goes on with the next batch.

lm-eval's own cache (`CachingLM`) knows which requests are answered; where they lie is ours. Its sqlite keeps answers
one by one, and waits for ever for a disk that is full. Here they are kept a batch at a time: lm-eval sorts requests and
cuts them into batches in that order, so those that are left are cut as if nobody had been killed, and figures come out
the same to the bit.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

from lm_eval.api.model import CacheHook, CachingLM, hash_args
from lm_eval.models.huggingface import HFLM

from recipe.errors import UserError
from recipe.evaluate.ledger import Ledger
from recipe.evaluate.subject import Subject
from recipe.progress import Bar, Reporter
from recipe.schema import canonical_sha256

CUT = "cut "  # marks, among the answers, the requests that were longer than the model's context


class Model(HFLM):  # type: ignore[misc]
    """lm-eval's Transformers model, which keeps its answers a batch at a time, and shows that it works.

    Args:
        model: Loaded, on its device.
        tokenizer: Its.
        batch_size: Requests in a batch.
        reporter: Shows a bar.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int, reporter: Reporter) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        self.reporter = reporter
        self.title = ""

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> Any:
        """Answer how likely texts are."""
        with self._shown(requests):
            return super().loglikelihood(requests, disable_tqdm=True)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> Any:
        """Answer how likely whole documents are."""
        with self._shown(requests):
            return super().loglikelihood_rolling(requests, disable_tqdm=True)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> Any:
        """Answer with text.

        Raises:
            UserError: The model's context has no room for the answers.
        """
        longest = max(request.args[1].get("max_gen_toks", self.max_gen_toks) for request in requests)
        if longest >= self.max_length:
            raise UserError(
                f"{self.title}: answers may have {longest} tokens, and the model reads {self.max_length} in all; leave "
                "the task out by benchmark_tasks"
            )
        with self._shown(requests):
            return super().generate_until(requests, disable_tqdm=True)

    def tok_batch_encode(
        self,
        strings: Sequence[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> Any:
        """Tokenize prompts, cut at their beginning if they are too long, and remember which were."""
        ids, mask = super().tok_batch_encode(strings, padding_side, None, truncation)
        if left_truncate_len and ids.shape[1] > left_truncate_len:
            for text, kept in zip(strings, mask, strict=True):
                if int(kept.sum()) > left_truncate_len:
                    self._cut(text)
            ids, mask = ids[:, -left_truncate_len:], mask[:, -left_truncate_len:]
        return ids, mask

    def _loglikelihood_tokens(self, requests: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        for texts, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise UserError(
                    f"{self.title}: an answer has {len(continuation)} tokens, and the model reads {self.max_length}; "
                    "leave the task out by benchmark_tasks"
                )
            if len(context) + len(continuation) > self.max_length + 1:
                self._cut(texts or (context, continuation))
        return super()._loglikelihood_tokens(requests, *args, **kwargs)

    def _model_call(self, *args: Any, **kwargs: Any) -> Any:
        self._keep()
        return super()._model_call(*args, **kwargs)

    def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
        self._keep()
        return super()._model_generate(*args, **kwargs)

    def _keep(self) -> None:
        """Bring the batches before this one to the disk."""
        if (kept := self.cache_hook.dbdict) is not None:
            kept.commit()

    def _cut(self, request: object) -> None:
        if (kept := self.cache_hook.dbdict) is not None:
            kept[CUT + hash_args("cut", [request])] = True

    @contextmanager
    def _shown(self, requests: Sequence[Any]) -> Iterator[None]:
        many = len(requests) > self.batch_size  # one batch is over at once
        with self.reporter.bar(self.title, len(requests)) if many else nullcontext() as bar:
            hook = cast("_Counting", self.cache_hook)
            hook.bar = bar
            try:
                yield
            finally:
                hook.bar = None


class Answers:
    """Answers by the hash of a request, as lm-eval's cache asks for them; a line of a ledger for each batch.

    Args:
        path: The ledger.
    """

    def __init__(self, path: Path) -> None:
        self._ledger = Ledger(path)
        self._kept: dict[str, str] = {}
        for entry in self._ledger.entries():
            answers = entry.get("answers")
            self._kept |= answers if isinstance(answers, dict) else {}
        self._new: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._kept or key in self._new

    def __getitem__(self, key: str) -> Any:
        return json.loads(self._kept[key] if key in self._kept else self._new[key])

    def __setitem__(self, key: str, answer: Any) -> None:
        if key not in self:
            self._new[key] = json.dumps(answer)  # as text: a likelihood may be infinite

    def commit(self) -> None:
        """Bring to the disk what was answered since the last time: all of it, or nothing.

        Raises:
            OSError: The disk is full.
        """
        if self._new:
            self._ledger.add(canonical_sha256(sorted(self._new)), {"answers": self._new})
            self._kept |= self._new
            self._new = {}

    def count(self, *, cut: bool) -> int:
        """Return how many requests are answered, or how many were cut."""
        return sum(key.startswith(CUT) == cut for key in [*self._kept, *self._new])


class Kept(CachingLM):  # type: ignore[misc]
    """lm-eval's cache over a model, which keeps what it answers when the model says so.

    Args:
        model: Answers what is not kept.
        path: The file.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self.lm = model
        self.cache_db = str(path)
        self.dbdict = Answers(path)
        model.set_cache_hook(_Counting(self))

    @property
    def answered(self) -> int:
        """How many requests are answered."""
        return self.dbdict.count(cut=False)

    @property
    def cut(self) -> int:
        """How many requests were longer than the model's context, and cut at their beginning."""
        return self.dbdict.count(cut=True)


class _Counting(CacheHook):  # type: ignore[misc]
    """Counts the answers on a bar."""

    bar: Bar | None = None

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        super().add_partial(attr, req, res)
        if self.bar is not None:
            self.bar.advance()


def load_vllm(subject: Subject, batch_size: int) -> Any:
    """Return lm-eval's vLLM model of a subject's weights. It batches by itself: its answers are kept at the end."""
    from lm_eval.models.vllm_causallms import VLLM

    lora: dict[str, Any] = {}
    if subject.weights == "adapter":
        lora = {
            "lora_local_path": str(subject.run.path("adapter")),
            "max_lora_rank": subject.run.recipe.science.lora_r,
        }
    place, tokenizer = str(subject.place), str(subject.tokenizer_place)
    return VLLM(pretrained=place, tokenizer=tokenizer, dtype="auto", batch_size=batch_size, seed=1234, **lora)


@contextmanager
def hushed() -> Iterator[None]:
    """Keep lm-eval's bars and notes out of the way, and those of what it reads rows with."""
    import datasets
    import lm_eval.api.model
    import lm_eval.api.task
    import lm_eval.models.huggingface
    from tqdm import tqdm

    modules = (lm_eval.api.model, lm_eval.api.task, lm_eval.models.huggingface)
    # What `datasets` can't read it tells as an error, and raises it: it is said once, by who asked.
    hush = {"lm_eval": logging.ERROR, "datasets.packaged_modules": logging.CRITICAL}
    levels = {name: logging.getLogger(name).level for name in hush}
    for name, level in hush.items():
        logging.getLogger(name).setLevel(level)
    datasets.disable_progress_bars()
    for module in modules:
        module.tqdm = partial(tqdm, disable=True)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for module in modules:
            module.tqdm = tqdm
