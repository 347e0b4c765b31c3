"""Which commit the code is of: by git where the code lies in a checkout, by the image in one, else not known."""

import subprocess
from pathlib import Path

import pytest

from recipe.code import Code, code_of, commit_of_tag
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run, Stage


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.invalid")
    ended = subprocess.run(
        ["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of two commits, the first of them tagged v1, that has a file called as ours."""
    monkeypatch.delenv("NOTUS_REVISION", raising=False)
    root = tmp_path / "checkout"
    (root / "recipe").mkdir(parents=True)
    git(root, "init", "--quiet")
    (root / "recipe" / "code.py").write_text("1\n")
    (root / ".gitignore").write_text("/runs/\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "One")
    git(root, "tag", "--annotate", "--message", "One", "v1")
    (root / "recipe" / "code.py").write_text("2\n")
    git(root, "commit", "--quiet", "--all", "--message", "Two")
    return root


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    (checkout / "runs").mkdir()
    (checkout / "runs" / "ignored").touch()
    code = code_of(checkout)
    assert code == Code(git(checkout, "rev-parse", "HEAD"), ())
    assert code.entry() == {"commit": git(checkout, "rev-parse", "HEAD"), "clean": True}


def test_what_is_not_as_committed_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "recipe" / "code.py").write_text("3\n")
    (checkout / "new file.py").touch()
    (checkout / "staged.py").touch()
    git(checkout, "add", "staged.py")
    git(checkout, "config", "status.showUntrackedFiles", "no")  # what this user sees is not what there is
    code = code_of(checkout)
    assert set(code.changed or ()) == {"recipe/code.py", "new file.py", "staged.py"}
    assert code.entry() == {"commit": git(checkout, "rev-parse", "HEAD"), "clean": False}


def test_a_hooks_environment_leads_nowhere_else(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet", "another")
    head = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another" / ".git"))
    assert code_of(checkout).commit == head


def test_code_within_anothers_checkout_is_of_no_commit(checkout: Path) -> None:
    installed = checkout / "runs" / "site-packages"
    (installed / "recipe").mkdir(parents=True)
    (installed / "recipe" / "code.py").write_text("1\n")
    assert code_of(installed) == Code()
    assert code_of(installed).entry() == {"commit": None, "clean": None}


def test_no_git_and_no_checkout(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_of(tmp_path) == Code()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_of(checkout) == Code()


def test_in_the_image_it_is_the_images_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTUS_REVISION", "c" * 40)
    (checkout / "new.py").touch()
    assert code_of(checkout).entry() == {"commit": "c" * 40, "clean": True}
    monkeypatch.setenv("NOTUS_REVISION", "unknown")  # built by hand
    assert code_of(checkout).entry() == {"commit": None, "clean": None}


def test_the_commit_of_a_tag(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit_of_tag("v1", checkout) == git(checkout, "rev-parse", "HEAD^")
    assert commit_of_tag("v2", checkout) is None
    assert commit_of_tag("HEAD", checkout) is None
    monkeypatch.setenv("NOTUS_REVISION", "c" * 40)
    assert commit_of_tag("v1", checkout) is None
    monkeypatch.setenv("NOTUS_TAGGED", "d" * 40)
    assert commit_of_tag("v1", checkout) == "d" * 40


def test_a_stage_is_recorded_with_the_code_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTUS_REVISION", "a" * 40)

    def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
        (out / "made").write_text("made")
        monkeypatch.setenv("NOTUS_REVISION", "b" * 40)
        return {}

    stage = Stage("one", "a file", (), ("made",), ("science",), work)
    run = Run(tmp_path / "run", load_recipe("smoke"))
    with run.locked():
        assert run.bring([stage], Reporter(quiet=True))["one"]["ran"]
        # Another commit is no reason to do a stage again.
        assert not run.bring([stage], Reporter(quiet=True))["one"]["ran"]
    entry = run.done("one")
    assert entry is not None
    assert entry["code"] == {"commit": "a" * 40, "clean": True}
