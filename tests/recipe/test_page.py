"""The page of the audit: what lies in the file, and what a person sees of it in Chromium."""

import hashlib
import html
import json
import re
import shutil
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from recipe.builtin import write_feedback
from recipe.curate import Rules, curate
from recipe.curate.page import write_page
from recipe.curate.page.pack import coded, pack_texts
from recipe.errors import UserError
from recipe.progress import Reporter
from tests.recipe.page_data import (
    Row,
    completion,
    feedback_rows,
    row,
    write_feedback_folder,
    write_pairs_folder,
)
from tests.support import Cli

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FIGURES = [
    "Another answer chosen, by source",
    "Another answer chosen, by model",
    "overall_score against mean rating",
    "Completions with overall_score 10",
    "Ratings by aspect",
    "overall_score",
    "Agreement",
    "How often a model is chosen",
    "Length of chosen over rejected",
    "Chosen is longer, by source",
    "Left out",
    "Noticed",
    "Contamination",
    "Sources",
    "More numbers",
]
HOSTILE = [
    "</script><script>document.title = 'taken'</script>",
    "<img src=https://example.com/x.png onerror=\"document.title='taken'\">",
    "<!-- <script> ]]> &amp; &lt;b&gt; <b>bold</b>",
    "line\u2028separator\u2029paragraph \ufffd \ufeffmark",
    "nul \0 bell \a delete \x7f",
    "\u202egnp.exe\u202c שלום עולם العربية",
    "\ufeffstarts with a mark",
    "{{title}} <!-- blocks --> 🦉 \U0001d518 é",
    "\r\nlines\rof\nall kinds\t",
]


def made(folder: Path, out: Path, title: str = "An audit") -> Path:
    write_page(folder, out, title=title, reporter=Reporter(quiet=True))
    return out


def texts_in(page: str, name: str) -> list[str | None]:
    """Unpack the texts of a part of a page, as `data.js` does."""
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    assert found
    return unpacked(zlib.decompress(b64decode(found[1]), -15))


def unpacked(content: bytes) -> list[str | None]:
    count = int(np.frombuffer(content, "<u4", 1)[0])
    lengths = np.frombuffer(content, "<i4", count, 4).tolist()
    at, texts = 4 + 4 * count, list[str | None]()
    for length in lengths:
        texts.append(None if length < 0 else content[at : at + length].decode())
        at += max(length, 0)
    assert at == len(content)
    return texts


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_texts_come_back(kind: pa.DataType) -> None:
    texts = ["before", None, "", "é🦉", "\0", None, "after"]
    array = pa.array(texts, kind).slice(1, 5)
    assert unpacked(pack_texts(array, pa.array([], kind), array.slice(2))) == [*texts[1:6], *texts[3:6]]


def test_codes_are_in_the_order_of_the_names() -> None:
    codes, names = coded([pa.array(["b", None]), pa.array(["a", "b"], pa.large_string())])
    assert names == ["a", "b"]
    assert codes.tolist() == [1, -1, 0, 1]
    codes, names = coded([pa.nulls(2, pa.string())])
    assert (codes.tolist(), names) == ([-1, -1], [])


@pytest.mark.parametrize("row_group", [7, 4096])
def test_every_text_is_in_the_page(tmp_path: Path, row_group: int) -> None:
    rows = feedback_rows(300)
    page = made(write_feedback_folder(tmp_path / "data", rows, row_group=row_group), tmp_path / "page.html")
    content = page.read_text(encoding="utf-8")
    prompts = [one for n in range(content.count('id="prompts-')) for one in texts_in(content, f"prompts-{n}")]
    assert prompts == [one["instruction"] for one in rows]
    blocks = [texts_in(content, f"block-{number}") for number in range(content.count('id="block-'))]
    responses = [one for block in blocks for one in block[: len(block) // 2]]
    critiques = [one for block in blocks for one in block[len(block) // 2 :]]
    completions = [one for row_ in rows for one in row_["completions"] or []]
    assert responses == [one["response"] for one in completions]
    assert critiques == [one["critique"] for one in completions]


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    folder = write_feedback_folder(tmp_path / "data", feedback_rows(3000))
    first, second = made(folder, tmp_path / "a.html"), made(folder, tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "a.html", "b.html"}


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    rows = [row(0, [completion(5.0, [3, 3, 3, 3], 0, response=text, critique=text)]) for text in HOSTILE]
    folder = write_feedback_folder(tmp_path / "data", rows, left_out={HOSTILE[0]: {"rows": 3, "ids": []}})
    content = made(folder, tmp_path / "page.html", title=HOSTILE[0]).read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', content)
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", content, re.S)
    running = [text for attributes, text in scripts if not attributes]
    style = re.search(r"<style>(.*?)</style>", content, re.S)
    assert policy is not None
    assert style is not None
    assert len(running) == 1
    for kind, text in (("script", running[0]), ("style", style[1])):
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy[1]
    assert policy[1].startswith("default-src 'none';")
    assert html.escape(HOSTILE[0]) in content
    assert HOSTILE[0] not in content


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: (data / "audit.json").unlink(), "audit.json: missing; run `notus curate` first"),
        (lambda data: (data / "audit.json").write_text("{"), "audit.json: cannot be read"),
        (lambda data: (data / "audit.json").write_text("[]"), "audit.json: not an object"),
        (lambda data: (data / "feedback.parquet").unlink(), "no feedback.parquet and no train.parquet"),
        (lambda data: (data / "feedback.parquet").write_bytes(b"PAR1 no PAR1"), "feedback.parquet: cannot be read"),
    ],
)  # fmt: skip
def test_a_folder_that_gives_no_page(tmp_path: Path, spoil: Any, says: str) -> None:
    folder = write_feedback_folder(tmp_path / "data", feedback_rows(20))
    out = tmp_path / "page.html"
    out.write_text("before")
    spoil(folder)
    with pytest.raises(UserError, match=re.escape(says)) as raised:
        made(folder, out)
    assert "\n" not in str(raised.value)
    assert out.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"data", "page.html"}


def test_a_file_cut_short_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    folder = write_feedback_folder(tmp_path / "data", feedback_rows(5000), row_group=1000)
    content = bytearray((folder / "feedback.parquet").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = bytes(20_000)
    (folder / "feedback.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"feedback\.parquet: cannot be read"):
        made(folder, tmp_path / "page.html")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    folder = write_feedback_folder(tmp_path / "data", feedback_rows(20))
    with pytest.raises(UserError, match=r"page\.html: cannot be written \(No such file or directory\)"):
        made(folder, tmp_path / "nowhere" / "page.html")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"page\.html: cannot be written \(Not a directory\)"):
        made(folder, tmp_path / "file" / "page.html")
    with pytest.raises(UserError, match=r"data: cannot be written \(Is a directory\)"):
        made(folder, folder)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "file"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail(f"no browser: none of {', '.join(BROWSERS)} is on the PATH; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page in the browser, all that it asked for and complained of, and the rows behind it."""

    page: Page
    rows: list[Row]
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, file: Path) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(file.as_uri())
        until(lambda: self.page.evaluate("performance.getEntriesByName('prompts').length"))

    def counted(self) -> int:
        return int(self.page.inner_text("#counted").split()[0].replace(",", ""))

    def column(self, title: str) -> list[str]:
        """Return the cells in sight of a column."""
        heads = [head.strip(" ▲▼\n") for head in self.page.locator(".head > div").all_inner_texts()]
        place = heads.index(title) + 1
        return self.page.locator(f".window .row > div:nth-child({place})").all_inner_texts()

    def sort(self, title: str) -> None:
        self.page.click(f".head button:has-text('{title}')")

    def shows(self, rows: int) -> None:
        until(lambda: self.counted() == rows)


def until(true: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return feedback_rows(2500)


@pytest.fixture(scope="module")
def page_file(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return made(write_feedback_folder(folder / "data", rows), folder / "page.html")


@pytest.fixture
def opened(browser: Browser, page_file: Path, rows: list[Row]) -> Iterator[Opened]:
    """The page of `rows`; afterwards, nothing but the file was asked for, and nothing went wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = Opened(context.new_page(), rows)
    opened.open(page_file)
    yield opened
    assert opened.requests == [page_file.as_uri()]
    assert opened.complaints == []
    context.close()


@pytest.mark.slow
def test_all_rows_and_figures_are_there(opened: Opened) -> None:
    page, rows = opened.page, opened.rows
    opened.shows(len(rows))
    assert page.locator(".window .row").count() < 100
    assert page.locator("#table").get_attribute("aria-rowcount") == str(len(rows) + 1)
    assert [prompt.split(":")[0] for prompt in opened.column("Prompt")[:6]] == [
        *(f"Prompt {number}" for number in range(4)), "none", "Prompt 5",
    ]  # fmt: skip
    assert page_titles(page) == FIGURES
    assert (
        page.locator("#figures svg.plot").count()
        == page.locator("#figures svg.plot[aria-label]").count()
        == 6
    )
    low = sum(
        one["overall_score"] == 10 and (one["rating"] or 5) <= 2
        for r in rows
        for one in r["completions"] or []
    )
    assert page.locator(".faulty").text_content() == f"the fault: {low}"
    assert page.locator("#headline li:has-text('suspicious') strong").inner_text() == str(low)
    assert "exact 2" in page.locator("#figures .card:has-text('Contamination')").inner_text()


@pytest.mark.slow
def test_sort_by_score(opened: Opened) -> None:
    chosen = [r["completions"][r["chosen"]] for r in opened.rows if r["chosen"] is not None]
    scores = sorted(one["overall_score"] for one in chosen)
    opened.sort("Score")
    assert opened.column("Score")[:20] == [f"{score:.1f}" for score in scores[::-1][:20]]
    opened.sort("Score")
    assert opened.column("Score")[:20] == [f"{score:.1f}" for score in scores[:20]]
    assert opened.page.locator("[aria-sort=ascending]").inner_text().startswith("Score")
    opened.page.focus("#table")
    opened.page.keyboard.press("End")
    until(lambda: opened.column("Score")[-1] == "\u2013")  # rows without a pair come last either way


@pytest.mark.slow
def test_find_the_suspicious_and_read_a_critique(opened: Opened) -> None:
    page = opened.page
    suspicious = [r for r in opened.rows if "score_10_low" in r["flags"]]
    assert len(suspicious) > 3
    page.click("#presets button:has-text('Suspicious')")
    opened.shows(len(suspicious))
    assert page.locator("#presets button[aria-pressed=true]").inner_text().startswith("Suspicious")
    page.focus("#table")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#panel .answer")
    wanted = suspicious[2]
    answers = page.locator("#panel .answer")
    assert answers.count() == 4
    assert answers.nth(0).locator(".badge").first.inner_text() == "chosen"
    assert answers.nth(1).locator(".badge").first.inner_text() == "rejected"
    for name, answer in (("chosen", answers.nth(0)), ("rejected", answers.nth(1))):
        one = wanted["completions"][wanted[name]]
        assert answer.locator("h3").inner_text() == one["model"]
        assert answer.locator(".response").inner_text() == one["response"]
        assert answer.locator(".critique").inner_text() == one["critique"]
        assert f"mean rating {one['rating']:.2f}" in answer.locator(".ratings").inner_text()
    assert page.locator("#panel .prompt").inner_text() == wanted["instruction"]
    assert page.locator("#panel .answer.suspect").count() >= 1
    page.keyboard.press("ArrowRight")
    until(lambda: page.locator("#panel h2").inner_text() == f"Row {suspicious[3]['row']:,}")
    page.keyboard.press("Escape")
    assert not page.locator("#panel").is_visible()


@pytest.mark.slow
def test_search_and_filters(opened: Opened) -> None:
    page, rows = opened.page, opened.rows
    page.fill("#search", "PROMPT 12: ")
    opened.shows(1)
    page.fill("#search", rows[77]["id"])
    opened.shows(1)
    page.fill("#search", "critique 4001.")
    opened.shows(0)
    page.check("#everywhere")
    opened.shows(1)
    page.click("#presets button:has-text('Left out')")
    opened.shows(sum(r["reason"] is not None for r in rows))
    page.select_option("#reason", "equal_ratings")
    opened.shows(sum(r["reason"] == "equal_ratings" for r in rows))
    page.click("#presets button:has-text('Chosen differs')")
    page.select_option("#source", "flan")
    differs = [r for r in rows if "chosen_differs" in r["flags"] and r["source"] == "flan"]
    opened.shows(len(differs))
    page.fill("#rating-from", "3")
    page.fill("#rating-to", "4")
    best = [r["completions"][r["chosen"]] for r in differs]
    opened.shows(sum(3 <= one["rating"] <= 4 for one in best))
    page.select_option("#model", "gpt-4")
    opened.shows(sum(3 <= one["rating"] <= 4 and one["model"] == "gpt-4" for one in best))
    page.click("#figures .card:has-text('Left out') button:has-text('too few')")
    opened.shows(sum(r["reason"] == "too_few_completions" for r in rows))


@pytest.mark.slow
def test_rows_with_nulls_can_be_opened(opened: Opened) -> None:
    page = opened.page
    said = []
    for number in range(1, 6):
        page.goto("about:blank")
        page.goto(f"{opened.requests[0]}#row-{number}")
        until(lambda: page.locator("#panel[data-row]").count())
        said.append(page.locator("#panel .texts").inner_text())
    del opened.requests[1:]
    assert "No answers." in said[0]
    assert "No answers." in said[4]
    assert "honesty N/A" in said[1]
    assert said[1].count("honesty") == 1  # the other one is absent
    assert said[1].count("overall_score") == 1  # the other one is null
    assert {"none", "empty"} <= set(said[2].split())
    assert "model unknown" in said[3]


@pytest.mark.slow
def test_hostile_texts_are_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    rows = [
        row(
            n,
            [
                completion(6.0, [4, 4, 4, 4], n, response=text, critique=text, model=text),
                completion(3.0, [1, 1, 1, 2], n),
            ],
            instruction=text,
            source=text,
            file=text,
            flags=[text.replace("\n", " ")],
        )
        for n, text in enumerate(HOSTILE)
    ]
    folder = write_feedback_folder(tmp_path / "data", rows, noticed={HOSTILE[1]: {"count": 1, "unit": "row"}})
    opened = Opened(browser.new_page(), rows)
    file = made(folder, tmp_path / "page.html", title=HOSTILE[0])
    opened.open(file)
    page = opened.page
    for number, text in enumerate(HOSTILE):
        page.locator(".window .row").nth(number).click()
        until(lambda number=number: page.locator(f"#panel[data-row='{number}'] .answer").count())
        for kind in ("prompt", "response", "critique"):
            # What is not seen is shown by its code; taken back, it is the text, to the character.
            shown = page.evaluate(
                """kind => { const copy = document.querySelector(`#panel .${kind}`).cloneNode(true);
                for (const one of copy.querySelectorAll('.hidden-character')) {
                  const code = String.fromCodePoint(parseInt(one.title.slice(2), 16));
                  if (one.nextSibling && (code === '\\u2028' || code === '\\u2029')) one.nextSibling.remove();
                  one.replaceWith(code);
                } return copy.textContent; }""",
                kind,
            )
            assert shown == text
        assert page.locator("#panel .text :not(.hidden-character)").count() == 0
        page.keyboard.press("Escape")
    assert page.title() == HOSTILE[0]
    assert page.locator("main img, main b, main script, dialog img, dialog b, dialog script").count() == 0
    assert opened.requests == [file.as_uri()]
    assert opened.complaints == []
    page.close()


@pytest.mark.slow
def test_pairs_without_feedback_in_an_older_browser(browser: Browser, tmp_path: Path) -> None:
    opened = Opened(browser.new_page(), [])
    opened.page.add_init_script("delete Uint8Array.fromBase64")
    opened.open(made(write_pairs_folder(tmp_path / "data", 40), tmp_path / "page.html"))
    page = opened.page
    opened.shows(43)
    assert page.locator("#figures h3").all_inner_texts() == [
        "Length of chosen over rejected",
        "Chosen is longer, by source",
    ]
    assert page.locator("#score-from").is_hidden()
    assert page.locator("#flag").is_hidden()
    page.fill("#search", "be brief")
    opened.shows(1)
    page.locator(".window .row").first.click()
    page.wait_for_selector("#panel .answer")
    assert page.locator("#panel .response").all_inner_texts() == ["Me.", "Nobody."]
    assert page.locator("#panel .prompt").inner_text().startswith("[system]\nBe brief.\n\n[user]\nHi.")
    assert page.locator("#panel .criticism").count() == 0
    assert opened.complaints == []
    page.close()


@pytest.mark.slow
def test_what_curate_writes_gives_all_figures(browser: Browser, tmp_path: Path) -> None:
    write_feedback(tmp_path / "feedback.jsonl", 640)
    first = json.loads((tmp_path / "feedback.jsonl").read_text().splitlines()[0])["instruction"]
    (tmp_path / "benchmark.jsonl").write_text(json.dumps({"question": first}) + "\n")
    rules = Rules(fix_scores="openbmb", benchmarks=(f"{tmp_path / 'benchmark.jsonl'}:question",))
    quiet = Reporter(quiet=True)
    curate([tmp_path / "feedback.jsonl"], None, tmp_path / "data", rules=rules, test_size=64, reporter=quiet)
    opened = Opened(browser.new_page(), [])
    opened.open(made(tmp_path / "data", tmp_path / "page.html"))
    opened.shows(640)
    assert page_titles(opened.page) == FIGURES
    assert opened.page.locator(".badge, .warning:visible").count() == 0
    opened.page.locator(".window .row").first.click()
    until(lambda: first in opened.page.locator("#panel").inner_text())
    assert opened.page.locator("#panel .answer").count() == 4
    assert opened.complaints == []
    opened.page.close()


@pytest.mark.slow
def test_what_curate_writes_of_pairs_gives_a_page(browser: Browser, tmp_path: Path) -> None:
    pairs = [{"prompt": f"Prompt {n}?", "chosen": "Yes." * (n + 1), "rejected": "No."} for n in range(30)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in [*pairs, pairs[0]]))
    curate([tmp_path / "pairs.jsonl"], None, tmp_path / "data", test_size=4, reporter=Reporter(quiet=True))
    opened = Opened(browser.new_page(), [])
    opened.open(made(tmp_path / "data", tmp_path / "page.html"))
    opened.shows(31)
    titles = page_titles(opened.page)
    assert "Length of chosen over rejected" in titles
    assert "Sources" not in titles  # no row has one
    assert opened.page.locator(".warning:visible").count() == 0
    assert opened.complaints == []
    opened.page.close()


@pytest.mark.slow
def test_what_the_audit_lacks_is_left_out(browser: Browser, tmp_path: Path) -> None:
    folder = write_feedback_folder(tmp_path / "data", feedback_rows(30))
    opened = Opened(browser.new_page(), [])
    parts = [None, *json.loads((folder / "audit.json").read_text())]
    for part in parts:
        audit = json.loads((folder / "audit.json").read_text())
        (folder / "audit.json").write_text(
            json.dumps({name: None if name == part else one for name, one in audit.items()})
        )
        made(folder, tmp_path / "page.html")
        if part is None:
            opened.open(tmp_path / "page.html")
            before = page_titles(opened.page)
            continue
        opened.page.reload()
        until(lambda: opened.page.evaluate("performance.getEntriesByName('prompts').length"))
        opened.shows(30)
        now = page_titles(opened.page)
        assert set(now) <= set(before)
        before = now
    assert before == []
    assert opened.complaints == []
    opened.page.close()


def page_titles(page: Page) -> list[str]:
    return page.locator("#figures h3").all_inner_texts()


def test_the_command_writes_it_once_and_says_where(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    run = tmp_path / "run"
    first = cli("report", tiny / "tiny.yaml", "--run", run)
    page = run / "report" / "report.html"
    assert first.code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert f"open {page} in a browser" in first.out
    again = cli("report", tiny / "tiny.yaml", "--run", run, "--json")
    found = json.loads(again.out)
    assert (found["report"]["ran"], found["page"]) == (False, str(page))
