"""`nox -s deploy`: what SkyPilot says of the tasks in `deploy/`, and of broken ones; 1 if anything is not well."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.deploy.check import GIVEN, IMAGE
from tests.deploy.defects import OF_TASKS, Defect

ROOT = Path(__file__).parents[2]
TASKS = ("gcp-spot.yaml", "kubernetes.yaml")
# What the comments in them build on, and where a dry run ends without a cloud.
HOLDS: dict[str, dict[str, Any]] = {
    "gcp-spot.yaml": {
        "resources": "GCP(a2-highgpu-8g[Spot]",
        "chosen": "GCP(a2-highgpu-8g[Spot]",
        "recovery": "{'strategy': 'EAGER_NEXT_REGION', 'max_restarts_on_errors': 2, 'recover_on_exit_codes': [143]}",
        "mounts": "gcsfuse",
        "gpu image": "skypilot:custom-gpu-ubuntu-2204-cuda13",  # with driver 580
        "secrets": "['HF_TOKEN']",
        "dryrun": "DefaultCredentialsError",
    },
    "kubernetes.yaml": {
        "resources": "Kubernetes(",
        "image": f"docker:{IMAGE}",
        "recovery": "{'strategy': 'FAILOVER', 'max_restarts_on_errors': 2, 'recover_on_exit_codes': [143]}",
        "volumes": "{'/runs': 'notus-runs'}",
        "grace": "30",
        "secrets": "['HF_TOKEN']",
        "dryrun": "VolumeNotFoundError",
    },
}


def task(file: str, defect: Defect | None = None) -> dict[str, Any]:
    """Return a task as it is put to SkyPilot, with a defect if one is given."""
    text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
    if defect is not None:
        assert defect.old in text, defect
        text = text.replace(defect.old, defect.new)
    envs = {key: GIVEN[key] for key in ("NOTUS_IMAGE", "NOTUS_BUCKET") if f"  {key}:" in text}
    return {"text": text, "envs": envs, "image": f"docker:{IMAGE}" if file == "kubernetes.yaml" else None}


def findings(python: str) -> list[str]:
    """Return what is not well, a line each.

    Args:
        python: The Python that has SkyPilot.

    Raises:
        subprocess.CalledProcessError: It gave no answer.
    """
    asked = [task(file) for file in TASKS] + [task(defect.file, defect) for defect in OF_TASKS]
    answered = subprocess.run(
        [python, str(Path(__file__).with_name("sky_says.py"))],
        input=json.dumps(asked), stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True, timeout=600,
    )  # fmt: skip
    answers = json.loads(answered.stdout)
    found = []
    for file, said in zip(TASKS, answers, strict=False):
        if "refused" in said:
            found.append(f"{file}: {said['refused']}")
            continue
        for key, value in HOLDS[file].items():
            if value not in str(said.get(key)):
                found.append(f"{file}: {key}: {said.get(key)}, and not {value}")
        print(f"{file}: {said['resources']}; the dry run ends with {said['dryrun']}")  # noqa: T201
    mounts = str(answers[0].get("mounts"))
    if "--rename-dir-limit 10000" not in mounts or "-o allow_other" not in mounts:
        found.append(f"gcp-spot.yaml: mounted otherwise than its comments say: {mounts}")
    for defect, said in zip(OF_TASKS, answers[len(TASKS) :], strict=True):
        if defect.said not in said.get("refused", said.get("dryrun", "")):
            found.append(f"{defect.file}: {defect.new!r} for {defect.old!r} was not noticed: {said}")
    return found


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sky", required=True, help="the Python that has SkyPilot")
    found = findings(parser.parse_args().sky)
    for line in found:
        print(line)  # noqa: T201
    said = "not well" if found else f"all is well, and {len(OF_TASKS)} broken tasks were refused"
    print(f"deploy: SkyPilot's parser and optimizer: {said}")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
