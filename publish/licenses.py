"""The licence of an installed package, as it says itself."""

import importlib.metadata

# As packages spell a licence that has one identifier only. "BSD" or "Apache" alone have several.
SPELLINGS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}


def license_of(name: str, version: str) -> str:
    """Return the licence of a package: an SPDX expression where it gives one, else as it calls it; "" if unknown.

    Args:
        name: The package.
        version: Which one: of another that is installed nothing is told.
    """
    from cyclonedx.spdx import fixup_id, is_expression

    try:
        found = importlib.metadata.distribution(name).metadata
    except importlib.metadata.PackageNotFoundError:
        return ""
    if found["Version"] != version:
        return ""
    given = [*(found.get_all("License-Expression") or ()), *(found.get_all("License") or ())]
    classified = [text for text in found.get_all("Classifier") or () if text.startswith("License ::")]
    given += [text.rpartition(" :: ")[2] for text in classified]
    # Some packages put the whole text there, or that they don't know.
    said = [
        text.strip() for text in given if text.strip() not in {"", "UNKNOWN"} and "\n" not in text.strip()
    ]
    for text in said:
        if (known := fixup_id(text) or SPELLINGS.get(text.lower())) or is_expression(text):
            return known or text
    return said[-1] if said else ""  # a classifier is the clearer word
