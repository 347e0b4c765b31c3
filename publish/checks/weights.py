"""Weights: safetensors files that are whole, the index over their shards, and an adapter's matrices."""

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from publish.checks.folder import BadFileError, Fault, Folder, parse_json

SUFFIX, INDEX_SUFFIX = ".safetensors", ".safetensors.index.json"
ADAPTER, MODEL = "adapter_model.safetensors", "model.safetensors"
LONGEST_HEADER = 100_000_000  # bytes; the library's own limit
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")

Tensors = dict[str, tuple[list[int], str]]


def weight_files(folder: Folder) -> list[str]:
    """Return the paths of the safetensors files."""
    return [name for name in folder.files if name.casefold().endswith(SUFFIX)]


def weight_faults(folder: Folder) -> Iterator[Fault]:
    """Give the weight files that are cut short or not as their headers, their index or the adapter's config say."""
    held: dict[str, Tensors] = {}
    for name in weight_files(folder):
        try:
            held[name] = read_tensors(name, folder.files[name])
        except BadFileError as error:
            yield Fault(error.said, error.file)
    indices = [name for name in folder.files if name.casefold().endswith(INDEX_SUFFIX)]
    for index in indices:
        yield from _index_faults(folder, index, held)
    if "adapter_config.json" in folder.files:
        if ADAPTER not in folder.files:
            yield Fault("missing; adapter_config.json is of an adapter", ADAPTER)
        elif ADAPTER in held:
            yield from _lora_faults(folder, held[ADAPTER])
    elif "config.json" in folder.files and MODEL not in folder.files and not indices:
        yield Fault("missing, and no index of shards either", MODEL)


def read_tensors(name: str, path: Path) -> Tensors:
    """Return shape and dtype of each tensor of a safetensors file.

    Args:
        name: What to call it.
        path: Where it lies.

    Raises:
        BadFileError: Its header can't be read, or the tensors don't fill the file without gap or overlap.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= LONGEST_HEADER else b""
        header = parse_json(text.decode())  # the library takes the last of two tensors of a name
        with safe_open(path, framework="numpy") as opened:
            slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
            tensors = {key: (one.get_shape(), one.get_dtype()) for key, one in slices.items()}
    except (SafetensorError, ValueError, OSError) as error:
        raise BadFileError(name, f"no whole safetensors file ({error})") from None
    if set(header) - {"__metadata__"} != set(tensors):
        raise BadFileError(name, "no whole safetensors file (its header can be read in two ways)")
    if not tensors:
        raise BadFileError(name, "holds no tensor")
    if empty := [key for key, (shape, _) in tensors.items() if not prod(shape)]:
        raise BadFileError(name, f"{empty[0]} is empty")
    return tensors


def _index_faults(folder: Folder, index: str, held: dict[str, Tensors]) -> Iterator[Fault]:
    try:
        weight_map: Any = folder.json_object(index).get("weight_map")
    except BadFileError as error:
        yield Fault(error.said, error.file)
        return
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(shard, str) for shard in weight_map.values())
    ):
        yield Fault("has no weight_map of tensor to file", index)
        return
    for shard in sorted(set(weight_map.values()) - set(folder.files)):
        yield Fault(f"named in {index}, and missing", shard)
    for shard in sorted(set(weight_files(folder)) - set(weight_map.values())):
        yield Fault(f"not named in {index}", shard)
    for shard, tensors in held.items():
        named = {tensor for tensor, where in weight_map.items() if where == shard}
        if named and (other := sorted(named ^ set(tensors))):
            where = "lacks" if other[0] in named else "holds, and the index does not say so,"
            yield Fault(f"{where} {other[0]}", shard)


def _lora_faults(folder: Folder, tensors: Tensors) -> Iterator[Fault]:
    try:
        config = folder.json_object("adapter_config.json")
    except BadFileError:
        return  # another check says so
    rank, other_ranks = config.get("r"), config.get("rank_pattern")
    ranks = [rank, *(other_ranks.values() if isinstance(other_ranks, dict) else ())]
    sides: dict[str, dict[str, list[int]]] = {}
    for name, (shape, _) in tensors.items():
        found = _LORA.fullmatch(name)
        if found is None or len(shape) != 2:
            yield Fault(f"{name} is no LoRA matrix", ADAPTER)
        else:
            sides.setdefault(found["module"], {})[found["side"]] = shape
    for module, shapes in sides.items():
        if len(shapes) < 2:
            yield Fault(f"{module} has lora_{min(shapes)} only", ADAPTER)
        elif (found_rank := shapes["A"][0]) != shapes["B"][1]:
            yield Fault(f"{module}: lora_A is of rank {found_rank}, lora_B of {shapes['B'][1]}", ADAPTER)
        elif found_rank not in ranks:
            yield Fault(f"{module} is of rank {found_rank}, adapter_config.json says {rank}", ADAPTER)
