"""`notus recipe pin`: the commit ids behind a recipe's Hub repositories, written beside it once."""

from pathlib import Path

from recipe.disk import write_json
from recipe.errors import UserError
from recipe.hub import hub_errors
from recipe.load import find_recipe, hub_inputs, load_recipe, lock_path, read_lock
from recipe.schema import Recipe, is_commit


def pin(name: str | Path) -> tuple[Path, dict[str, str]]:
    """Resolve each Hub repository that the recipe names by a branch or tag, and write the lock.

    Pins that are there already stay: a pinned recipe does not move. Remove the lock to pin anew.

    Returns:
        The lock's path and its pins.

    Raises:
        UserError: The Hub can't be reached, or has no such repository.
    """
    from huggingface_hub import HfApi

    path = find_recipe(name)
    lock = lock_path(path)
    pins = read_lock(lock)
    for key, repo in hub_inputs(load_recipe(path).flat()).values():
        kind, revision = key.partition(":")[0], key.rpartition("@")[2]
        if key in pins or is_commit(revision):
            continue
        with hub_errors(f"{repo} at {revision}"):
            sha = HfApi().repo_info(repo, repo_type=kind, revision=revision).sha
        assert sha is not None
        pins[key] = sha
    write_json(lock, pins)
    return lock, pins


def refuse_unpinned(recipe: Recipe) -> None:
    """Refuse to release what can't be made again, since a repository that it names may move.

    Raises:
        UserError: Names the keys.
    """
    if recipe.science.unpinned:
        raise UserError(
            f"{recipe.name}: {' and '.join(recipe.science.unpinned)} not pinned; run `notus recipe pin` on it first"
        )
