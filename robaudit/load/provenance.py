"""Where and how something ran: versions and platform."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import torch

from robaudit.records import Environment, Scalar

PACKAGES = ("torch", "timm", "foolbox", "scikit-image", "numpy", "pillow", "pydantic", "scipy")


def environment(
    command: str, *, batch_size: int, precision: str = "float32", settings: Mapping[str, Scalar] | None = None
) -> Environment:
    """Describe this process for a record."""
    return Environment(
        command=command,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions=versions(),
        n_threads=torch.get_num_threads(),
        batch_size=batch_size,
        precision=precision,
        settings=dict(settings or {}),
    )


def device_name(device: torch.device) -> str:
    """`cpu`, or a GPU with its model: numbers agree between like devices only but for borderline images."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def versions() -> dict[str, str]:
    """Version of every installed package that can change a result."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
