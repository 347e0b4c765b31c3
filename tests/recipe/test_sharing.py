"""What ranks tell each other, and how the loss of one is known."""

import pytest
from torch.distributed import DistBackendError

from recipe.sharing import OthersLostError, others_lost


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
