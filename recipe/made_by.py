"""What a stage was made by: the versions of the libraries that count, and the image."""

import importlib.metadata
import os
import platform

RECORDED_VERSIONS = (
    "accelerate",
    "datasets",
    "huggingface-hub",
    "notus",
    "peft",
    "torch",
    "transformers",
    "trl",
)


def versions() -> dict[str, str]:
    """Return the versions that a manifest entry records, Python's among them."""
    found = {name: importlib.metadata.version(name) for name in RECORDED_VERSIONS if _installed(name)}
    return {"python": platform.python_version(), **found}


def image() -> dict[str, str | None]:
    """Return the image that this process runs in, if it is one.

    Its `digest` is known to who started it only; its commit (`revision`), and the command that builds it from that
    (`build`), if one does, it says itself.
    """
    if "NOTUS_REVISION" not in os.environ:
        return {}
    names = {"digest": "NOTUS_IMAGE", "revision": "NOTUS_REVISION", "build": "NOTUS_BUILD"}
    return {key: os.environ.get(name) or None for key, name in names.items()}


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
