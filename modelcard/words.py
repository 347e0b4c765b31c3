"""Facts as people read them."""

import re

from modelcard.facts.hardware import Hardware

HUB = "https://huggingface.co"
LICENSES = {
    "apache-2.0": "Apache 2.0",
    "mit": "MIT",
    "cc-by-4.0": "CC BY 4.0",
    "cc-by-sa-4.0": "CC BY-SA 4.0",
}
LANGUAGES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fr": "French", "hi": "Hindi", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ru": "Russian",
    "tr": "Turkish", "zh": "Chinese",
}  # fmt: skip


def number(value: float, digits: int = 2) -> str:
    """Return a count with its thousands apart, or another figure with `digits` after the point."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def share(value: float) -> str:
    """Return a share in percent."""
    return f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Return how long something took, in the two largest units that say something."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{minutes // 60} h {minutes % 60} min"


def memory(size: int) -> str:
    """Return bytes in GiB, as memory is counted."""
    gib = size / 2**30
    return f"{gib:.0f} GiB" if gib >= 10 else f"{gib:.1f} GiB"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(values: list[str]) -> str:
    """Return a list in a sentence."""
    return " and ".join(filter(None, [", ".join(values[:-1]), *values[-1:]]))


def license_name(name: str) -> str:
    """Return a licence as it is called, or its identifier."""
    return LICENSES.get(name, name)


def language_name(code: str) -> str:
    """Return a language as it is called, or its code."""
    return LANGUAGES.get(code, code)


def cell(value: object) -> str:
    """Return a text as it may stand in a table."""
    return re.sub(r"[^\S\xa0]+", " ", str(value)).strip().replace("|", "\\|")


def alt(text: str) -> str:
    """Return a text as it may stand between the brackets of a picture."""
    return re.sub(r"([\[\]\\])", r"\\\1", " ".join(text.split()))


def fenced(text: str, language: str = "") -> str:
    """Return a text as a block of code, between more backticks than it has."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.removesuffix(chr(10))}\n{fence}"


def machine(hardware: Hardware) -> str:
    """Return what it was trained on, in a line."""
    if hardware.gpus:
        card = hardware.gpus[0]
        names = {gpu.name for gpu in hardware.gpus}
        said = f"{hardware.devices} x {' and '.join(sorted(names))}, {memory(card.memory_bytes)} each"
    else:
        said = f"{plural(hardware.devices, 'process', 'processes')} on CPUs, no GPU"
    return said + (f", on {hardware.nodes} nodes" if hardware.nodes > 1 else "")


def tidy(text: str) -> str:
    """Return Markdown without blank lines in a row and spaces at the end of lines, blocks of code as they are."""
    parts = re.split(r"(^(`{3,}).*?^\2[ \t]*$)", text, flags=re.DOTALL | re.MULTILINE)
    # Each block comes with its fence as a group of its own.
    outside = [re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", part)) for part in parts[::3]]
    blocks = [*parts[1::3], ""]
    whole = "".join(text for pair in zip(outside, blocks, strict=True) for text in pair)
    return whole.strip() + "\n"
