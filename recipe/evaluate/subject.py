"""Whose weights are measured: the adapter over its base, the merged model, or the base alone."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recipe.errors import UserError
from recipe.run import Run
from recipe.schema import canonical_sha256, placeless

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Weights = Literal["adapter", "merged", "base"]
ADAPTER = "adapter/adapter_model.safetensors"


@dataclass(frozen=True)
class Subject:
    """One run's weights of one kind.

    Attributes:
        run: Trained, and merged if it is about the merged weights.
        weights: Which.
    """

    run: Run
    weights: Weights

    @cached_property
    def identity(self) -> dict[str, str]:
        """The sha256 of what is measured, by its name: `base`, and `adapter` or `merged` where that is part of it.

        Raises:
            UserError: There are no such weights in the run.
        """
        from recipe.fetch import load_inputs

        made = {name: self.run.done(name) for name in ("fetch", "train", "merge")}
        if made["fetch"] is None or (self.weights != "base" and made["train"] is None):
            raise UserError(f"{self.run.folder}: nothing was trained here; `notus train` does")
        found = {"base": canonical_sha256(load_inputs(self.run)["base"]["sha256"])}
        if self.weights == "adapter":
            assert made["train"] is not None
            found["adapter"] = made["train"]["outputs"][ADAPTER]["sha256"]
        if self.weights == "merged":
            if made["merge"] is None:
                raise UserError(f"{self.run.folder}: nothing was merged here; `notus merge` does")
            files = made["merge"]["outputs"].items()
            found["merged"] = canonical_sha256(
                {
                    name: facts["sha256"]
                    for name, facts in files
                    if name.endswith(".safetensors") and "merged/" in name
                }
            )
        return found

    @property
    def arguments(self) -> str:
        """What lm-eval's `model_args` would be for them, by their published names."""
        science, release = self.run.recipe.science, self.run.recipe.release
        if self.weights == "merged":
            return f"pretrained={release.hub_merged_model_id},revision={release.version}"
        named = f"pretrained={placeless(science.model_name_or_path)}"
        if science.base_source == "hub":
            named += f",revision={science.model_revision}"
        return f"{named},peft={release.hub_model_id}" if self.weights == "adapter" else named

    def load(self) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
        """Return the model, ready to be asked, on a GPU if there is one, and the tokenizer that it was tuned with.

        The adapter's is a `PeftModel`: with its adapter disabled it is the base.
        """
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        from recipe.tokenizer import load_tokenizer

        model: Any = AutoModelForCausalLM.from_pretrained(self.place, dtype="auto")
        if self.weights == "adapter":
            model = PeftModel.from_pretrained(model, str(self.run.path("adapter")))
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        return model, load_tokenizer(self.tokenizer_place)

    @property
    def place(self) -> Path:
        """The folder of the merged model, or of the base, which the adapter goes over."""
        from recipe.fetch import load_inputs

        return (
            self.run.path("merged")
            if self.weights == "merged"
            else Path(load_inputs(self.run)["base"]["path"])
        )

    @property
    def tokenizer_place(self) -> Path:
        """The folder of the tokenizer that it was tuned with: of the base too, which is asked in the same words."""
        return self.run.path("merged" if self.weights == "merged" else "adapter")
