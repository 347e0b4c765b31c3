"""The check of a README.md's metadata that the Hub answers to POST /api/validate-yaml.

Messages follow the Hub's; what it warns of in a healthy card's cosmetics is left out.
Source: https://huggingface.co/docs/hub/model-cards and the client's tests of cards (2.4.0).
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

# https://huggingface.co/docs/hub/repositories-licenses
_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl
ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1
lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3
llama4 gemma grok2-community unknown other
"""
LICENSES = tuple(_LICENSES.split())
RELATIONS = ("adapter", "finetune", "merge", "quantized")

_FRONT = re.compile(
    r"\A\s*---[ \t]*\r?\n(?P<yaml>.*?)(?:^|\r?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?")


@dataclass
class Findings:
    """What a card's check found, and its metadata where they are a mapping."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


def front_matter(content: str) -> str | None:
    """Return a card's YAML, without its dashes; None without any."""
    match = _FRONT.match(content)
    return match["yaml"] if match else None


def check_card(content: str) -> Findings:
    """Check the metadata of a README.md."""
    findings = Findings()
    text = front_matter(content)
    if text is None or not text.strip():
        findings.warnings.append("empty or missing yaml metadata in repo card")
        return findings
    try:
        metadata = yaml.safe_load(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        findings.errors.append("YAML Metadata Error: " + " ".join(str(error).split()))
        return findings
    if not isinstance(metadata, dict) or not isinstance(node, yaml.MappingNode):
        findings.errors.append("YAML Metadata Error: metadata must be a mapping")
        return findings
    keys = [key.value for key, _ in node.value]
    if twice := {key for key in keys if keys.count(key) > 1}:
        findings.errors.append(f"YAML Metadata Error: duplicated mapping key {min(twice)!r}")
    findings.metadata = metadata
    for check in (_license, _base_model, _strings, _model_index, _configs):
        findings.errors += check(metadata)
    return findings


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _license(metadata: dict[str, Any]) -> list[str]:
    known = all(value in LICENSES for value in _as_list(metadata.get("license")))
    return [] if known else [f'"license" must be one of [{", ".join(LICENSES)}]']


def _base_model(metadata: dict[str, Any]) -> list[str]:
    errors = [
        f'"base_model" with value "{value}" is not valid. Use a model id from https://hf.co/models.'
        for value in _as_list(metadata.get("base_model"))
        if not isinstance(value, str) or not _REPO_ID.fullmatch(value)
    ]
    if metadata.get("base_model_relation", "adapter") not in RELATIONS:
        errors.append(f'"base_model_relation" must be one of [{", ".join(RELATIONS)}]')
    return errors


def _strings(metadata: dict[str, Any]) -> list[str]:
    errors = [
        f'"{key}" must be a string'
        for key in ("pipeline_tag", "library_name", "license_name", "license_link")
        if not isinstance(metadata.get(key, ""), str)
    ]
    for key in ("tags", "datasets", "metrics", "task_categories", "size_categories", "source_datasets"):
        if not all(isinstance(value, str) for value in _as_list(metadata.get(key))):
            errors.append(f'"{key}" must be a string or an array of strings')
    return errors


def _model_index(metadata: dict[str, Any]) -> list[str]:
    if "model-index" not in metadata:
        return []
    index = metadata["model-index"]
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    errors = []
    for m, model in enumerate(index):
        at = f"model-index[{m}]"
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            errors.append(f'"{at}.name" is required')
            continue
        if not isinstance(model.get("results"), list):
            errors.append(f'"{at}.results" must be an array')
            continue
        for r, result in enumerate(model["results"]):
            errors += _result(f"{at}.results[{r}]", result)
    return errors


def _configs(metadata: dict[str, Any]) -> list[str]:
    """Check where a data set's card says that its files lie, as the viewer and `datasets` read it."""
    configs = metadata.get("configs", [])
    if not isinstance(configs, list):
        return ['"configs" must be an array']
    errors = []
    for c, config in enumerate(configs):
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            errors.append(f'"configs[{c}].config_name" is required')
            continue
        files = config.get("data_files", [])
        for f, file in enumerate(files if isinstance(files, list) else []):
            if isinstance(file, dict) and not {"split", "path"} <= file.keys():
                errors.append(f'"configs[{c}].data_files[{f}]" needs "split" and "path"')
    return errors


def _result(at: str, result: Any) -> list[str]:
    if not isinstance(result, dict):
        return [f'"{at}" must be of type object']
    errors = []
    for part, keys in (("task", ("type",)), ("dataset", ("type", "name"))):
        value = result.get(part)
        if value is None and part == "dataset":
            continue
        missing = [key for key in keys if not isinstance(value, dict) or not isinstance(value.get(key), str)]
        errors += [f'"{at}.{part}.{key}" is required' for key in missing]
    metrics = result.get("metrics")
    if not isinstance(metrics, list):
        return [*errors, f'"{at}.metrics" must be an array']
    for i, metric in enumerate(metrics):
        for key in ("type", "value"):
            if not isinstance(metric, dict) or metric.get(key) is None:
                errors.append(f'"{at}.metrics[{i}].{key}" is required')
    return errors
