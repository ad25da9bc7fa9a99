"""Energy per image, where a GPU counts it."""

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from yoso.speed.entry import synchronize

MIN_SECONDS = 2.0
"""NVML updates its counter about ten times a second; in a shorter measurement these steps would dominate."""


def joules_per_run(run: Callable[[], object], device: torch.device) -> float | None:
    """Run for `MIN_SECONDS` and return the energy of one run in joules; None where nothing counts it.

    The counter covers the whole GPU, so nothing else may use the GPU meanwhile.
    """
    counter = energy_counter(device)
    if counter is None:
        return None
    synchronize(device)
    before, start, runs = counter(), time.perf_counter(), 0
    while time.perf_counter() - start < MIN_SECONDS:
        run()
        runs += 1
    synchronize(device)
    return (counter() - before) / runs


def energy_counter(device: torch.device) -> Callable[[], float] | None:
    """Return a function that reads the joules a GPU has used so far, or None."""
    if device.type != "cuda":
        return None
    try:
        pynvml: Any = import_module("pynvml")
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By bus address: NVML numbers the devices differently from CUDA.
        bus: Any = torch.cuda.get_device_properties(device)
        address = f"{bus.pci_domain_id:08x}:{bus.pci_bus_id:02x}:{bus.pci_device_id:02x}.0"
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(address)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError):
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
