"""What of the environment is secret, and so goes to no child that does without."""

import os
from collections.abc import Collection

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")
# A key, its password, and the identity of a CI job.
SIGNING = (
    "NOTUS_SIGNING_KEY",
    "NOTUS_SIGNING_PASSWORD",
    "NOTUS_SIGNING_PASSWORD_PATH",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
)


def environment_without(names: Collection[str]) -> dict[str, str]:
    """Return this process's environment for a child, without some of its variables."""
    return {name: value for name, value in os.environ.items() if name not in names}
