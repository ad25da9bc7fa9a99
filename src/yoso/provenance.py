"""What produced a result: commit, package versions, processor, threads. Never a host name or a path."""

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.installation import versions

if TYPE_CHECKING:
    import torch

PACKAGES = ("yoso", "torch", "torchvision", "timm", "lightning", "numpy", "transformers", "onnxruntime", "openvino")
CPUINFO = Path("/proc/cpuinfo")
GIT_SECONDS = 5.0


def provenance(device: "torch.device") -> dict[str, Any]:
    """Return everything that this module knows, for the JSON file of a result.

    Args:
        device: that the result was made on.

    Returns:
        `machine`, `threads`, `versions`, `date`, and in a checkout also `commit`.
    """
    import torch

    known = {
        "machine": hardware(device),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
        "commit": git_commit(),
        "date": utc_now(),
    }
    return {key: value for key, value in known.items() if value is not None}


def package_versions() -> dict[str, str]:
    """Return the version of Python and of each installed package of `PACKAGES`."""
    return {"python": platform.python_version(), **versions(PACKAGES)}


def hardware(device: "torch.device") -> dict[str, str]:
    """Return the device type, the processor, the operating system and, for CUDA, the GPU."""
    found = {"device": device.type, "cpu": f"{_processor()}, {os.cpu_count()} cores", "system": platform.system()}
    if device.type == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Return the commit of this package's sources, with `-dirty` after local changes; None outside a checkout."""
    try:
        # Fails unless git tracks this very file: an installed copy may lie inside another repository.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    command, folder = ["git", *words], Path(__file__).parent
    options: dict[str, Any] = {"cwd": folder, "encoding": "utf-8", "timeout": GIT_SECONDS}
    return subprocess.run(command, check=True, capture_output=True, **options).stdout.strip()


def utc_now() -> str:
    """Return the date and time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
