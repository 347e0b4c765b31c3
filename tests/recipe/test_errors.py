"""What of an error a user sees."""

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from recipe.errors import UserError, exit_on_mistake


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("beta: must be above 0"), "notus: beta: must be above 0\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/smoke/recipe.yaml"),
            "notus: runs/smoke/recipe.yaml can't be written, the disk is full; make room\n",
        ),
        (
            SafetensorError("I/O error: No space left on device (os error 28)"),
            "notus: a file can't be written, the disk is full; make room\n",
        ),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_on_mistake(lambda: _raise(error))
    assert ended.value.code == 2
    assert capsys.readouterr().err == line


def test_a_device_that_is_full_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        exit_on_mistake(lambda: Path("/dev/full").write_text("more", encoding="utf-8"))
    assert capsys.readouterr().err == "notus: a file can't be written, the disk is full; make room\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError):
        exit_on_mistake(lambda: _raise(FileNotFoundError(errno.ENOENT, "No such file", "x")))
