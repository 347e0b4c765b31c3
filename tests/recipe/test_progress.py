"""What a person sees while something is done."""

import re

import pytest

from recipe.progress import ROOM, Reporter


def test_behind_a_bar_there_is_room_for_what_the_terminal_says_of_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    with Reporter().bar("training", 400) as bar:
        bar.note("loss 0.5157  margin +0.443  182.3 pairs/s")
        bar.advance(66)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    lines = [line for line in re.split(r"[\r\n]+", shown) if "66/400" in line]
    assert lines
    assert all(len(line.rstrip()) <= 80 - ROOM for line in lines)
