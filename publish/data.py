"""Whether a release has its data set with it, and what stands against that. Loads nothing heavy."""

from pathlib import Path

from recipe.disk import read_json
from recipe.errors import UserError
from recipe.schema import Recipe

DATA = "data"  # what release.json calls the data set among the repositories


def repo_type(kind: str) -> str:
    """Return what the Hub calls a repository of that kind."""
    return "dataset" if kind == DATA else "model"


def goes_along(recipe: Recipe, folder: Path, *, asked: bool, hub: str | None = None) -> bool:
    """Whether the run's data set belongs to its release: asked for, or published with it before.

    Args:
        recipe: The recipe.
        folder: The run folder.
        asked: Whether the command line says `--data`.
        hub: `local` or `remote`: what went to the one may still have to stay away from the other.

    Raises:
        UserError: It does, and the recipe does not say what is needed for it.
    """
    record = folder / "release.json"
    if not asked:
        if recipe.release.hub_dataset_id is None or not record.is_file():
            return False
        before = read_json(record)
        if DATA not in before["repositories"] or hub not in {None, before["hub"]}:
            return False
    refuse_unpublishable(recipe)
    return True


def refuse_unpublishable(recipe: Recipe) -> None:
    """Refuse to publish pairs without a place or a licence, or over the data that they were made of.

    Raises:
        UserError: Names the key to set.
    """
    name, release, science = recipe.name, recipe.release, recipe.science
    if release.hub_dataset_id is None:
        raise UserError(
            f"--data: {name} has no hub_dataset_id; set it to the repository that the pairs go to"
        )
    refuse_no_repository_name("hub_dataset_id", release.hub_dataset_id)
    if science.dataset_source == "hub" and release.hub_dataset_id.lower() == science.dataset.lower():
        raise UserError(f"hub_dataset_id: {science.dataset} is what the pairs are made of; name another")
    if release.dataset_license is None:
        raise UserError(
            f"--data: {name} has no dataset_license; set it to what the feedback's allows (UltraFeedback's: mit)"
        )
    from publish.localhub.card_check import LICENSES

    if release.dataset_license not in LICENSES:
        raise UserError(
            f"dataset_license: the Hub knows no {release.dataset_license!r}; give one as mit, cc-by-4.0 or other"
        )


def refuse_no_repository_name(key: str, name: str) -> None:
    """Refuse what the Hub would not take for a repository's name; `key` is the recipe's.

    Raises:
        UserError: Names the key.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UserError(f"{key}: {name!r} is not a repository name; write it as owner/name") from None
