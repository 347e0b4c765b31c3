"""Known GPUs: found by the names that PyTorch gives them, and by no part of a name."""

import pytest

from recipe.gpus import GPUS, gpu_named, peak_flops


@pytest.mark.parametrize(
    ("name", "teraflops", "gigabytes"),
    [
        ("NVIDIA A100-SXM4-40GB", 312, 40),
        ("A100-SXM4-40GB", 312, 40),
        ("NVIDIA A100-PCIE-40GB", 312, 40),
        ("NVIDIA A100-SXM4-80GB", 312, 80),
        ("NVIDIA A100 80GB PCIe", 312, 80),
        ("NVIDIA H100 80GB HBM3", 989, 80),
        ("NVIDIA H100 PCIe", 756, 80),
        ("NVIDIA H200", 989, 141),
        ("NVIDIA B200", 2250, 180),
        ("NVIDIA L4", 121, 24),
        ("NVIDIA L40S", 362, 48),
        ("NVIDIA A10G", 70, 24),
        ("NVIDIA GeForce RTX 4090", 165.2, 24),
        ("A100 40GB", 312, 40),  # as a recipe has it
        ("h100 sxm", 989, 80),
    ],
)
def test_a_card_is_found_by_its_names(name: str, teraflops: float, gigabytes: int) -> None:
    found = gpu_named(name)
    assert found is not None
    assert found.bytes == gigabytes * 10**9
    assert peak_flops(name) == pytest.approx(teraflops * 1e12)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A100",  # which?
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",  # a slice
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA L40S-8Q",
        "CPU, 2 cores",
        "AMD Instinct MI300X",
    ],
)
def test_another_card_is_not_known(name: str) -> None:
    assert gpu_named(name) is None
    assert peak_flops(name) is None


def test_no_name_is_two_cards() -> None:
    names = [name.lower() for gpu in GPUS for name in (gpu.name, *gpu.also)]
    assert len(set(names)) == len(names)
    assert all(gpu_named(name) is gpu for gpu in GPUS for name in (gpu.name, *gpu.also))
    assert all(10e12 < gpu.flops < 1e16 for gpu in GPUS)
