"""A process whose forks need not import again."""

import gc
import importlib
from collections.abc import Iterable


def import_all(names: Iterable[str]) -> None:
    """Import modules, so that a fork has them; no tensor is computed here, and no thread is started."""
    for name in names:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)  # a fork of a process whose threads compute would wait for them for ever
    gc.collect()
    gc.freeze()
