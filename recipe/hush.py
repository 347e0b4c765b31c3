"""One voice in the terminal: ours."""

import logging
import os
import threading
import warnings

from recipe.errors import full_disk


def hush_libraries(*, bars: bool) -> None:
    """Keep the libraries' own bars, notes and telemetry out of the way; errors still come through.

    Args:
        bars: Whether downloads and uploads may show their bars, as on a terminal.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # As it does by itself; unless it is told so, it warns at each fork. Nothing that is forked here tokenizes.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not bars:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for name in ("accelerate", "datasets.fingerprint", "huggingface_hub", "trl", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|trl|torch)\b")
    threading.excepthook = _in_a_thread
    warnings.filterwarnings("ignore", message="Not enough free disk space")  # we say so, once it is full


def _in_a_thread(failed: threading.ExceptHookArgs) -> None:
    """Show an error that ended a thread, but a full disk: TensorBoard's writer tells who writes next of it as well."""
    if failed.exc_value is None or full_disk(failed.exc_value) is None:
        threading.__excepthook__(failed)
