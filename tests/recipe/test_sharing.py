"""What ranks tell each other, and how the loss of one is known."""

import threading
import types

import pytest
from torch.distributed import DistBackendError, distributed_c10d

from recipe.sharing import OthersLostError, others_lost, waits_for_others


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (OthersLostError("a rank"), True),
        (DistBackendError("NCCL error: remote process exited"), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("gloo"), False),
    ],
)
def test_the_loss_of_another_rank_is_told_from_a_bug(error: Exception, lost: bool) -> None:
    assert others_lost(error) is lost


def test_a_rank_that_a_library_has_wait_for_the_others_is_seen_to() -> None:
    seen: list[bool] = []

    def looks() -> None:
        other = threading.Thread(target=lambda: seen.append(waits_for_others()))
        other.start()
        other.join()

    looks()
    exchange = types.FunctionType(
        compile("looks()", "c10d", "exec"), {**vars(distributed_c10d), "looks": looks}
    )
    exchange()
    assert seen == [False, True]
