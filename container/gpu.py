"""GPUs and their driver as NVIDIA's management library has them, beside the CUDA that the installed torch needs.

Loads no torch: a health check has no seconds to spare, and no GPU memory.
"""

import contextlib
import importlib.metadata
import os
from collections import Counter
from dataclasses import dataclass

from packaging.version import Version

# The first driver series that runs a CUDA of each major version, whatever its minor:
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
LEAST_DRIVER = {11: 450, 12: 525, 13: 580}
CUDA_RUNTIMES = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12")  # what torch's CUDA builds depend on


@dataclass(frozen=True)
class Gpu:
    """A card that this process may use.

    Attributes:
        name: As the driver has it.
        bytes: Memory; None if the driver does not say.
        trouble: What the driver says instead of its name, if it no longer answers.
    """

    name: str
    bytes: int | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Machine:
    """What was read of GPUs and their driver.

    Attributes:
        driver: Its version; None: none here.
        cuda: Major and minor of the newest CUDA that it supports; None if it does not say.
        needed: Major and minor of the CUDA that the installed torch was built with; None: the CPU build.
        gpus: In the driver's order, those that CUDA_VISIBLE_DEVICES leaves out among them.
        trouble: What the driver said instead.
        hidden: Whether CUDA_VISIBLE_DEVICES leaves out all of them.
    """

    driver: str | None = None
    cuda: tuple[int, int] | None = None
    needed: tuple[int, int] | None = None
    gpus: tuple[Gpu, ...] = ()
    trouble: str | None = None
    hidden: bool = False


def read_machine() -> Machine:
    """Read the driver and its GPUs; what it refuses to tell is left out or said, and never raised."""
    import pynvml

    needed, hidden = needed_cuda(), _all_hidden()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return Machine(needed=needed, hidden=hidden)
    except pynvml.NVMLError as error:
        return Machine(needed=needed, hidden=hidden, trouble=_trouble(error))
    driver, cuda, gpus, trouble = None, None, [], None
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        with contextlib.suppress(pynvml.NVMLError_FunctionNotFound):  # a driver from before it
            number = pynvml.nvmlSystemGetCudaDriverVersion_v2()
            cuda = (number // 1000, number % 1000 // 10)
        for place in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError_NoPermission):  # counted, and yet another container's
                gpus.append(_read_gpu(place))
    except (
        pynvml.NVMLError_LibraryNotFound
    ):  # not NVML, which has answered, but what it asks for CUDA's version
        trouble = "no libcuda here: NVIDIA_DRIVER_CAPABILITIES lacks `compute`"
    except pynvml.NVMLError as error:
        trouble = _trouble(error)
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return Machine(driver, cuda, needed, tuple(gpus), trouble, hidden)


def needed_cuda() -> tuple[int, int] | None:
    """Return major and minor of the CUDA that the installed torch was built with; None for its CPU build."""
    for name in CUDA_RUNTIMES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = Version(importlib.metadata.version(name))
            return version.major, version.minor
    return None


def unmet(machine: Machine, *, gpus: bool) -> str | None:
    """Return the one line that says why torch can't use a GPU here and what to do; None if it can.

    Args:
        machine: What was read.
        gpus: Whether a GPU is needed; where it is not, nothing is unmet.
    """
    if not gpus:
        return None
    for wrong in (driver_unfit(machine), gpus_unfit(machine, needed=True)):
        if wrong:
            return "; ".join(wrong)
    return None


def driver_unfit(machine: Machine) -> tuple[str, str] | None:
    """Return what is wrong with the driver for the installed torch, and what to do; None if nothing is."""
    if machine.needed is None:
        return None  # the CPU build asks nothing of it
    needed = dotted(machine.needed)
    if machine.trouble:
        return machine.trouble, "reboot, or start the container anew; `nvidia-smi` on the machine shows more"
    if machine.driver is None:
        return (
            f"no NVIDIA driver, but torch needs one for CUDA {needed}",
            f"{_install(machine.needed)}, or give the container GPUs (`docker run --gpus all`)",
        )
    if machine.cuda is None:
        return f"driver {machine.driver} does not say its CUDA, and torch needs {needed}", _install(
            machine.needed
        )
    if machine.cuda[0] < machine.needed[0]:
        return (
            f"driver {machine.driver} supports CUDA {dotted(machine.cuda)}, but torch needs {needed}",
            _install(machine.needed),
        )
    return None


def gpus_unfit(machine: Machine, *, needed: bool) -> tuple[str, str] | None:
    """Return what is wrong with the GPUs, and what to do; that there is none is wrong only where one is `needed`."""
    for place, gpu in enumerate(machine.gpus):
        if gpu.trouble:
            return f"GPU {place}: {gpu.trouble}", "reset it (`nvidia-smi --gpu-reset`), or reboot the machine"
    if not needed:
        return None
    cpu_build = "the installed torch is the CPU build" if machine.needed is None else None
    if not machine.gpus:
        return (
            "no NVIDIA GPU here" + (f", and {cpu_build}" if cpu_build else ""),
            "give the container GPUs (`docker run --gpus all`), or use another machine",
        )
    if cpu_build:
        return f"{cpu_build}, which can use no GPU", "install its CUDA build, or use the image notus:cuda"
    if machine.hidden:
        return (
            f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')} hides all GPUs",
            "unset it, or name some in it",
        )
    return None


def named(gpus: tuple[Gpu, ...]) -> str:
    """Return how many there are of which name, `8 x NVIDIA A100-SXM4-40GB`."""
    counts = Counter(gpu.name for gpu in gpus)
    return ", ".join(f"{count} x {name}" for name, count in counts.items()) or "no GPU"


def dotted(version: tuple[int, int]) -> str:
    """Return a version as it is written, `13.0`."""
    return ".".join(map(str, version))


def _read_gpu(place: int) -> Gpu:
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(place)
        name = _text(pynvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError_NoPermission:
        raise
    except pynvml.NVMLError as error:
        return Gpu("unknown GPU", trouble=f"the driver says: {error}")
    try:
        return Gpu(name, int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))
    except (
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_NotSupported,
    ):  # a slice of it (MIG), shared memory
        return Gpu(name)
    except pynvml.NVMLError as error:
        return Gpu(name, trouble=f"the driver says: {error}")


def _trouble(error: Exception) -> str:
    import pynvml

    if isinstance(error, pynvml.NVMLError_LibRmVersionMismatch):  # it was updated and not loaded anew
        return "driver/library version mismatch: the NVIDIA driver's library and kernel module are of two versions"
    return f"the NVIDIA driver does not answer: {error}"


def _install(needed: tuple[int, int]) -> str:
    """Return what to do about a driver that is too old, or none."""
    series = LEAST_DRIVER.get(needed[0])
    return f"install driver {series} or later" if series else "install the newest driver"


def _all_hidden() -> bool:
    """Whether CUDA_VISIBLE_DEVICES names no GPU: CUDA ends its list at the first that is no number and no id."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    return not (first.isdigit() or first.startswith(("GPU-", "MIG-")))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # bytes: older versions of pynvml
