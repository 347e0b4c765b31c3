"""Ranks of a training, and how they end."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from recipe.launch import leave_group


def threads() -> Counter[str]:
    """Return the names of this process's threads, and how many have each."""
    return Counter(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
def test_a_rank_that_has_left_its_group_has_none_of_its_threads(tmp_path: Path) -> None:
    before = threads()
    store = distributed.FileStore(str(tmp_path / "store"), 1)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    model = DistributedDataParallel(torch.nn.Linear(2, 2))
    model(torch.ones(1, 2)).sum().backward()
    model.cycle = model  # as a trainer is one
    del model
    group_s = set(threads()) - set(before)
    assert group_s
    leave_group()
    assert not set(threads()) & group_s
    leave_group()  # where there is no group, nothing
