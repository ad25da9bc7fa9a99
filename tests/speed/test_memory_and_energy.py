"""Memory and energy are measured where the system reports them, and absent where it does not."""

import sys
import types

import numpy as np
import pytest
import torch

from warm_start import begin, ended
from yoso.speed import energy, memory

CPU = torch.device("cpu")


def print_growth():
    print(memory.peak_growth(lambda: np.ones(5 * 10**7), memory.resident_bytes(), CPU))


@pytest.mark.skipif(not memory.STATUS.exists(), reason="the system does not report a process's peak memory")
def test_peak_memory_grows_by_what_is_held(tmp_path):
    """In a process of its own: this one frees what other tests left, and has had peaks of its own."""
    assert ended(begin(tmp_path / "growth", print_growth)) == 0
    assert 2 * 10**8 < int((tmp_path / "growth").read_text()) < 5 * 10**8


def test_memory_that_the_system_does_not_report_is_absent(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "RESET", tmp_path / "none" / "either")
    assert memory.resident_bytes() is None
    memory.reset_peak()
    assert memory.peak_growth(lambda: None, None, CPU) is None
    assert memory.peak_bytes() > 10**6


def test_a_cpu_counts_no_energy():
    assert energy.joules_per_run(lambda: None, CPU) is None


def test_energy_is_divided_by_the_runs(monkeypatch):
    runs = []
    monkeypatch.setattr(energy, "energy_counter", lambda device: lambda: 6.0 * len(runs))
    monkeypatch.setattr(energy, "MIN_SECONDS", 0.01)
    assert energy.joules_per_run(lambda: runs.append(1), CPU) == pytest.approx(6.0)


def test_energy_needs_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.energy_counter(torch.device("cuda")) is None


def test_the_counter_belongs_to_the_device(monkeypatch):
    nvml = types.ModuleType("pynvml")
    nvml.NVMLError = RuntimeError
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetHandleByPciBusId = lambda address: address
    nvml.nvmlDeviceGetTotalEnergyConsumption = lambda handle: 2500 if handle == "00000000:3b:00.0" else 0
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    bus = types.SimpleNamespace(pci_domain_id=0, pci_bus_id=0x3B, pci_device_id=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: bus)
    assert energy.energy_counter(torch.device("cuda"))() == 2.5
