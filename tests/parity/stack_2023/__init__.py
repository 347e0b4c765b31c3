"""The libraries of November 2023 at work: what they really do, written to files for the parity test to compare.

Runs in an environment of its own (`../requirements-2023.txt`), as `python -m stack_2023` from the folder above,
and imports nothing of Notus: what it says comes from transformers 4.35, trl 0.7.4, peft 0.6.1, accelerate 0.23
and datasets 2.14, without a network.
"""

import os
import warnings

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    TRANSFORMERS_VERBOSITY="error",
    TRANSFORMERS_NO_ADVISORY_WARNINGS="1",
    DATASETS_VERBOSITY="warning",
    ACCELERATE_LOG_LEVEL="WARNING",
    TORCH_CPP_LOG_LEVEL="ERROR",
)
# Libraries of 2023 on a torch of today.
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)
for message in (
    "The `optimize_cuda_cache`",
    "'pin_memory' argument",
    "OMP_NUM_THREADS/MKL_NUM_THREADS unset",
):
    warnings.filterwarnings("ignore", message=message)
