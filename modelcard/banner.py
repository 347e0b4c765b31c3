"""The picture above the cards: the built-in one, or a PNG of the author's."""

from pathlib import Path

from recipe.errors import UserError
from recipe.schema import BUILTIN, Release, whole_path

ASSETS = Path(__file__).parent / "assets"
NOTUS = f"{BUILTIN}notus"
PNG = b"\x89PNG\r\n\x1a\n"


def read_banner(release: Release) -> bytes | None:
    """Return the banner's PNG; None where the recipe names none.

    Raises:
        UserError: It is no PNG that can be read, or nothing says what it shows.
    """
    if release.banner is None:
        return None
    if release.banner == NOTUS:
        return (ASSETS / "banner.png").read_bytes()
    if release.banner.startswith(BUILTIN):
        raise UserError(f"banner: {release.banner} is none; give {NOTUS}, or a PNG of yours")
    path = whole_path(release.banner)
    if not release.banner_alt:
        raise UserError(f"banner: {path} needs `banner_alt`: say what it shows, for who can't see it")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"banner: {path} can't be read ({error.strerror}); give a PNG of yours") from None
    if not content.startswith(PNG):
        raise UserError(f"banner: {path} is no PNG; save it as one")
    return content


def banner_alt(release: Release) -> str | None:
    """Return what the banner shows, in a line; None where the recipe names none."""
    if release.banner is None:
        return None
    said = release.banner_alt
    if not said and release.banner == NOTUS:
        said = (ASSETS / "alt.txt").read_text(encoding="utf-8")
    return " ".join((said or "").split())
