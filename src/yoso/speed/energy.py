"""Energy per photograph, where a GPU counts it."""

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from yoso.speed.entry import synchronise

LEAST_SECONDS = 2.0
"""NVML's counter moves about ten times a second; shorter measurements would be mostly its steps."""


def joules_per_run(run: Callable[[], object], device: torch.device) -> float | None:
    """Run for `LEAST_SECONDS` and return the energy of one run in joules; None where nothing counts it.

    The whole GPU is counted, so nothing else may use it meanwhile.
    """
    counter = energy_counter(device)
    if counter is None:
        return None
    synchronise(device)
    before, start, runs = counter(), time.perf_counter(), 0
    while time.perf_counter() - start < LEAST_SECONDS:
        run()
        runs += 1
    synchronise(device)
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
        # By address on the bus: NVML numbers the devices otherwise than CUDA does.
        bus: Any = torch.cuda.get_device_properties(device)
        address = f"{bus.pci_domain_id:08x}:{bus.pci_bus_id:02x}:{bus.pci_device_id:02x}.0"
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(address)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError):
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
