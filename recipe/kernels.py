"""Execution: fused kernels for the layers of a base, on CUDA, from Liger by way of Transformers.

RMSNorm, SwiGLU and the rotary embedding then read and write a micro-batch once each, and keep less of it for the
backward pass. What is computed is the same, but for rounding.
"""

import importlib.util

from transformers import PreTrainedModel
from transformers.integrations.liger import apply_liger_kernel

# The head is TRL's own, in chunks (`recipe.pack.answer_logps`).
FUSED = {
    "rope": True,
    "rms_norm": True,
    "swiglu": True,
    "cross_entropy": False,
    "fused_linear_cross_entropy": False,
}


def can_fuse(device: str) -> bool:
    """Say whether there are kernels for a device: CUDA, and Liger is installed (`pip install '.[cuda]'`)."""
    return device == "cuda" and importlib.util.find_spec("liger_kernel") is not None


def fuse_kernels(model: PreTrainedModel) -> None:
    """Give a model's layers fused kernels, its family's that Liger has; another family is left as it is."""
    apply_liger_kernel(model, FUSED)  # type: ignore[no-untyped-call]
