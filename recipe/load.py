"""From a YAML file to a `Recipe`: `extends`, `--set key=value`, the lock of pins, and clear refusals."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from recipe.errors import UserError
from recipe.schema import SECTION_OF, SECTIONS, Recipe, Science, is_commit, source_of

RECIPES = Path(__file__).parent / "recipes"

# The alignment-handbook's keys that say nothing here: it asked for what we always do.
HANDBOOK_NOISE = {
    "do_eval",
    "hub_strategy",
    "log_level",
    "logging_strategy",
    "output_dir",
    "preprocessing_num_workers",
    "push_to_hub",
}
REVISION_OF = {
    "model_name_or_path": "model_revision",
    "tokenizer": "tokenizer_revision",
    "dataset": "dataset_revision",
}

OF_ONE_MODEL = {"banner", "banner_alt", "developers", "story", "why_name", "license_reason", "sources"}
OF_ONE_MODEL |= {"evaluate", "floors"}
# Changes of the science that no story is about: it tells of base, data and hyperparameters.
NOT_TOLD = {*REVISION_OF.values(), "seed"}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans (5e-7 is a float, `no` and 12:30 are strings), and no key twice.

    Of the ways to write an integer only the decimal one is taken; 010, 8 to some and 10 to others, is a string.
    """


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in pairs
        if tag.removeprefix("tag:yaml.org,2002:") not in {"bool", "int", "float", "timestamp"}
    ]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


class _Dumper(yaml.SafeDumper):
    """Quotes a string that YAML 1.1 leaves plain and `_Loader` would read as a float: '1e5'."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _no_key_twice(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be a plain word", key_node.start_mark
            )
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is there twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _no_key_twice)


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe given by path or by the name of one that ships with Notus.

    `recipe/recipes/NAME.yaml`, as the README has it, is found from any folder.

    Raises:
        UserError: There is no such file.
    """
    path = Path(name)
    candidates = [path, RECIPES / f"{name}.yaml"]
    if path.parent in {Path(), Path("recipe/recipes")}:
        candidates.append(RECIPES / path.name)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
    raise UserError(f"{name}: no such recipe; give a YAML file or one of: {known}")


def load_recipe(name: str | Path, overrides: Sequence[str] = (), version: str | None = None) -> Recipe:
    """Load a recipe with all that it extends, `key=value` overrides and the pins of its lock applied.

    Args:
        name: A recipe file, or the name of a shipped one.
        overrides: `key=value` each.
        version: Takes the place of the recipe's `version`.

    Raises:
        UserError: A missing or broken file, a circle of `extends`, a key or value that the schema refuses.
    """
    path = find_recipe(name)
    values = _read_chain(path)
    given = dict(_parse_override(text) for text in overrides)
    values = _over(values, _translate_handbook(given, "--set"))
    if version is not None:
        values["version"] = version
    return build_recipe(path.stem, _pinned(values, lock_path(path)), where=str(path))


def build_recipe(name: str, values: Mapping[str, Any], *, where: str) -> Recipe:
    """Sort flat `values` into sections and validate them.

    Args:
        name: The recipe's name.
        values: Key to value, as in a recipe file.
        where: What error messages call the place the values come from.

    Raises:
        UserError: The first key that is unknown, missing or ill-typed, with the nearest known one.
    """
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in values.items():
        if key not in SECTION_OF:
            near = difflib.get_close_matches(key, SECTION_OF, n=1, cutoff=0)
            raise UserError(f"{where}: unknown key {key!r}; did you mean {near[0]!r}?")
        sections[SECTION_OF[key]][key] = value
    try:
        checked: dict[str, Any] = {
            section: SECTIONS[section].model_validate(found) for section, found in sections.items()
        }
        return Recipe(name=name, **checked)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error)}") from None


def lock_path(recipe: Path) -> Path:
    """Return where the pins of `recipe` lie: beside it."""
    return recipe.with_suffix(".lock.json")


def read_lock(path: Path) -> dict[str, str]:
    """Return the commit id of each pinned `model:ID@REVISION` and `dataset:ID@REVISION`."""
    if not path.is_file():
        return {}
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a lock file ({error}); make it anew with `notus recipe pin`") from None
    if not isinstance(pins, dict) or not all(
        isinstance(pin, str) and is_commit(pin) for pin in pins.values()
    ):
        raise UserError(f"{path}: not a lock file of full commit ids; make it anew with `notus recipe pin`")
    return pins


def hub_inputs(values: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return revision key -> (lock key, repository) for each Hub repository named in `values`."""
    inputs = {}
    for name_key, revision_key in REVISION_OF.items():
        kind = "dataset" if name_key == "dataset" else "model"
        name, revision = values.get(name_key), values.get(revision_key, "main")
        if isinstance(name, str) and isinstance(revision, str) and source_of(name) == "hub":
            inputs[revision_key] = (f"{kind}:{name}@{revision}", name)
    return inputs


def _pinned(values: dict[str, Any], lock: Path) -> dict[str, Any]:
    values = _split_revisions(values)
    pins = read_lock(lock)
    keys = {revision_key: key for revision_key, (key, _) in hub_inputs(values).items()}
    return values | {revision_key: pins[key] for revision_key, key in keys.items() if key in pins}


def _split_revisions(values: dict[str, Any]) -> dict[str, Any]:
    """Read `owner/name@revision` as a name and its revision."""
    for name_key, revision_key in REVISION_OF.items():
        found = re.fullmatch(r"([\w.-]+/[\w.-]+)@([\w./-]+)", str(values.get(name_key)))
        if found and not Path(found[0]).exists():
            values = values | {name_key: found[1], revision_key: found[2]}
    return values


def _read_chain(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        circle = " -> ".join(file.name for file in (*seen[seen.index(path) :], path))
        raise UserError(f"{path}: `extends` goes in a circle ({circle}); remove one of them")
    values = _read_yaml(path)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise UserError(f"{path}: `extends` must be the name of one recipe, not {parent!r}")
    file = parent if parent.endswith((".yaml", ".yml")) else f"{parent}.yaml"
    beside, shipped = path.parent / file, RECIPES / file
    found = beside if beside.is_file() else shipped
    if not found.is_file():
        raise UserError(
            f"{path}: extends {parent!r}, but there is no {beside}, and none of that name ships with Notus"
        )
    return _over(_read_chain(found, (*seen, path)), values)


def _over(under: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` laid over `under`.

    A revision, a format, numbers of rows and tokens, a licence and where the pairs are published are of one data set;
    what the cards tell, and how good it has to be, is of one model: neither its name nor its base or its data are
    another's; and the story of one way to make it.
    """
    stale = {revision for name, revision in REVISION_OF.items() if name in values}
    if "dataset" in values:
        stale |= {"dataset_format", "assumed_dataset_rows", "assumed_mean_tokens"}
        stale |= {"hub_dataset_id", "dataset_license"}
    if values.keys() & {"model_name_or_path", "dataset", "model_name"}:
        stale |= OF_ONE_MODEL
    if values.keys() & Science.model_fields.keys() - NOT_TOLD:
        stale.add("story")
    return {key: value for key, value in under.items() if key not in stale} | values


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save the recipe as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise UserError(f"{path}{where}: {problem}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path}: a recipe is a list of `key: value` lines")
    return _translate_handbook(values, str(path))


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: write it as key=value")
    try:
        parsed = yaml.load(value, Loader=_Loader)
    except yaml.YAMLError:
        parsed = value
    if isinstance(parsed, str | list | dict) and not value.lstrip().startswith(("'", '"', "[", "{")):
        parsed = value.strip()  # as it stands: YAML would end it at a " #", or make `a: b` a mapping
    return key.strip(), parsed


def _translate_handbook(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read the alignment-handbook's own spelling, where ours differs, and drop what says nothing here."""
    values = {key: value for key, value in values.items() if key not in HANDBOOK_NOISE}
    mixer = values.pop("dataset_mixer", None)
    if mixer is not None:
        if not isinstance(mixer, dict) or list(mixer.values()) != [1.0]:
            raise UserError(f"{where}: dataset_mixer must be one data set at 1.0, as in `{{org/name: 1.0}}`")
        if "dataset" in values:
            raise UserError(f"{where}: dataset and dataset_mixer name the data twice; remove one of them")
        values["dataset"] = next(iter(mixer))
    return values


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][:1])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"the key {key!r} is missing; add it, or `extends:` a recipe that has it"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}"


def dump_resolved(recipe: Recipe) -> str:
    """Return a recipe as the YAML of a run folder, every key written out."""
    return yaml.dump(recipe.flat(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_resolved(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the name and the flat values of the recipe that a run folder holds."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest["recipe"], _read_yaml(folder / "recipe.yaml")
