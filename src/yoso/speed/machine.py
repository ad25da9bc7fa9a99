"""Where and with what was measured; no name of the machine and no path."""

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from yoso.installation import versions as installed_versions

PACKAGES = ("yoso", "torch", "torchvision", "timm", "numpy", "transformers", "onnxruntime", "openvino")
CPUINFO = Path("/proc/cpuinfo")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, those that are installed."""
    return {"python": platform.python_version(), **installed_versions(PACKAGES)}


def hardware(device: torch.device) -> dict[str, str]:
    """Return the kind of device, the processor's model, and the GPU's if it is used."""
    found = {"device": device.type, "cpu": f"{_processor()}, {os.cpu_count()} cores", "system": platform.system()}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of this package's sources, with `-dirty` if they were changed; None outside a checkout."""
    try:
        # Only if git knows this very file: an installed copy may lie inside somebody else's repository.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    command, folder = ["git", *words], Path(__file__).parent
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def circumstances(device: torch.device) -> dict[str, Any]:
    """Return all that this module knows, for the JSON of a script."""
    known = {
        "machine": hardware(device),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "commit": commit(),
        "date": now(),
    }
    return {key: value for key, value in known.items() if value is not None}


def now() -> str:
    """Return the date and time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
