"""Deployments that are broken on purpose, and what has to be said of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """One: in which file, what takes the place of what, and what the check has to say."""

    file: str
    old: str
    new: str
    said: str


# What SkyPilot has to refuse.
OF_TASKS = (
    Defect("gcp-spot.yaml", "use_spot:", "use_sport:", "did you mean 'use_spot'"),
    Defect("gcp-spot.yaml", "num_nodes:", "nodes:", "did you mean 'num_nodes'"),
    Defect("gcp-spot.yaml", "max_restarts_on_errors", "max_restarts", "'max_restarts' was unexpected"),
    Defect("gcp-spot.yaml", "EAGER_NEXT_REGION", "NEXT_REGION", "not a valid jobs recovery strategy"),
    Defect("gcp-spot.yaml", "A100:8", "A100:4", "A100"),
    Defect("gcp-spot.yaml", "A100:8", "H100:8", "H100"),
    Defect("gcp-spot.yaml", "a2-highgpu-8g", "a2-highgpu-3g", "a2-highgpu-3g"),
    Defect("gcp-spot.yaml", "mode: MOUNT", "mode: MOUNTED", "MOUNTED"),
    Defect("gcp-spot.yaml", "deploy/stages.sh", "deploy/steps.sh", "deploy/steps.sh"),
    Defect("gcp-spot.yaml", "  NOTUS_BUCKET: null", "  NOTUS_BUCKETS: null", "NOTUS_BUCKETS"),
    Defect("kubernetes.yaml", "events: [preemption]", "events: [preempted]", "preempted"),
    Defect("kubernetes.yaml", "infra: kubernetes", "infra: kubernets", "kubernets"),
    Defect("kubernetes.yaml", "  hooks:", "  hook:", "hook"),
    Defect("kubernetes.yaml", "pod_config:", "pod_conf:", "pod_conf"),
)

# What shellcheck has to notice.
OF_SHELL = (
    Defect("stages.sh", '"$NOTUS_IMAGE" "$@" &', '$NOTUS_IMAGE "$@" &', "SC2086"),
    Defect("gcp-spot.yaml", '"$HF_TOKEN"', "$HF_TOKEN", "SC2086"),
    Defect("kubernetes.yaml", '--pid="$pid"', "--pid=$pid", "SC2086"),
    Defect("gcloud/startup.sh", "run=$root/runs/$recipe", "run=$rot/runs/$recipe", "SC2154"),
)

# What has to be noticed when a task is run by one of two nodes.
OF_COMMANDS = (
    Defect("stages.sh", "--rdzv-endpoint", "--rdzv-endpoints", "train: No such option: --rdzv-endpoints"),
    Defect("stages.sh", "--check-release", "--check-releases", "fetch: No such option"),
    Defect("kubernetes.yaml", "notus card", "notus cards", "cards: no such command"),
    Defect("kubernetes.yaml", "--node-rank", "--rank", "train: No such option: --rank"),
    Defect("kubernetes.yaml", "NOTUS_RECIPE: notus-7b-v1-lora", "NOTUS_RECIPE: notus-8b", "no such recipe"),
    Defect("gcp-spot.yaml", "$SKYPILOT_NUM_NODES", "$SKYPILOT_NODES", "SKYPILOT_NODES: unbound variable"),
    Defect("gcp-spot.yaml", "NOTUS_CACHE=", "CACHE=", "NOTUS_CACHE"),
    Defect("kubernetes.yaml", "/runs/$NOTUS_NAME", "/runs/$NOTUS_NAMES", "NOTUS_NAMES: unbound variable"),
)
