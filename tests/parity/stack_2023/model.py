"""A tiny Mistral model of random weights whose predictions are far from uniform."""

import shutil
from pathlib import Path

import torch
from transformers import MistralConfig, MistralForCausalLM, set_seed

from .chat import load_tokenizer


def make_model(tokenizer: Path, out: Path, seed: int, dtype: str) -> str:
    """Write the model's safetensors and configuration, and the tokenizer's files beside them."""
    shutil.copytree(tokenizer, out, dirs_exist_ok=True)
    set_seed(seed)
    config = MistralConfig(
        vocab_size=len(load_tokenizer(str(tokenizer))),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        sliding_window=4096,
        initializer_range=0.3,  # 15 times the default: a wrong mask or one EOS too few moves the losses by 1e-2
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = MistralForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(str(out), safe_serialization=True)
    return f"model: {model.num_parameters()} parameters of {dtype} in {out}"
