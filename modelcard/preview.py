"""The cards as pages to look at, much as the Hub shows them. Nothing of it is published."""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from recipe.progress import Reporter
from recipe.run import Run, Stage

NAME = "preview"
FOLDING = re.compile(r"\s*(?:</?details>\s*|<summary>[^<>]*</summary>\s*)+")
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d8dde3; --back: #fff; --shade: #f6f7f9;
  --link: #0b62c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --soft: #98a2ad; --line: #333a43; --back: #0f1318;
  --shade: #1a1f26; --link: #6cb2ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.6 system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 40px 24px 96px; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
h1 { font-size: 1.9em; line-height: 1.25; margin: 1.1em 0 .6em; }
h2 { font-size: 1.4em; margin: 2em 0 .7em; padding-bottom: .3em; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.13em; margin: 1.7em 0 .6em; }
p, ul, table, pre, blockquote { margin: 0 0 1.05em; }
ul { padding-left: 1.4em; } li { margin: .2em 0; }
img { max-width: 100%; display: block; border-radius: 8px; }
code { background: var(--shade); border-radius: 4px; padding: .12em .35em; overflow-wrap: anywhere;
  font: .86em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 8px; padding: 13px 16px;
  overflow-x: auto; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
table { border-collapse: collapse; display: block; overflow-x: auto; max-width: 100%; font-size: .94em; }
th, td { border: 1px solid var(--line); padding: 6px 13px; text-align: left; vertical-align: top; }
th { background: var(--shade); font-weight: 600; }
td code { white-space: nowrap; }
blockquote { border-left: 4px solid var(--line); padding: .1em 0 .1em 16px; color: var(--soft); margin-left: 0; }
blockquote p { margin: 0; }
details { margin: 0 0 1.05em; border: 1px solid var(--line); border-radius: 8px; padding: 9px 16px; }
details > :last-child { margin-bottom: .3em; }
summary { cursor: pointer; } details[open] > summary { margin-bottom: .8em; }
.front { font-size: .84em; color: var(--soft); margin-bottom: 30px; }
.front td { padding: 3px 11px; } .front td:first-child { color: var(--ink); white-space: nowrap; }
"""


def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:  # noqa: ARG001 - every stage has one
    """Write `preview/KIND.html` of every card that the run has."""
    folder = out / NAME
    folder.mkdir()
    for kind, card in cards(run).items():
        beside = f"../{card.parent.relative_to(run.folder).as_posix()}/"
        page = as_page(card.read_text(encoding="utf-8"), beside)
        (folder / f"{kind}.html").write_text(page, encoding="utf-8", newline="\n")
    return {"pages": ", ".join(f"{NAME}/{kind}.html" for kind in cards(run))}


def cards(run: Run) -> dict[str, Path]:
    """Return the cards of a run by the kind of their repository."""
    found = {path.parent.name: path for path in sorted(run.path("card").glob("*/README.md"))}
    if run.done("dataset"):
        found["data"] = run.path("dataset", "README.md")
    return found


def as_page(card: str, beside: str) -> str:
    """Return a card as a page of HTML.

    Args:
        card: The README.md, YAML first.
        beside: Where its pictures lie, as the page has it; ends with a slash.
    """
    _, front, body = card.split("---\n", 2)
    markdown = MarkdownIt("commonmark").enable("table")
    for rule in ("html_block", "html_inline"):
        markdown.add_render_rule(rule, _html)
    tokens = markdown.parse(body)
    for token in (inner for outer in tokens for inner in outer.children or ()):
        if token.type == "image" and ":" not in str(token.attrs["src"]):
            token.attrs["src"] = beside + str(token.attrs["src"])
    heading = next(
        (tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"), ""
    )
    shown = markdown.renderer.render(tokens, markdown.options, {})
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{_value(str(key), value)}</td></tr>"
        for key, value in yaml.safe_load(front).items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(heading)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<table class="front">{rows}</table>\n{shown}</main>\n</body>\n</html>\n'
    )


def _html(_: object, tokens: Sequence[Token], place: int, *__: object) -> str:
    """Return what folds text away as it is, and other HTML as text."""
    content = tokens[place].content
    return content if FOLDING.fullmatch(content) else html.escape(content)


def _value(key: str, value: Any) -> str:
    """Return a value of the metadata; of results, one a line, only what they are."""
    if key == "model-index":
        results = [result for model in value for result in model["results"]]
        lines = [
            f"{result['dataset']['name']}, {metric['name']}: {metric['value']:.6g}"
            for result in results
            for metric in result["metrics"]
        ]
        return "<br>".join(map(html.escape, lines))
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return html.escape(", ".join(value))
    return html.escape(value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True))


PREVIEW = Stage(
    name=NAME,
    does="the cards as pages to look at",
    needs=("card", "dataset"),
    outputs=(NAME,),
    reads=(),
    work=work,
)
"""Beside the others: no release needs it."""
