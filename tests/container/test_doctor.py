"""What `notus doctor` finds, on machines that there are none of here: their driver, control groups and packages."""

import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pynvml
import pytest

from container import doctor, gpu
from container.doctor import Health, as_dict
from container.gpu import Gpu, Machine, needed_cuda, read_machine, unmet
from container.packages import Packages, read_packages
from container.room import Memory, Place, read_memory, read_place, read_temporary
from tests.support import ROOT, Cli, fresh
from tests.test_notus import HEAVY

A100 = "NVIDIA A100-SXM4-40GB"
EIGHT = Machine("580.95.05", (13, 0), (13, 0), (Gpu(A100, 40 * 2**30),) * 8)
OLD = replace(EIGHT, driver="535.104", cuda=(12, 2))
OLD_LINE = "driver 535.104 supports CUDA 12.2, but torch needs 13.0; install driver 580 or later"
NONE = Machine(needed=(13, 0))
CPU = Machine()
WORK = Place(Path("/work"), 1900 * 10**9, None)
FIT = Health(
    machine=EIGHT,
    memory=Memory(680 * 10**9, 600 * 10**9, False, 16 * 10**9),
    work=WORK,
    cache=WORK,
    temporary=WORK,
    packages=Packages(Path("requirements.lock"), 91),
)


def wrong(health: Health) -> list[str]:
    return [check.name for check in health.checks if not check.ok]


# The driver and its GPUs

Nvml = Callable[..., None]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    """Put a driver in the place of this machine's; an error given for a value is raised."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "needed_cuda", lambda: (13, 0))

    def place(
        init: object = None,
        driver: object = "580.95.05",
        cuda: object = 13000,
        handle: object = "handle",
        name: object = A100,
        memory: object = 40 * 2**30,
        count: object = 8,
    ) -> None:
        def answer(value: object) -> Callable[..., object]:
            def answered(*_: object) -> object:
                if isinstance(value, Exception):
                    raise value
                return value

            return answered

        info = memory if isinstance(memory, Exception) else types.SimpleNamespace(total=memory)
        for function, value in {
            "nvmlInit": init,
            "nvmlShutdown": None,
            "nvmlSystemGetDriverVersion": driver,
            "nvmlSystemGetCudaDriverVersion_v2": cuda,
            "nvmlDeviceGetCount": count,
            "nvmlDeviceGetHandleByIndex": handle,
            "nvmlDeviceGetName": name,
            "nvmlDeviceGetMemoryInfo": info,
        }.items():
            monkeypatch.setattr(pynvml, function, answer(value))

    return place


def test_eight_a100s_are_read(nvml: Nvml) -> None:
    nvml()
    assert read_machine() == EIGHT
    nvml(driver=b"580.95.05", name=A100.encode())  # as older versions of pynvml answer
    assert read_machine() == EIGHT
    nvml(driver="535.104", cuda=12020)
    assert read_machine() == OLD


def test_no_library_is_no_driver(nvml: Nvml) -> None:
    nvml(init=pynvml.NVMLError_LibraryNotFound())
    assert read_machine() == NONE


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (pynvml.NVMLError_LibRmVersionMismatch(), "driver/library version mismatch"),
        (pynvml.NVMLError_DriverNotLoaded(), "the NVIDIA driver does not answer: Driver Not Loaded"),
        (pynvml.NVMLError_Unknown(), "the NVIDIA driver does not answer: Unknown Error"),
        (pynvml.NVMLError_NoPermission(), "the NVIDIA driver does not answer: Insufficient Permissions"),
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["init", "driver"])
def test_a_driver_that_does_not_answer(nvml: Nvml, where: str, error: Exception, says: str) -> None:
    nvml(**{where: error})
    health = replace(FIT, machine=read_machine())
    assert wrong(health) == ["driver"]
    assert health.line.startswith(f"not healthy: {says}")
    assert "; reboot, or start the container anew" in health.line


def test_what_the_driver_keeps_to_itself_is_left_out(nvml: Nvml) -> None:
    nvml(memory=pynvml.NVMLError_NoPermission(), count=1)  # a slice of one, in a container
    assert read_machine().gpus == (Gpu(A100),)
    assert replace(FIT, machine=read_machine()).ok
    nvml(handle=pynvml.NVMLError_NoPermission())  # another container's
    assert read_machine().gpus == ()
    nvml(cuda=pynvml.NVMLError_FunctionNotFound(), driver="390.157")
    assert "driver 390.157 does not say its CUDA, and torch needs 13.0; install driver 580" in str(
        unmet(read_machine(), gpus=True)
    )


def test_a_container_that_was_given_the_driver_s_tools_only(nvml: Nvml) -> None:
    nvml(cuda=pynvml.NVMLError_LibraryNotFound())
    health = replace(FIT, machine=read_machine())
    assert wrong(health) == ["driver"]
    assert "no libcuda here: NVIDIA_DRIVER_CAPABILITIES lacks `compute`" in health.line


@pytest.mark.parametrize("what", ["handle", "memory"])
def test_a_gpu_that_is_lost_is_not_healthy(nvml: Nvml, what: str) -> None:
    nvml(**{what: pynvml.NVMLError_GpuIsLost()})
    health = replace(FIT, machine=read_machine())
    assert wrong(health) == ["GPUs"]
    assert "not healthy: GPU 0: the driver says: GPU is lost; reset it" in health.line


@pytest.mark.parametrize(("visible", "hides"), [("", True), ("-1", True), ("0,1", False), ("GPU-ab", False)])
def test_hidden_gpus_are_none(nvml: Nvml, visible: str, hides: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvml()
    machine = read_machine()
    assert machine.hidden == hides
    assert wrong(replace(FIT, machine=machine)) == []
    assert wrong(replace(FIT, machine=machine, gpu=True)) == (["GPUs"] if hides else [])
    assert (f"CUDA_VISIBLE_DEVICES={visible} hides all GPUs" in str(unmet(machine, gpus=True))) == hides


@pytest.mark.parametrize(
    ("name", "version", "needed"),
    [
        ("nvidia-cuda-runtime", "13.0.96", (13, 0)),
        ("nvidia-cuda-runtime-cu12", "12.6.77", (12, 6)),
        ("nvidia-ml-py", "13.615.71", None),
    ],
)
def test_the_cuda_that_torch_needs(
    name: str,
    version: str,
    needed: tuple[int, int] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, {name: version})
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert needed_cuda() == needed


# What training needs of them


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (OLD, OLD_LINE),
        (NONE, "no NVIDIA driver, but torch needs one for CUDA 13.0; install driver 580 or later, or give"),
        (replace(EIGHT, gpus=()), "no NVIDIA GPU here; give the container GPUs"),
        (CPU, "no NVIDIA GPU here, and the installed torch is the CPU build; "),
        (replace(EIGHT, needed=None), "the installed torch is the CPU build, which can use no GPU; install"),
        (replace(OLD, needed=(14, 1)), "but torch needs 14.1; install the newest driver"),
    ],
)
def test_what_is_unmet_is_one_line(machine: Machine, says: str) -> None:
    line = unmet(machine, gpus=True)
    assert line is not None
    assert line.startswith(says) or line.endswith(says)
    assert "\n" not in line
    assert unmet(machine, gpus=False) is None


@pytest.mark.parametrize(
    "machine",
    [
        EIGHT,
        replace(EIGHT, needed=(13, 4)),  # another minor version is none too new
        replace(EIGHT, cuda=(14, 1)),
        replace(OLD, needed=(12, 8)),
    ],
)
def test_a_driver_runs_each_minor_of_its_cuda_and_all_before(machine: Machine) -> None:
    assert unmet(machine, gpus=True) is None


# All in all


def test_a_fit_machine_in_one_line() -> None:
    assert wrong(FIT) == wrong(replace(FIT, gpu=True)) == []
    assert FIT.line == (
        f"healthy: driver 580.95.05 (CUDA 13.0), 8 x {A100}, 680 GB memory, 1,900 GB free, 91 packages as locked"
    )


@pytest.mark.parametrize(
    ("health", "names", "says"),
    [
        (replace(FIT, machine=OLD), ["driver"], f"not healthy: {OLD_LINE}"),
        (replace(FIT, machine=NONE), ["driver"], "not healthy: no NVIDIA driver, but torch needs one for CUDA 13.0"),
        (replace(FIT, machine=CPU), [], "healthy: no NVIDIA driver, no GPU, 680 GB memory"),
        (replace(FIT, machine=replace(CPU, trouble="it sulks")), [], "healthy: no NVIDIA driver"),
        (replace(FIT, machine=replace(EIGHT, gpus=())), [], "healthy: driver 580.95.05 (CUDA 13.0), no GPU"),
        (replace(FIT, machine=replace(EIGHT, gpus=()), gpu=True), ["GPUs"], "not healthy: no NVIDIA GPU here"),
        (replace(FIT, machine=CPU, gpu=True), ["GPUs"], "not healthy: no NVIDIA GPU here, and the installed torch"),
        (
            replace(FIT, memory=replace(FIT.memory, shared=64 * 2**20)),
            ["shared memory"],
            "not healthy: /dev/shm has 67 MB, too little for NCCL on 8 GPUs; start the container with `--shm-size",
        ),
        (replace(FIT, machine=CPU, memory=replace(FIT.memory, shared=64 * 2**20)), [], "healthy: "),
        (replace(FIT, work=replace(WORK, refused="Read-only file system")), [], "healthy: "),
        (replace(FIT, cache=replace(WORK, refused="Read-only file system")), [], "healthy: "),
        (
            replace(FIT, temporary=Place(Path("/tmp"), 0, "No space left on device")),
            ["temporary files"],
            "not healthy: /tmp: 0 MB free, not writable (No space left on device); make room in /tmp",
        ),
        (replace(FIT, packages=Packages()), [], "1,900 GB free, no lock"),
        (
            replace(FIT, packages=Packages(Path("a.lock"), 80, ("a: 1", "b: 2", "c: 3"), ("d: 4",))),
            ["packages"],
            "80 packages as locked, 4 not (a: 1, b: 2, c: 3 and 1 more); install what a.lock says",
        ),
    ],
)  # fmt: skip
def test_what_will_do_and_what_will_not(health: Health, names: list[str], says: str) -> None:
    assert wrong(health) == [check.name for check in health.checks if check.todo] == names
    assert health.ok == (not names)
    assert says in health.line
    assert "\n" not in health.line
    assert as_dict(health)["healthy"] == health.ok


def test_two_wrong_things_are_both_said_and_one_cause_once() -> None:
    line = replace(FIT, machine=NONE, gpu=True, temporary=Place(None, 0, "none")).line
    assert "no folder for temporary files; mount a volume at /tmp" in line
    assert line.count("no NVIDIA") == 1


def test_where_nothing_can_be_written_it_is_said() -> None:
    said = {check.name: check.said for check in replace(FIT, work=replace(WORK, refused="Read-only")).checks}
    assert said["working directory"] == "/work: 1,900 GB free, not writable (Read-only)"
    assert said["GPUs"] == f"8 x {A100}, 42.9 GB each"
    limited = replace(FIT, memory=replace(FIT.memory, limited=True))
    assert "600 GB available of 680 GB, the limit" in next(
        c.said for c in limited.checks if c.name == "memory"
    )


# Memory and disk


def cgroup(folder: Path, version: int, limit: object, used: int = 0, cached: int = 0) -> Path:
    folder = folder / f"v{version}"
    names = {
        1: ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_"),
        2: ("memory.max", "memory.current", "memory.stat", ""),
    }[version]
    (folder / "memory").mkdir(parents=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / names[2]).write_text(f"anon 7\n{names[3]}inactive_file {cached}\n")
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_s_limit_is_the_memory(version: int, tmp_path: Path) -> None:
    found = read_memory(cgroup(tmp_path, version, 50_000_000, used=30_000_000, cached=10_000_000))
    assert (found.total, found.available, found.limited) == (50_000_000, 30_000_000, True)
    full = read_memory(cgroup(tmp_path / "full", version, 50_000_000, used=60_000_000))
    assert full.available == 0


def test_no_limit_is_the_machine_s_memory(tmp_path: Path) -> None:
    machine_s = read_memory(tmp_path / "none", tmp_path / "nowhere")
    assert machine_s.total > machine_s.available > 0
    assert not machine_s.limited
    assert machine_s.shared is None
    for folder in (cgroup(tmp_path, 2, "max"), cgroup(tmp_path, 1, 9223372036854771712)):
        found = read_memory(folder, tmp_path)
        assert (found.total, found.limited) == (machine_s.total, False)
        assert found.shared


def test_a_folder_that_is_not_there_yet_is_on_its_parent_s_disk(tmp_path: Path) -> None:
    place = read_place(tmp_path / "cache" / "huggingface")
    assert place.free > 0
    assert place.refused is None
    assert list(tmp_path.iterdir()) == []  # neither it nor the file of the trial
    (tmp_path / "file").touch()
    assert read_place(tmp_path / "file").refused == "Not a directory"


def test_writing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert read_place(tmp_path).refused == "No space left on device"
    assert wrong(replace(FIT, temporary=read_temporary())) == ["temporary files"]


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert read_temporary().path is None


@pytest.mark.parametrize(
    ("env", "home"),
    [
        ({"HF_HUB_CACHE": "/hub", "HF_HOME": "/hf"}, "/hub"),
        ({"HF_HOME": "/hf", "XDG_CACHE_HOME": "/cache"}, "/hf/hub"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/huggingface/hub"),
        ({}, "~/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hub_s_client_has_it(env: dict[str, str], home: str) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_", "HUGGING"))}
    asked = "from huggingface_hub import constants; from container.room import hub_cache as home\n"
    asked += "print(constants.HF_HUB_CACHE, home().expanduser(), home(), sep='\\n')"
    ended = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=kept | env, cwd=ROOT
    )
    theirs, ours, short = ended.stdout.splitlines()
    assert theirs == ours
    assert short == home


# Packages


def install(folder: Path, packages: dict[str, str], requires: dict[str, list[str]] | None = None) -> None:
    """Make a folder look as if packages had been installed there."""
    for name, version in packages.items():
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        needs = "".join(f"Requires-Dist: {need}\n" for need in (requires or {}).get(name, ()))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")


LOCKED = """\
hatchling==1.33.0 \\
    --hash=sha256:00
nvidia-cuda-runtime==13.0.96 \\
    --hash=sha256:00
    # via torch
regex==2026.11.19
tomlkit==0.15.2 \\
torch==2.13.0 \\
    --hash=sha256:00
typing-extensions==4.16.0 \\
"""
HERE = {"notus": "0.1.0", "regex": "2026.11.19", "torch": "2.13.0+cpu", "typing_extensions": "4.16.0"}
REQUIRES = {
    "notus": ["torch==2.13.0", "regex", "hatchling; extra == 'build'"],
    "torch": ["typing-extensions>=4", "nvidia-cuda-runtime==13.0.96; extra == 'cuda'", "tomlkit; python_version < '3'"],
}  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Packages]:
    """Read the packages of an environment beside a clone."""

    def read(
        packages: dict[str, str], requires: dict[str, list[str]] = REQUIRES, lock: str = LOCKED
    ) -> Packages:
        install(tmp_path / "site", packages, requires)
        (tmp_path / "requirements.lock").write_text(lock)
        monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
        return read_packages(tmp_path / "environment", tmp_path)

    return read


Clone = Callable[..., Packages]


def test_a_clone_needs_what_notus_depends_on_there(clone: Clone, tmp_path: Path) -> None:
    assert clone(HERE) == Packages(tmp_path / "requirements.lock", 3)


def test_a_clone_with_torch_for_cuda_needs_cuda_s(clone: Clone) -> None:
    found = clone(HERE, REQUIRES | {"notus": ["torch[cuda]", "regex"]})
    assert found.as_locked == 3
    assert found.missing == ("nvidia-cuda-runtime: not installed, locked 13.0.96",)


def test_what_differs_is_named(clone: Clone) -> None:
    found = clone(HERE | {"torch": "2.12.1", "regex": "2026.11.20", "hatchling": "1"})
    assert found.differing == (
        "regex: installed 2026.11.20, locked 2026.11.19",
        "torch: installed 2.12.1, locked 2.13.0",
    )
    assert (found.as_locked, found.missing) == (1, ())


def test_what_is_missing_is_named(clone: Clone) -> None:
    found = clone({name: version for name, version in HERE.items() if name != "regex"})
    assert found.missing == ("regex: not installed, locked 2026.11.19",)


def test_notus_on_the_path_only(clone: Clone) -> None:
    found = clone({name: version for name, version in HERE.items() if name != "notus"})
    assert (found.as_locked, found.differing, found.missing) == (3, (), ())


def test_the_image_has_all_of_its_lock(clone: Clone, tmp_path: Path) -> None:
    clone(HERE)
    (tmp_path / "environment").mkdir()
    lock = tmp_path / "environment" / "requirements.lock"
    lock.write_text(LOCKED.replace("torch==2.13.0", "torch==2.13.0+cpu"))
    found = read_packages(tmp_path / "environment", tmp_path)
    assert (found.lock, found.as_locked, found.differing) == (lock, 3, ())
    assert [line.partition(":")[0] for line in found.missing] == [
        "hatchling",
        "nvidia-cuda-runtime",
        "tomlkit",
    ]


def test_no_lock(tmp_path: Path) -> None:
    assert read_packages(tmp_path, tmp_path) == Packages()


@pytest.mark.parametrize("text", ["torch==\n", "torch\n", "torch 2.13.0\n"])
def test_a_lock_that_is_none_is_said(text: str, clone: Clone) -> None:
    health = replace(FIT, packages=clone(HERE, lock=text))
    assert wrong(health) == ["packages"]
    assert "requirements.lock: can't be read (" in health.line
    assert "\n" not in health.line


# As a user runs it

PYNVML = '''
class NVMLError(Exception): pass
class NVMLError_LibraryNotFound(NVMLError): pass
class NVMLError_FunctionNotFound(NVMLError): pass
class NVMLError_NoPermission(NVMLError): pass
class NVMLError_NotSupported(NVMLError): pass
class NVMLError_LibRmVersionMismatch(NVMLError): pass
class Memory: total = 85899345920
def nvmlInit(): {init}
def nvmlShutdown(): pass
def nvmlSystemGetDriverVersion(): return "{driver}"
def nvmlSystemGetCudaDriverVersion_v2(): return {cuda}
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(place): return place
def nvmlDeviceGetName(handle): return "NVIDIA H100 80GB HBM3"
def nvmlDeviceGetMemoryInfo(handle): return Memory
'''  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return the environment of a machine with one GPU and the CUDA build of torch."""

    def make(driver: str = "580.95.05", cuda: int = 13000, init: str = "pass") -> dict[str, str]:
        folder = tmp_path / "machine"
        folder.mkdir()
        (folder / "pynvml.py").write_text(PYNVML.format(driver=driver, cuda=cuda, init=init))
        version = next(
            line for line in (ROOT / "requirements.lock").read_text().splitlines() if "cuda-runtime==" in line
        )
        install(folder, {"nvidia-cuda-runtime": version.partition("==")[2].removesuffix(" \\")})
        return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "CUDA_VISIBLE_DEVICES": "0"}

    return make


Environment = Callable[..., dict[str, str]]


def test_quiet_is_one_line_and_exit_code_0(machine: Environment, tmp_path: Path) -> None:
    ended = fresh("doctor", "--quiet", "--gpu", cwd=tmp_path, **machine())
    assert (ended.code, ended.err) == (0, ""), ended.out
    assert ended.out.startswith("healthy: driver 580.95.05 (CUDA 13.0), 1 x NVIDIA H100 80GB HBM3, ")
    assert ended.out.endswith(" packages as locked\n")
    assert ended.out.count("\n") == 1


def test_not_healthy_is_one_line_and_exit_code_1(machine: Environment, tmp_path: Path) -> None:
    ended = fresh("doctor", "--quiet", cwd=tmp_path, **machine("535.104", 12020))
    assert (ended.code, ended.out, ended.err) == (1, f"not healthy: {OLD_LINE}\n", "")


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({"driver": "535.104", "cuda": 12020}, OLD_LINE),
        (
            {"init": "raise NVMLError_LibraryNotFound"},
            "no NVIDIA driver, but torch needs one for CUDA 13.0; ",
        ),
    ],
)
def test_a_gpu_that_is_asked_for_and_not_there_is_the_user_s_mistake(
    machine: Environment, tmp_path: Path, how: dict[str, Any], line: str
) -> None:
    ended = fresh("doctor", "--gpu", "--quiet", cwd=tmp_path, **machine(**how))
    assert ended.mistake.startswith(f"notus: {line}")
    assert ended.out == ""


def test_no_driver_for_the_cuda_build_of_torch(machine: Environment, tmp_path: Path) -> None:
    ended = fresh("doctor", "--quiet", cwd=tmp_path, **machine(init="raise NVMLError_LibraryNotFound"))
    assert ended.code == 1
    assert ended.out.startswith(
        "not healthy: no NVIDIA driver, but torch needs one for CUDA 13.0; install driver 580"
    )


def test_json_has_every_figure_and_people_have_a_table(machine: Environment, tmp_path: Path) -> None:
    ended = fresh("doctor", "--json", cwd=tmp_path, COLUMNS="300", **machine())
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["healthy"]
    assert found["machine"]["driver"] == "580.95.05"
    assert found["machine"]["cuda"] == found["machine"]["needed"] == "13.0"
    assert found["machine"]["gpus"] == [
        {"name": "NVIDIA H100 80GB HBM3", "bytes": 80 * 2**30, "trouble": None}
    ]
    assert found["memory"]["total"] >= found["memory"]["available"] > 0
    assert found["work"]["path"] == str(tmp_path)
    assert found["work"]["free"] > 0
    assert found["temporary"]["refused"] is None
    assert found["packages"]["as_locked"] > 60
    assert found["packages"]["differing"] == found["packages"]["missing"] == []
    names = [check["name"] for check in found["checks"]]
    lines = ended.err.splitlines()
    assert [line.split("  ")[0] for line in lines[: len(names)]] == names
    assert all(" ok " in line for line in lines[: len(names)])
    assert lines[-1] == found["line"]


def test_a_table_and_a_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda gpu: replace(FIT, machine=OLD, gpu=gpu))
    monkeypatch.setenv("COLUMNS", "120")
    ended = cli("doctor")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines()[0].split() == ["driver", "WRONG", *OLD_LINE.partition(";")[0].split()]
    assert ended.out.splitlines()[-1] == f"not healthy: {OLD_LINE}"


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, notus\nsys.argv = ['notus', 'doctor']\ntry: notus.main()\nexcept SystemExit: pass\n"
    code += "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ended.stdout.partition("LOADED ")[2].split())
    assert "psutil" in loaded
    assert not loaded & (HEAVY - {"pydantic"})  # which typer parses commands with


def test_the_image_asks_for_its_health() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert 'CMD ["notus", "doctor", "--quiet"]' in dockerfile
    lock = next(
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if "cuda-runtime==" in line
    )
    cuda = ".".join(lock.partition("==")[2].split(".")[:2])
    assert f'NVIDIA_REQUIRE_CUDA="cuda>={cuda}"' in dockerfile  # the engine refuses what the doctor would
    assert int(cuda.partition(".")[0]) in gpu.LEAST_DRIVER
