"""Stage: the adapter merged into the base's own dtype, and the proof that the merged model is the same model.

`probe/` keeps the logits of fixed prompts under base, adapter and merged weights. They say how far merging
moved the model, and whoever loads a release can be held against them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from recipe.disk import read_json, refuse_full_disk, write_json
from recipe.fetch import load_inputs
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.tokenizer import load_tokenizer, save_tokenizer

PROBES = (
    "What is the capital of France?",
    "Write a short thank-you note to a colleague who helped you move.",
    "Sort these words: pear, apple, fig.",
    "How many minutes are there in three hours?",
)
SHARD = "2GB"
# A merged weight may be this many roundings away from base plus adapter: the sum is rounded once or twice,
# depending on where PEFT rounds the adapter's share.
ROUNDINGS = 2


def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
    """Write `merged/` and `probe/`."""
    base = load_inputs(run)["base"]
    tokenizer = load_tokenizer(run.path("adapter"))
    prompts = [probe_ids(tokenizer, prompt) for prompt in PROBES]
    folder = out / "merged"
    with reporter.bar("merging", 4) as bar:
        # In the dtype that it is stored in, whatever it was trained in: so consumers load it.
        model = AutoModelForCausalLM.from_pretrained(base["path"], dtype="auto")
        refuse_full_disk({out: sum(parameter.nbytes for parameter in model.parameters())})
        base_logits = logits_of(model, prompts)
        bar.advance()
        tuned = PeftModel.from_pretrained(model, str(run.path("adapter")))
        adapter_logits = logits_of(tuned, prompts)
        bar.advance()
        expected = expected_weights(tuned)
        merged = tuned.merge_and_unload(safe_merge=True)
        merged.name_or_path = merged.config._name_or_path = ""  # the path of somebody's machine
        merged.save_pretrained(str(folder), max_shard_size=SHARD)
        save_tokenizer(tokenizer, folder)
        stored = merged.dtype
        del model, tuned, merged
        bar.advance()
        read = AutoModelForCausalLM.from_pretrained(folder, dtype=stored)
        refuse_other_weights(read, expected)
        merged_logits = logits_of(read, prompts)
        bar.advance()
    difference = largest_difference(adapter_logits, merged_logits)
    scale = max(logits.abs().max().item() for logits in adapter_logits)
    (out / "probe").mkdir()
    tensors = {
        f"{name}.{place}": logits
        for name, found in (("base", base_logits), ("adapter", adapter_logits), ("merged", merged_logits))
        for place, logits in enumerate(found)
    }
    save_file(tensors, str(out / "probe" / "logits.safetensors"))
    shards = sorted(folder.glob("*.safetensors"))
    size, moved = (
        sum(shard.stat().st_size for shard in shards),
        largest_difference(base_logits, adapter_logits),
    )
    facts = {
        "prompts": list(PROBES),
        "input_ids": prompts,
        "dtype": str(stored).removeprefix("torch."),
        "largest_logit_difference": difference,
        "largest_logit": scale,
        "moved_by_training": moved,
        "shards": len(shards),
        "bytes": size,
    }
    write_json(out / "probe" / "probe.json", facts)
    if difference >= moved:
        reporter.warn(
            f"rounding to {facts['dtype']} moves the merged logits as far as training did; prefer the adapter"
        )
    return {
        "merged": f"{facts['dtype']}, {len(shards)} shard(s), {size / 1e6:,.1f} MB",
        "largest logit difference": f"{difference:.2g} on {len(PROBES)} prompts (training moved them by "
        f"{moved:.2g})",
    }


def expected_weights(tuned: PeftModel) -> dict[str, torch.Tensor]:
    """Return what each adapted weight must become: W + (alpha / r) B A, by its name in the base, in W's dtype."""
    expected = {}
    for name, layer in tuned.get_base_model().named_modules():
        if isinstance(layer, LoraLayer):
            weight = layer.get_base_layer().weight
            low, high = (getattr(layer, part)["default"].weight.float() for part in ("lora_A", "lora_B"))
            update = layer.scaling["default"] * (high @ low)
            expected[f"{name}.weight"] = (weight.float() + update).to(weight.dtype).detach()
    return expected


def refuse_other_weights(merged: PreTrainedModel, expected: Mapping[str, torch.Tensor]) -> None:
    """Check the adapted weights of the merged model as they were read back from its files.

    Raises:
        RuntimeError: Names the first weight that is not base plus adapter.
    """
    weights = dict(merged.named_parameters())
    for name, wanted in expected.items():
        allowed = ROUNDINGS * torch.finfo(wanted.dtype).eps * wanted.float().abs()
        wrong = (weights[name].float() - wanted.float()).abs() > allowed + torch.finfo(wanted.dtype).tiny
        # A sum that cancels is small beside what was rounded: allow those few, not a lost or misplaced update.
        if wrong.float().mean().item() > 0.01:
            message = f"{wrong.float().mean().item():.1%} of the merged {name} is not base plus adapter"
            raise RuntimeError(message)


def probe_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the token ids of a prompt in the model's chat format."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    assert isinstance(text, str)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def logits_of(model: PreTrainedModel | PeftModel, prompts: Sequence[list[int]]) -> list[torch.Tensor]:
    """Return the last position's logits for each prompt: float32 tensors of shape (vocabulary,)."""
    model.eval()
    with torch.no_grad():
        return [
            model(torch.tensor([ids], device=model.device)).logits[0, -1].float().cpu() for ids in prompts
        ]


def largest_difference(one: Sequence[torch.Tensor], two: Sequence[torch.Tensor]) -> float:
    """Return the largest absolute difference between two lists of equally shaped tensors."""
    return max((a - b).abs().max().item() for a, b in zip(one, two, strict=True))


def read_probe(run_folder: Path) -> dict[str, Any]:
    """Return `probe.json` of a run."""
    facts: dict[str, Any] = read_json(run_folder / "probe" / "probe.json")
    return facts


STAGE = Stage(
    name="merge",
    does="the adapter merged into the base, and checked",
    needs=("fetch", "train"),
    outputs=("merged", "probe"),
    reads=("science",),
    work=work,
)
