"""Digests of texts by columns: the same for the same texts, in every version of every library."""

import polars as pl
from polars_hash import CryptographicHashingNameSpace

DIGITS = 16
"""Hex digits of an id: 64 bits, enough to tell some millions of rows apart."""


def sha256(text: pl.Expr) -> pl.Expr:
    """Return the SHA-256 of each text's UTF-8, 64 hex digits."""
    return CryptographicHashingNameSpace(text).sha2_256()


def short_id(*texts: pl.Expr) -> pl.Expr:
    """Return 16 hex digits over several texts of a row."""
    return sha256(unambiguous(*texts)).str.head(DIGITS)


def unambiguous(*texts: pl.Expr) -> pl.Expr:
    """Return texts as one that no other texts give: each after its length in bytes, -1 for null."""
    parts = (
        part
        for text in texts
        for part in (
            text.str.len_bytes().cast(pl.Int64).fill_null(-1).cast(pl.String),
            pl.lit(":"),
            text.fill_null(""),
        )
    )
    return pl.concat_str(*parts)
