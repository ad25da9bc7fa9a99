"""Checks an entry in a process of its own: how much memory it needs, and whether `torch.compile` makes it faster.

    python -m yoso.speed.preflight < spec.json

Reads one entry spec, prints one JSON document.
"""

import dataclasses
import gc
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yoso.speed.baselines import BASELINES
from yoso.speed.entry import EntrySpec, TimingSettings
from yoso.speed.images import input_image
from yoso.speed.memory import peak_growth, resident_bytes
from yoso.speed.protocol import OUT_OF_MEMORY, EntryError, LatencySummary, entry_errors, interleaved, timer
from yoso.speed.specs import BASELINE, build

REPEATS = 5
WARMUP = 2


@dataclass(frozen=True)
class Preflight:
    """What the check of an entry found.

    Attributes:
        peak_memory_bytes: weights and working memory, not compiled; None if it cannot be measured.
        compiled: compiling works and is faster.
        error: why the entry failed.
    """

    peak_memory_bytes: int | None = None
    compiled: bool = False
    error: str | None = None


def preflight(spec: EntrySpec, compile_seconds: float, memory: bool = True) -> Preflight:
    """Check an entry, with one process per question.

    Args:
        spec: what to check, not compiled.
        compile_seconds: time limit of the process that runs a baseline through `torch.compile`; 0 to skip it. The
            session compiles the baseline only if that is faster.
        memory: measure the peak memory; an entry that fails here is not checked further.
    """
    found = _in_subprocess(spec, None) if memory else Preflight()
    if found.error or spec.runtime != BASELINE or compile_seconds <= 0:
        return found
    compiled = _in_subprocess(dataclasses.replace(spec, compiled=True), compile_seconds)
    return dataclasses.replace(found, compiled=compiled.compiled)


def _in_subprocess(spec: EntrySpec, timeout: float | None) -> Preflight:
    command = [sys.executable, "-m", "yoso.speed.preflight"]
    question = json.dumps(dataclasses.asdict(spec))
    try:
        child = subprocess.run(
            command,
            input=question,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Preflight(error=f"took longer than {timeout:.0f} s")
    if child.returncode < 0:
        return Preflight(error=OUT_OF_MEMORY)
    lines = child.stdout.splitlines()
    if child.returncode or not lines:
        return Preflight(error=" ".join(child.stderr.split())[-200:])
    return Preflight(**json.loads(lines[-1]))


def spec_from_json(content: dict[str, Any]) -> EntrySpec:
    """Return the spec that `dataclasses.asdict` and JSON turned into these values."""
    settings = TimingSettings(**content["settings"])
    values: dict[str, Any] = {**content, "size": tuple(content["size"]), "settings": settings}
    return EntrySpec(**values)


def preflight_here(spec: EntrySpec) -> Preflight:
    """Check an entry in this process: its memory, or if it is compiled, whether that is faster."""
    torch.set_num_threads(spec.settings.threads)
    if spec.runtime == BASELINE:
        # Import the libraries first: they are no part of the entry's memory.
        family = BASELINES[spec.model].family.lower()
        for part in ("modeling", "image_processing"):
            importlib.import_module(f"transformers.models.{family}.{part}_{family}")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with entry_errors():
                return _compare(spec, Path(scratch)) if spec.compiled else _measure_memory(spec, Path(scratch))
        except EntryError as error:
            return Preflight(error=str(error))


def _measure_memory(spec: EntrySpec, scratch: Path) -> Preflight:
    device = torch.device(spec.settings.device)
    pixels = input_image(spec.size, spec.settings.image)
    before = resident_bytes()
    entry = build(spec, scratch)
    gc.collect()
    return Preflight(peak_growth(lambda: entry.run(pixels), before, device))


def _compare(spec: EntrySpec, scratch: Path) -> Preflight:
    pixels = input_image(spec.size, spec.settings.image)
    runs: dict[str, Callable[[], object]] = {}
    for name, compiled in (("eager", False), ("compiled", True)):
        entry = build(dataclasses.replace(spec, compiled=compiled), scratch)
        runs[name] = lambda entry=entry: entry.run(pixels)
    samples, errors = interleaved(runs, REPEATS, WARMUP, timer(torch.device(spec.settings.device)))
    if errors:
        return Preflight(error=errors.get("compiled") or errors["eager"])
    eager, compiled = (LatencySummary.of(samples[name]).median for name in ("eager", "compiled"))
    return Preflight(compiled=compiled < eager)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(preflight_here(spec_from_json(json.load(sys.stdin))))))
