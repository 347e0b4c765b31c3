"""lm-evaluation-harness as a library: tasks measured one by one, each kept when it is done.

What lies in `kept` is under a key of all that decides its figures, so nothing of another model, another commit of the
data or another version is taken for it.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recipe.disk import read_json, write_json, write_text
from recipe.evaluate.catalogue import Catalogue, Config
from recipe.evaluate.findings import few, headline, numbers, place_of, plain, public_config, task_hash
from recipe.evaluate.result import Content, write_result
from recipe.evaluate.sources import whole
from recipe.evaluate.suite import Evaluating
from recipe.evaluate.tasks import Asked, load_tasks
from recipe.schema import canonical_sha256

BY = {"name": "lm-evaluation-harness", "url": "https://github.com/EleutherAI/lm-evaluation-harness"}
BOOTSTRAPS = 100_000  # lm-eval's own number, for figures whose error is no formula
SEEDS = {"random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": 1234}  # lm-eval's own
PACKAGES = ("datasets", "lm_eval", "peft", "tokenizers", "torch", "transformers")


@dataclass
class Harness:
    """lm-eval at work on a subject.

    Attributes:
        evaluating: The suite at work.
        catalogue: Knows the tasks.
        chat: Whether prompts are in the model's chat format.
    """

    evaluating: Evaluating
    catalogue: Catalogue
    chat: bool = False

    def measure(self, asked: Sequence[Asked]) -> dict[str, object]:
        """Measure what is not measured yet, write a result for each benchmark, and return what to tell, by name.

        Raises:
            UserError: Rows don't fit, or the model can't read a task's prompts.
        """
        return {one.benchmark.name: self._one(one) for one in asked}

    def _one(self, asked: Asked) -> str:
        name, evaluating = asked.benchmark.name, self.evaluating
        key = f"{name}-{self._key(asked)}"
        finished = evaluating.kept / f"{key}.json"
        found = self._read(finished)
        if found is None:
            found = self._run(asked, key)
            write_json(finished, found)
        data = {leaf: source.record() for leaf, source in asked.sources.items()}
        for group in self.catalogue.groups(name):
            data[group] = whole({leaf: asked.sources[leaf] for leaf in self.catalogue.leaves(group)})
        write_result(
            evaluating.out,
            name,
            found["content"],
            evaluating,
            by={**BY, "version": version("lm_eval")},
            data={task: about for task, about in data.items() if about},
            details={key: found[key] for key in ("cut", "requests", "seconds")},
        )
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in found["samples"])
        write_text(evaluating.out / f"{name}.samples.jsonl", "".join(f"{line}\n" for line in lines))
        if found["cut"]:
            evaluating.reporter.warn(
                f"{name}: {found['cut']:,} of {found['requests']:,} requests were longer than the model reads, and cut "
                "at their beginning"
            )
        return headline(found["content"], asked.benchmark)

    def _read(self, finished: Path) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = read_json(finished)
        except FileNotFoundError:
            return None
        except ValueError:
            self.evaluating.reporter.warn(f"{finished}: not whole, so the task is measured again")
            return None
        return found

    def _key(self, asked: Asked) -> str:
        """Return what decides the figures, as a short hash."""
        subject, settings = self.evaluating.subject, self.evaluating.run.recipe.evaluation
        files = {leaf: self.catalogue.file(leaf) for leaf in asked.leaves}
        configs = {leaf: _placeless(config, files[leaf]) for leaf, config in asked.leaves.items()}
        decides = {
            "subject": [subject.weights, subject.identity],
            "tasks": configs,
            "groups": [
                self.catalogue.version(group) for group in self.catalogue.groups(asked.benchmark.name)
            ],
            "data": {leaf: source.record() for leaf, source in asked.sources.items()},
            "shots": asked.benchmark.shots,
            "chat": self.chat,
            "limit": settings.evaluate_limit,
            "batch": settings.evaluate_batch_size,
            "seeds": SEEDS,
            "device": _device(),
            "versions": {package: version(package) for package in PACKAGES},
        }
        return canonical_sha256(decides)[:16]

    def _run(self, asked: Asked, key: str) -> dict[str, Any]:
        """Have lm-eval measure a benchmark, and return what it found; its answers are kept under a key."""
        from recipe.evaluate.harness_model import Kept, hushed

        started, name, reporter = time.time(), asked.benchmark.name, self.evaluating.reporter
        kept_folder = self.evaluating.kept
        for stale in kept_folder.glob(f"{name}-????????????????.*"):  # of other settings or another version
            if not stale.name.startswith(f"{key}."):
                stale.unlink()
        with hushed():
            tasks = load_tasks(self.catalogue, asked, kept_folder / "lm_eval")
            _seed(tasks["tasks"].values())
            self._model.title = name
            kept = Kept(self._model, kept_folder / f"{key}.answers.jsonl")
            if before := kept.answered:
                reporter.say(f"  {name}: goes on, {before:,} requests are answered")
            found = self._evaluate(kept, tasks)
            cut = kept.cut
        samples = found.pop("samples")
        whole_found: dict[str, Any] = plain(
            {
                "content": {"date": started, **self._content(found, samples, asked), **self._about_model()},
                "samples": [row for leaf, rows in samples.items() for row in few(leaf, rows)],
                "cut": cut,
                "requests": sum(
                    len(task.instances) * task.config.repeats for task in tasks["tasks"].values()
                ),
                "seconds": round(time.time() - started, 1),
            }
        )
        return whole_found

    def _content(self, found: dict[str, Any], samples: dict[str, Any], asked: Asked) -> Content:
        """Return what lm-eval found, for anybody to read."""
        results = numbers(found["results"], self.evaluating.reporter)
        configs = {
            leaf: public_config(config, asked.leaves[leaf], asked.sources[leaf], self.catalogue.file(leaf))
            for leaf, config in found["configs"].items()
        }
        return {
            **found,
            "results": results,
            **({"groups": {group: results[group] for group in found["groups"]}} if "groups" in found else {}),
            "configs": configs,
            "task_hashes": {leaf: task_hash(rows) for leaf, rows in samples.items()},
        }

    def _evaluate(self, kept: Any, tasks: Any) -> dict[str, Any]:
        from lm_eval import evaluate

        found: dict[str, Any] = evaluate(
            lm=kept,
            task_dict=tasks,
            limit=self.evaluating.run.recipe.evaluation.evaluate_limit,
            bootstrap_iters=BOOTSTRAPS,
            log_samples=True,
            apply_chat_template=self.chat,
            fewshot_as_multiturn=self.chat,
        )
        return found

    def _about_model(self) -> dict[str, Any]:
        """Return what lm-eval says of a model and its settings beside figures, but for what is a machine's."""
        from lm_eval.utils import hash_string

        model, settings = self._model, self.evaluating.run.recipe.evaluation
        tokenizer, parameters = model.tokenizer, getattr(model.model, "parameters", None)
        template = tokenizer.chat_template if self.chat else None
        special = {
            f"tokenizer_{name}_token": [
                getattr(tokenizer, f"{name}_token"),
                str(getattr(tokenizer, f"{name}_token_id")),
            ]
            for name in ("pad", "eos", "bos")
        }
        config = {
            "model": "hf",
            "model_args": self.evaluating.subject.arguments,
            "model_num_parameters": sum(each.numel() for each in parameters()) if parameters else None,
            "model_dtype": str(getattr(model.model, "dtype", "")),
            "batch_size": settings.evaluate_batch_size,
            "device": _device(),
            "limit": settings.evaluate_limit,
            "bootstrap_iters": BOOTSTRAPS,
            "gen_kwargs": None,
            **SEEDS,
        }
        return {
            "config": config,
            "lm_eval_version": version("lm_eval"),
            "transformers_version": version("transformers"),
            "system_instruction": None,
            "fewshot_as_multiturn": self.chat,
            "chat_template": template,
            "chat_template_sha": str(hash_string(template)) if template else None,
            "eot_token_id": model.eot_token_id,
            "max_length": model.max_length,
            **special,
        }

    @cached_property
    def _model(self) -> Any:
        from recipe.evaluate.harness_model import Model, load_vllm
        from recipe.evaluate.vllm_answers import has_vllm

        subject, size = self.evaluating.subject, self.evaluating.run.recipe.evaluation.evaluate_batch_size
        if has_vllm():
            return load_vllm(subject, size)
        model, tokenizer = subject.load()
        return Model(model, tokenizer, size, self.evaluating.reporter)


def _seed(tasks: Any) -> None:
    import numpy as np
    import torch

    random.seed(SEEDS["random_seed"])
    np.random.seed(SEEDS["numpy_seed"])
    torch.manual_seed(SEEDS["torch_seed"])
    for task in tasks:
        task.set_fewshot_seed(seed=SEEDS["fewshot_seed"])


def _placeless(config: Config, file: Path) -> Config:
    """Return a task's configuration with the functions that it names by their place in a package."""
    top = str(file).removesuffix(place_of(file))
    found: Config = json.loads(json.dumps(config, default=str).replace(top, ""))
    return found


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
