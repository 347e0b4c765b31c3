"""Known GPUs: what their makers' data sheets say of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """A card.

    Attributes:
        name: What a recipe's `assumed_gpu` calls it.
        flops: Bfloat16 matrix FLOP/s at its peak with float32 sums: the dense figure, not the one with sparsity.
        bytes: Memory. Drivers report a few percent more or less.
        also: What `torch.cuda.get_device_name` calls it, less the words that some drivers leave out.
    """

    name: str
    flops: float
    bytes: int
    also: tuple[str, ...]


GB = 10**9

# NVIDIA's data sheets; for GeForce and RTX cards the white papers of their architectures, for the A10G AWS's figure.
GPUS = (
    Gpu("A100 40GB", 312e12, 40 * GB, ("A100-SXM4-40GB", "A100-PCIE-40GB")),
    Gpu("A100 80GB", 312e12, 80 * GB, ("A100-SXM4-80GB", "A100 80GB PCIe", "A100-SXM-80GB")),
    Gpu("H100 SXM", 989e12, 80 * GB, ("H100 80GB HBM3",)),
    Gpu("H100 PCIe", 756e12, 80 * GB, ()),
    Gpu("H100 NVL", 835e12, 94 * GB, ()),
    Gpu("H200", 989e12, 141 * GB, ()),
    Gpu("H200 NVL", 835e12, 141 * GB, ()),
    Gpu("GH200", 989e12, 96 * GB, ("GH200 480GB",)),
    Gpu("B200", 2250e12, 180 * GB, ()),
    Gpu("A30", 165e12, 24 * GB, ()),
    Gpu("A40", 149.7e12, 48 * GB, ()),
    Gpu("A10", 125e12, 24 * GB, ()),
    Gpu("A10G", 70e12, 24 * GB, ()),
    Gpu("L4", 121e12, 24 * GB, ()),
    Gpu("L40", 181e12, 48 * GB, ()),
    Gpu("L40S", 362e12, 48 * GB, ()),
    Gpu("RTX A6000", 154.8e12, 48 * GB, ()),
    Gpu("RTX 6000 Ada", 364.2e12, 48 * GB, ("RTX 6000 Ada Generation",)),
    Gpu("RTX 3090", 71e12, 24 * GB, ()),
    Gpu("RTX 4090", 165.2e12, 24 * GB, ()),
    Gpu("RTX 5090", 209.5e12, 32 * GB, ()),
)


def gpu_named(name: str) -> Gpu | None:
    """Return the card that a recipe or `torch.cuda.get_device_name` calls `name`; None if it is not a known one.

    A name has to be that of the table, no part of it: a laptop's 4090, or a slice of an A100, is another card.
    """
    wanted = _plain(name)
    return next((gpu for gpu in GPUS if wanted in map(_plain, (gpu.name, *gpu.also))), None)


def peak_flops(device_name: str) -> float | None:
    """Return the dense bfloat16 matrix FLOP/s of a card at its peak; None if it is not a known one."""
    gpu = gpu_named(device_name)
    return None if gpu is None else gpu.flops


def _plain(name: str) -> str:
    return " ".join(word for word in name.lower().split() if word not in {"nvidia", "geforce", "tesla"})
