"""The cards as pages: what a browser shows is what the card says, with its pictures."""

import re
import shutil
from pathlib import Path

from modelcard.preview import as_page
from tests.support import Cli

CARD = """---
license: mit
tags:
- a
- <b>
model-index:
- name: m
  results:
  - dataset: {name: MMLU, type: m}
    metrics:
    - {type: acc, name: 'mmlu: acc', value: 0.5}
---

![Wind](banner.png)

# A <card>

| a | b |
|---|---:|
| 1 | `x` |

![Elsewhere](https://example.org/x.png)

<script>alert(1)</script>
"""


def test_a_card_as_a_page() -> None:
    page = as_page(CARD, "../card/adapter/")
    assert "<title>A &lt;card&gt;</title>" in page
    assert 'src="../card/adapter/banner.png"' in page
    assert 'src="https://example.org/x.png"' in page
    assert "<td>tags</td><td>a, &lt;b&gt;</td>" in page
    assert "<td>model-index</td><td>MMLU, mmlu: acc: 0.5</td>" in page
    assert "<th>a</th>" in page
    assert "<script>" not in page


def test_the_command_writes_a_page_of_each_card(cli: Cli, trained: Path, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    ended = cli("card", tiny / "tiny.yaml", "--run", tmp_path / "run", "--preview")
    assert ended.code == 0, ended.err
    assert "preview in a browser" in ended.out
    pages = {path.stem: path.read_text() for path in (tmp_path / "run" / "preview").glob("*.html")}
    assert set(pages) == {"adapter", "merged", "base"}
    for page in pages.values():
        for source in re.findall(r'src="([^"]+)"', page):
            assert (tmp_path / "run" / "preview" / source).is_file()
    assert "curves.png" in pages["adapter"]
    again = cli("card", tiny / "tiny.yaml", "--run", tmp_path / "run", "--preview")
    assert "preview: up to date" in again.out
