"""What SkyPilot says of tasks, without a network and without a cloud. Run by the Python that has SkyPilot.

Reads a JSON list of tasks, `{"text", "envs", "image"}`, from its standard input and writes a list of answers, in the
same order: `{"refused"}`, why its parser or its optimizer takes the task for wrong, or what became of it.

Three things stand in for what a cloud would tell, and no answer depends on more than that they are there: a catalog of
a few machines (SkyPilot ships none and fetches it from GitHub, even to parse), whose prices are made up; the note in
its state that credentials were checked; and that this is its server, which alone is strict about unknown keys.
"""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ZONES = ("us-central1-a", "us-central1-f", "europe-west4-a")
GPUS = {  # name, count, vCPUs, GB of memory
    "a2-highgpu-8g": ("A100", 8, 96, 680),
    "a2-highgpu-1g": ("A100", 1, 12, 85),
    "a2-ultragpu-8g": ("A100-80GB", 8, 96, 1360),
}
MACHINES = (
    "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,"
    "SpotPrice"
)
GPU_FACTS = "\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 40960}}]}\""
IMAGES = "Tag,Region,OS,OSVersion,ImageId,CreationDate,BaseImageId"


def write_catalog(folder: Path) -> None:
    """Write the catalog that stands in for SkyPilot's."""
    rows = [MACHINES]
    for zone in ZONES:
        region = zone.rpartition("-")[0]
        for machine, (gpu, count, cpus, memory) in GPUS.items():
            rows.append(f"{machine},{cpus},{memory},,,,{region},{zone},1.0,0.5")
            rows.append(f",,,{gpu},{count},{GPU_FACTS},{region},{zone},{count}.0,{count / 2}")
        rows.append(f"n2-standard-8,8,32,,,,{region},{zone},1.0,0.5")
    tags = ("skypilot:custom-gpu-ubuntu-2204-cuda13", "skypilot:custom-cpu-ubuntu-2204")
    images = [IMAGES, *(f"{tag},,ubuntu,22.04,projects/p/global/images/i,20260603," for tag in tags)]
    accelerators = ["AcceleratorName,Clouds", *(f"{gpu},GCP" for gpu, *_ in GPUS.values())]
    for name, lines in (
        ("gcp/vms.csv", rows),
        ("gcp/images.csv", images),
        ("kubernetes/images.csv", [IMAGES]),
        ("common/accelerators.csv", accelerators),
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def answer(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what SkyPilot says of one task."""
    import sky
    import yaml
    from sky.clouds import kubernetes
    from sky.data import mounting_utils
    from sky.jobs import recovery_strategy

    file = folder / "task.yaml"
    file.write_text(task["text"], encoding="utf-8")
    try:
        config = yaml.safe_load(task["text"])
        parsed = sky.Task.from_yaml_config(config, env_overrides=list(task["envs"].items()))
        if task.get("image"):
            parsed.set_resources_override({"image_id": task["image"]})
        (resources,) = parsed.resources
        # Which strategies there are is found out by its controller only.
        recovery_strategy.registry.JOBS_RECOVERY_STRATEGY_REGISTRY.from_str(
            resources.job_recovery["strategy"]
        )
        said: dict[str, Any] = {
            "resources": str(resources),
            "spot": resources.use_spot,
            "recovery": resources.job_recovery,
            "nodes": parsed.num_nodes,
            "image": (resources.image_id or {}).get(None),
            "secrets": [ref.name for ref in parsed._managed_secret_refs],
            "volumes": parsed.volumes,
        }
        said["mounts"] = {
            path: mounting_utils.get_gcs_mount_cmd(storage.name, path)
            for path, storage in parsed.storage_mounts.items()
            if storage.mode.value == "MOUNT"
        }
        said["grace"] = kubernetes._compute_preemption_hook_timeout(resources.hooks)
        if resources.cloud.canonical_name() == "gcp":
            with sky.Dag() as dag:
                dag.add(parsed)
            sky.optimizer.Optimizer.optimize(dag, quiet=True)
            said["chosen"] = str(parsed.best_resources)
            said["gpu image"] = resources.cloud._get_gpu_image_id("A100")
        said["dryrun"] = dry_run(parsed)
    except BaseException as error:  # SkyPilot ends by SystemExit, too
        return {"refused": f"{type(error).__name__}: {error}"}
    return said


def dry_run(parsed: Any) -> str:
    """Return what ends `sky launch --dryrun`: it asks for the cloud's credentials, and there are none here."""
    from sky import execution

    try:
        execution.launch(parsed, cluster_name="notus", dryrun=True, _disable_controller_check=True)
    except BaseException as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return "done"


def main() -> None:
    """Answer."""
    tasks = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(sys.stderr):
        os.environ |= {
            "HOME": home,
            "SKY_RUNTIME_DIR": home,
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            "IS_SKYPILOT_SERVER": "true",
        }
        for name in ("KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "KUBERNETES_SERVICE_HOST"):
            os.environ.pop(name, None)
        from sky.skylet import constants

        write_catalog(Path(home) / ".sky" / "catalogs" / constants.CATALOG_SCHEMA_VERSION)
        from sky import check, global_user_state, skypilot_config
        from sky.clouds.cloud import CloudCapability
        from sky.server import plugins

        plugins.load_plugins(plugins.ExtensionContext())
        check.get_cached_enabled_clouds_or_refresh(CloudCapability.COMPUTE)  # once: there are none
        for capability in CloudCapability:
            global_user_state.set_enabled_clouds(
                ["gcp", "kubernetes"], capability, skypilot_config.get_active_workspace()
            )
        answers = [answer(task, Path(home)) for task in tasks]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
