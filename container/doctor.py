"""`notus doctor`: what Notus finds of the machine or the container that it runs in, and whether that will do.

The image's health check: so it loads no torch, and ends in one line and in exit code 0 or 1.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from container.gpu import Machine, dotted, driver_unfit, gpus_unfit, named, read_machine
from container.packages import Packages, read_packages
from container.room import Memory, Place, hub_cache, read_memory, read_place, read_temporary
from recipe.progress import Reporter

GB = 10**9
LEAST_SHARED_MEMORY = GB  # Docker's own 64 MB end NCCL's first exchange
NAMED = 3  # packages in one line, of those that are not as locked


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: Of it.
        ok: Whether it will do.
        said: One line of what was found.
        todo: What to do if it is wrong.
    """

    name: str
    ok: bool
    said: str
    todo: str = ""


@dataclass(frozen=True)
class Health:
    """All that was looked at.

    Attributes:
        machine: GPUs and their driver.
        memory: The machine's or the container's.
        work: The working directory.
        cache: Where the Hub's client keeps downloads.
        temporary: Where temporary files go.
        packages: Beside the lock.
        gpu: Whether there has to be a GPU.
    """

    machine: Machine
    memory: Memory
    work: Place
    cache: Place
    temporary: Place
    packages: Packages
    gpu: bool = False

    @property
    def checks(self) -> list[Check]:
        """Each thing that was looked at."""
        places = (("working directory", self.work), ("Hub cache", self.cache))
        return [
            _driver(self.machine),
            _gpus(self.machine, self.gpu),
            *_memory(self.memory, len(self.machine.gpus)),
            # A read-only root file system is a container's usual one: what is written goes to mounts.
            *(Check(name, True, _place(place)) for name, place in places),
            _temporary(self.temporary),
            _packages(self.packages),
        ]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.ok for check in self.checks)

    @property
    def line(self) -> str:
        """The one line that says it all."""
        wrong = {check.name: f"{check.said}; {check.todo}" for check in self.checks if not check.ok}
        if "driver" in wrong:
            wrong.pop("GPUs", None)  # what is wrong with the driver is why
        if wrong:
            return f"not healthy: {'; '.join(wrong.values())}"
        locked = f"{self.packages.as_locked} packages as locked" if self.packages.lock else "no lock"
        found = [
            _driver_s(self.machine),
            named(self.machine.gpus),
            f"{_gb(self.memory.total)} memory",
            f"{_gb(self.work.free)} free",
            locked,
        ]
        return f"healthy: {', '.join(found)}"


def examine(*, gpu: bool) -> Health:
    """Look at everything.

    Args:
        gpu: Whether a machine without a GPU will not do.
    """
    return Health(
        machine=read_machine(),
        memory=read_memory(),
        work=read_place(Path()),
        cache=read_place(hub_cache()),
        temporary=read_temporary(),
        packages=read_packages(),
        gpu=gpu,
    )


def show(health: Health, reporter: Reporter) -> None:
    """Print the checks as a table."""
    rows = [(check.name, "ok" if check.ok else "WRONG", check.said) for check in health.checks]
    reporter.table(("", "", ""), rows, right=False)
    reporter.say()


def as_dict(health: Health) -> dict[str, Any]:
    """Return every figure, sizes in bytes."""
    figures = asdict(health)
    figures["machine"] |= {
        key: None if version is None else dotted(version)
        for key, version in (("cuda", health.machine.cuda), ("needed", health.machine.needed))
    }
    checks = [asdict(check) for check in health.checks]
    return {"healthy": health.ok, "line": health.line, "checks": checks, **figures}


def _driver(machine: Machine) -> Check:
    if wrong := driver_unfit(machine):
        return Check("driver", False, *wrong)
    needs = (
        f"torch needs {dotted(machine.needed)}" if machine.needed else "the installed torch is the CPU build"
    )
    return Check("driver", True, f"{machine.trouble or _driver_s(machine)}; {needs}")


def _driver_s(machine: Machine) -> str:
    if machine.driver is None:
        return "no NVIDIA driver"
    return f"driver {machine.driver}" + (f" (CUDA {dotted(machine.cuda)})" if machine.cuda else "")


def _gpus(machine: Machine, needed: bool) -> Check:
    if wrong := gpus_unfit(machine, needed=needed):
        return Check("GPUs", False, *wrong)
    sizes = sorted({gpu.bytes for gpu in machine.gpus if gpu.bytes})
    memory = f", {' or '.join(map(_gb, sizes))} each" if sizes else ""
    return Check("GPUs", True, named(machine.gpus) + memory)


def _memory(memory: Memory, gpus: int) -> list[Check]:
    limit = ", the limit of this container or control group" if memory.limited else ""
    said = f"{_gb(memory.available)} available of {_gb(memory.total)}{limit}"
    found = [Check("memory", True, said)]
    if gpus > 1 and memory.shared is not None:
        said, todo = f"/dev/shm has {_gb(memory.shared)}", ""
        if memory.shared < LEAST_SHARED_MEMORY:
            said += f", too little for NCCL on {gpus} GPUs"
            todo = "start the container with `--shm-size 16g`"
        found.append(Check("shared memory", not todo, said, todo))
    return found


def _place(place: Place) -> str:
    refused = f", not writable ({place.refused})" if place.refused else ""
    return f"{place.path}: {_gb(place.free)} free{refused}"


def _temporary(place: Place) -> Check:
    if place.path is None:
        return Check("temporary files", False, "no folder for temporary files", "mount a volume at /tmp")
    todo = f"make room in {place.path}, mount a volume there, or name another folder in TMPDIR"
    return Check("temporary files", not place.refused, _place(place), todo if place.refused else "")


def _packages(packages: Packages) -> Check:
    if packages.lock is None:
        return Check("packages", True, "no lock to compare them with")
    if packages.trouble:
        return Check("packages", False, f"{packages.lock}: can't be read ({packages.trouble})", "restore it")
    wrong = (*packages.differing, *packages.missing)
    if not wrong:
        return Check("packages", True, f"{packages.as_locked} as locked")
    more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    said = f"{packages.as_locked} packages as locked, {len(wrong)} not ({', '.join(wrong[:NAMED])}{more})"
    return Check("packages", False, said, f"install what {packages.lock} says")


def _gb(size: int) -> str:
    """Return a size as people read it, `1,900 GB`, `42.9 GB`."""
    return (
        f"{size / GB:,.0f} GB"
        if size >= 100 * GB
        else f"{size / GB:,.1f} GB"
        if size >= GB
        else f"{size / 1e6:,.0f} MB"
    )
