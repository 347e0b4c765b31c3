"""The start-up script of a GCP machine, for real: only the machine is made up (`machine.py`, `fake_docker.py`)."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.fake_docker import STEPS
from tests.deploy.machine import Machine, machine

pytestmark = pytest.mark.slow
EVERY_STAGE = ["doctor", "fetch", "train", "card", "publish"]
ALL_STEPS = [str(step + 1) for step in range(STEPS)]


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Machine]:
    """Yield a new machine."""
    with machine(tmp_path / "vm") as made:
        yield made


def booted(vm: Machine) -> "subprocess.Popen[str]":
    """Boot, and start the unit that the script asks systemd for."""
    done = vm.boot()
    assert (done.returncode, done.stderr) == (0, "")
    assert vm.calls.splitlines()[-2:] == [
        "systemctl daemon-reload",
        "systemctl start --no-block notus.service",
    ]
    return vm.start()


def test_a_first_start_makes_the_release_and_switches_off(vm: Machine) -> None:
    assert vm.ended(booted(vm)) == 0
    assert vm.lines(vm.run / "did") == EVERY_STAGE
    assert vm.lines(vm.run / "steps") == ALL_STEPS
    assert vm.is_off


def test_a_finished_run_is_not_started_again(vm: Machine) -> None:
    vm.ended(booted(vm))
    (vm.folder / "calls").unlink()
    assert vm.boot().returncode == 0
    assert vm.is_off
    assert "start" not in vm.calls
    assert vm.lines(vm.run / "did") == EVERY_STAGE


@pytest.mark.parametrize("group", [False, True])
def test_the_notice_reaches_the_trainer_once_and_the_next_start_goes_on(vm: Machine, group: bool) -> None:
    process = booted(vm)
    vm.until_step(5, vm.run)
    vm.notice(process, group=group)
    assert vm.ended(process) == 143
    assert (vm.run / "signals").read_text() == "1"
    kept = int((vm.run / "checkpoint").read_text())
    assert 5 <= kept < STEPS
    assert vm.lines(vm.run / "did") == ["doctor", "fetch", "train"]
    assert not vm.is_off
    assert vm.ended(booted(vm)) == 0
    assert vm.lines(vm.run / "steps") == ALL_STEPS  # none left out, and none twice
    assert vm.is_off


@pytest.mark.parametrize(
    ("old", "new", "signals"), [("--sig-proxy=false", "", "2"), ("\ntrap end", "\n: trap end", "")]
)
def test_a_notice_that_comes_twice_or_never_is_noticed(vm: Machine, old: str, new: str, signals: str) -> None:
    assert old in vm.attributes["attributes/notus-stages"]
    vm.attributes["attributes/notus-stages"] = vm.attributes["attributes/notus-stages"].replace(old, new)
    process = booted(vm)
    vm.until_step(5, vm.run)
    vm.notice(process, group=True)
    vm.ended(process)
    assert "".join(vm.lines(vm.run / "signals")) == signals


def test_a_machine_that_lost_its_power_goes_on(vm: Machine) -> None:
    process = booted(vm)
    vm.until_step(5, vm.run)
    process.kill()
    os.kill(int((vm.docker / "pid").read_text()), signal.SIGKILL)
    (vm.docker / "pid").unlink()
    process.communicate()
    assert vm.ended(booted(vm)) == 0
    assert vm.lines(vm.run / "did")[-5:] == EVERY_STAGE


def test_a_managed_group_is_told_to_keep_no_machine(vm: Machine) -> None:
    vm.attributes["attributes/created-by"] = "projects/1/zones/us-central1-f/instanceGroupManagers/spot"
    vm.ended(booted(vm))
    assert (
        "gcloud compute instance-groups managed resize spot --size 0 --quiet --zone us-central1-f" in vm.calls
    )
    assert not vm.is_off  # the group does that


def test_a_mistake_switches_off_and_is_not_taken_for_done(vm: Machine) -> None:
    (vm.docker / "fetch-fails").write_text("2")
    assert vm.ended(booted(vm)) == 2
    assert vm.is_off
    (vm.docker / "fetch-fails").unlink()
    assert vm.ended(booted(vm)) == 0
    assert vm.lines(vm.run / "did") == ["doctor", "fetch", *EVERY_STAGE]


def test_failures_are_tried_again_but_not_for_ever(vm: Machine) -> None:
    (vm.docker / "train-fails").write_text("1")
    process = booted(vm)
    for failures in range(1, 6):
        assert vm.ended(process) == 1
        assert vm.is_off is (failures == 5)
        process = vm.start()  # Restart=on-failure
    process.wait(60)
    process.communicate()


def test_the_unit_gives_one_notice_and_is_stopped_before_docker(vm: Machine, tmp_path: Path) -> None:
    vm.ended(booted(vm))
    unit = vm.unit()
    assert unit["KillMode"] == "mixed"
    assert int(unit["TimeoutStopSec"]) < 30
    assert "docker.service" in unit["After"]
    assert "143" in unit["RestartPreventExitStatus"]
    if (judge := shutil.which("systemd-analyze")) is None:
        return
    file = vm.folder / "units" / "notus.service"
    (vm.folder / "units" / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    judged = subprocess.run(
        [judge, "verify", "--man=no", str(file)], env={"SYSTEMD_UNIT_PATH": f"{file.parent}:"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert str(file.name) not in judged.stderr


def test_the_token_is_in_no_variable_and_no_command_line(vm: Machine) -> None:
    vm.ended(booted(vm))
    token = vm.folder / "state" / "token"
    assert token.read_text() == "hf_secret\n"
    assert token.stat().st_mode & 0o077 == 0
    assert "hf_secret" not in (vm.docker / "calls").read_text() + vm.calls
    assert "hf_secret" not in (vm.folder / "state" / "environment").read_text()


def test_a_recipe_of_ones_own_comes_with_its_lock(vm: Machine) -> None:
    vm.attributes |= {
        "attributes/notus-recipe-yaml": "extends: smoke\n",
        "attributes/notus-recipe-lock": '{"model:a/b@main": "0"}',
    }
    vm.ended(booted(vm))
    recipes = vm.folder / "state" / "recipes"
    assert (recipes / "smoke.yaml").read_text().strip() == "extends: smoke"
    assert json.loads((recipes / "smoke.lock.json").read_text()) == {"model:a/b@main": "0"}
    calls = [json.loads(line) for line in vm.lines(vm.docker / "calls")]
    trained = next(words for words in calls if "train" in words)
    assert "/run/notus/smoke.yaml" in trained
    assert f"{recipes}:/run/notus:ro" in trained


def test_a_disk_of_its_own_is_formatted_once_and_mounted(vm: Machine) -> None:
    Path(vm.environment["NOTUS_DISK"]).touch()
    assert vm.boot().returncode == 0
    assert vm.boot().returncode == 0
    assert vm.calls.count("mkfs.ext4") == 1
    assert vm.calls.count(f"mount -o discard,defaults {vm.environment['NOTUS_DISK']} {vm.root}") == 2


def test_a_private_registry_is_asked_with_the_machines_account(vm: Machine) -> None:
    vm.attributes["attributes/notus-image"] = "registry.example/private/notus@sha256:" + "1" * 64
    assert vm.ended(booted(vm)) == 0
    assert "gcloud auth configure-docker registry.example --quiet" in vm.calls


def test_a_tag_is_no_image(vm: Machine) -> None:
    vm.attributes["attributes/notus-image"] = "registry.example/notus:latest"
    process = booted(vm)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is no digest" in said


@pytest.mark.parametrize("name", ["notus-image", "notus-recipe", "notus-token-secret", "notus-stages"])
def test_what_the_metadata_lack_is_said(vm: Machine, name: str) -> None:
    del vm.attributes[f"attributes/{name}"]
    done = vm.boot()
    assert done.returncode == 2
    assert done.stderr == f"notus: the metadata have no attributes/{name}\n"
    assert "start" not in vm.calls
