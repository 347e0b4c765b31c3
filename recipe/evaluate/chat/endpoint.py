"""Where the judge is asked, and the key to it: from the recipe and the environment."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from recipe.errors import UserError
from recipe.evaluation import Evaluation

URL, KEY, KEY_PATH = "OPENAI_BASE_URL", "OPENAI_API_KEY", "NOTUS_JUDGE_KEY_PATH"


@dataclass(frozen=True)
class Endpoint:
    """A model at an endpoint of OpenAI's protocol.

    Attributes:
        model: Its name there.
        url: Up to `/v1`, as it was given.
        key: Goes into the header of each request, and nowhere else.
    """

    model: str
    url: str
    key: str = field(repr=False)

    @property
    def host(self) -> str:
        """The host, and the port if it has one: what may be told of the address."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    @property
    def identity(self) -> dict[str, str]:
        """What its answers are answers of: the model and the address without names and passwords in it."""
        parts = urlsplit(self.url)
        return {
            "model": self.model,
            "endpoint": urlunsplit((parts.scheme, self.host, parts.path.rstrip("/"), "", "")),
        }

    def without_key(self, text: str) -> str:
        """Return a text of the endpoint's in one line, with the key taken out if it repeats it."""
        return " ".join(text.replace(self.key, "***").split())


def endpoint_of(evaluation: Evaluation) -> Endpoint:
    """Return the judge of a recipe.

    Raises:
        UserError: It names none, there is no address or no key, or the address is none.
    """
    if evaluation.judge is None:
        raise UserError(
            "chat: nobody judges; name a model with `judge`, as with `--set judge=gpt-4-0613`, and its endpoint with "
            f"`judge_url` or {URL}"
        )
    where = "judge_url" if evaluation.judge_url else URL
    url = evaluation.judge_url or os.environ.get(URL, "").strip()
    if not url:
        raise UserError(
            f"chat: the judge {evaluation.judge} has no endpoint; set `judge_url` in the recipe, or {URL}, to its "
            "address up to /v1"
        )
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:  # a port that is no number
        sound = False
    if not sound:
        raise UserError(
            f"chat: {where} is no http:// or https:// address"
        )  # not repeated: it may hold a password
    return Endpoint(evaluation.judge, url, _key())


def _key() -> str:
    """Return the key of the environment, or of the file that it names."""
    if key := os.environ.get(KEY, "").strip():
        return _sound(key, KEY)
    if place := os.environ.get(KEY_PATH):
        try:
            key = Path(place).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"chat: {KEY_PATH} names {place}, which can't be read ({error})") from None
        if key:
            return _sound(key, f"{KEY_PATH} names {place}, which")
        raise UserError(f"chat: {KEY_PATH} names {place}, which is empty; write the judge's key into it")
    raise UserError(
        f"chat: no key for the judge; set {KEY}, or {KEY_PATH} to a file that holds it (any word, if the endpoint asks "
        "for none)"
    )


def _sound(key: str, what: str) -> str:
    """Return a key that can stand in a request's header; it is not repeated where it can't."""
    if key.isascii() and key.isprintable():
        return key
    raise UserError(f"chat: {what} holds characters that no key has; set it to the key alone, in one line")
