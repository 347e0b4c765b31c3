"""The device, and how fast it multiplies matrices of the model's shapes: the ceiling of all modes."""

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from benchmarks.work import Shape

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "triton", "liger-kernel")


@dataclass(frozen=True)
class Device:
    """What is trained on.

    Attributes:
        kind: As torch calls it.
        name: The maker's.
        memory: Bytes; 0 where it is not asked for.
        cuda: The version that torch was built for; empty without.
    """

    kind: Literal["cpu", "cuda"]
    name: str
    memory: int = 0
    cuda: str = ""


def find_device() -> Device:
    """Return the GPU of this process, or the CPU where there is none.

    Raises:
        RuntimeError: There is one, but this process can't use it.
    """
    import torch

    if not torch.cuda.is_available():
        return Device("cpu", cpu_name())
    torch.zeros(1, device="cuda")
    found = torch.cuda.get_device_properties(0)
    return Device("cuda", found.name, found.total_memory, str(torch.version.cuda))


def cpu_name() -> str:
    """Return the processor's name, as well as the system tells."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of what takes part, as far as it is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def products(shape: Shape) -> dict[str, tuple[int, int]]:
    """Return the matrices that a token is multiplied with, rows and columns, by name."""
    width = shape.hidden_size
    keys = width // shape.num_attention_heads * shape.num_key_value_heads
    return {
        "query, output": (width, width),
        "key, value": (width, keys),
        "gate, up": (width, shape.intermediate_size),
        "down": (shape.intermediate_size, width),
        "head": (width, shape.vocab_size),
    }


def measure_products(shape: Shape, device: str, tokens: int, seconds: float = 0.3) -> dict[str, float]:
    """Return bf16 FLOP/s of each of `products` with so many tokens, measured on this process's device."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    found = {}
    for name, (rows, columns) in products(shape).items():
        left = torch.randn(tokens, rows, device=device, dtype=torch.bfloat16)
        right = torch.randn(columns, rows, device=device, dtype=torch.bfloat16)
        for _ in range(3):
            out = left @ right.T
        wait()
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for _ in range(8):
                torch.matmul(left, right.T, out=out)
            wait()
            done += 8
        found[name] = 2 * tokens * rows * columns * done / (time.perf_counter() - started)
    return found
