"""Peak memory of an entry, in the process that asks: host memory, or the GPU's."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def resident_bytes() -> int | None:
    """Return the host memory that this process holds now, or None where the system does not report it."""
    return _status("VmRSS")


def peak_bytes() -> int | None:
    """Return the maximum host memory that this process has held since `reset_peak`, or since its start."""
    peak = _status("VmHWM")
    if peak is not None or os.name != "posix":
        return peak
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def reset_peak() -> None:
    """Reset the peak to the present use, where the system lets a process do so."""
    try:
        RESET.write_text("5", encoding="utf-8")
    except OSError:
        return


def _status(field: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(values[0]) * 1024 if values else None


def peak_growth(run: Callable[[], object], before: int | None, device: torch.device) -> int | None:
    """Run twice and return the peak memory in bytes.

    Args:
        run: what needs the memory.
        before: bytes that the process held before anything of the entry was built.
        device: on CUDA the result is torch's peak on the GPU, weights included. Torch does not see the memory of
            other runtimes.

    Returns:
        Weights and working memory together; None where it cannot be measured.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        run()
        return torch.cuda.max_memory_allocated(device) or None
    reset_peak()
    run()
    run()
    peak = peak_bytes()
    return None if peak is None or before is None else max(0, peak - before)
