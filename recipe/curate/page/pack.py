"""How columns and texts lie in the page: packed as bytes, deflated, in base64.

Both layouts are little-endian. `assets/data.js` reads what is written here.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from zlib_ng import zlib_ng

_LEVEL = 6  # as small as zlib's own level 6, in a fifth of its time
_NULL = 0xFFFFFFFF  # the length of a text that is null
_ALIGNED = 8  # bytes: so that a typed array can lie on them


def deflated(content: bytes) -> bytes:
    """Return `content` as raw deflate in base64. Lets other threads run meanwhile."""
    return b64encode(zlib_ng.compress(content, _LEVEL, -15))


def pack_texts(*columns: Any) -> bytes:
    """Pack Arrow arrays of strings, one after the other.

    Returns:
        The number of texts, each one's length in bytes (`0xFFFFFFFF` for null), all as uint32, and then the
        texts in UTF-8.
    """
    lengths, contents = [], []
    for column in columns:
        texts = column.cast(pa.large_binary()) if column.type != pa.large_binary() else column
        sizes = pc.binary_length(texts)
        lengths.append(sizes.fill_null(_NULL).to_numpy(zero_copy_only=False).astype("<u4"))
        contents.append(_joined(texts.fill_null(b"")))
    every = np.concatenate([np.zeros(0, "<u4"), *lengths])
    return b"".join([np.uint32(len(every)).astype("<u4").tobytes(), every.tobytes(), *contents])


def _joined(texts: Any) -> memoryview:
    """Return the bytes of an Arrow large_binary array without copying them."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data if data is not None else b"")[ends[0] : ends[-1]]


def pack_arrays(arrays: Mapping[str, "np.ndarray[Any, Any]"], facts: Mapping[str, object]) -> bytes:
    """Pack numpy arrays by name.

    Returns:
        The length of the head as uint32, the head (JSON: `facts` and, as `arrays`, each array's type, place and
        length), and the arrays, each at a multiple of 8 bytes after the head.
    """
    places, parts, at = {}, [], 0
    for name, array in arrays.items():
        content = array.astype(array.dtype.newbyteorder("<")).tobytes()
        places[name] = [array.dtype.kind + str(array.dtype.itemsize), at, len(array)]
        parts.append(content + b"\0" * (-len(content) % _ALIGNED))
        at += len(parts[-1])
    head = json.dumps({**facts, "arrays": places}, sort_keys=True).encode()
    head += b" " * (-(len(head) + 4) % _ALIGNED)
    return b"".join([np.uint32(len(head)).astype("<u4").tobytes(), head, *parts])


def coded(values: Sequence[Any]) -> tuple["np.ndarray[Any, Any]", list[Any]]:
    """Return Arrow arrays of strings as numbers (int32, -1 for null) and what they stand for, in order."""
    every = pa.chunked_array([part.cast(pa.string()) for part in values], pa.string())
    encoded = every.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda place: names[place])
    ranks = np.empty(len(names) + 1, np.int32)
    ranks[order], ranks[-1] = np.arange(len(names)), -1  # the last one: where null is sent
    codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return ranks[codes], [names[place] for place in order]
