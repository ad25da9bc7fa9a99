"""A contestant tried out in a process of its own: how much memory it needs, and whether compiling it pays.

    python -m yoso.speed.trial < entry.json

Reads one entry, prints one JSON document.
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

from yoso.speed.baselines import PEERS
from yoso.speed.entry import Entry, Settings
from yoso.speed.images import photograph
from yoso.speed.lineup import PEER, build
from yoso.speed.memory import peak_growth, resident_bytes
from yoso.speed.protocol import OUT_OF_MEMORY, ContestantError, Spread, contestant_errors, interleaved, seconds

TRIAL_REPEATS = 5


@dataclass(frozen=True)
class Trial:
    """What a trial found.

    Attributes:
        peak_memory_bytes: weights and working memory of the form that is not compiled; None if not measurable.
        compiled: compiling works and is faster.
        error: what stopped the contestant.
    """

    peak_memory_bytes: int | None = None
    compiled: bool = False
    error: str | None = None


def try_out(entry: Entry, compile_seconds: float, memory: bool = True) -> Trial:
    """Try an entry, each question in a process of its own.

    Args:
        entry: what to try, not compiled.
        compile_seconds: a peer is tried through `torch.compile`, which may take so long, all in all; 0 for not at
            all. It is compiled in the session only if that is faster.
        memory: measure its peak memory; an entry that fails at it is not tried further.
    """
    found = _in_child(entry, None) if memory else Trial()
    if found.error or entry.runtime != PEER or compile_seconds <= 0:
        return found
    compiled = _in_child(dataclasses.replace(entry, compiled=True), compile_seconds)
    return dataclasses.replace(found, compiled=compiled.compiled)


def _in_child(entry: Entry, timeout: float | None) -> Trial:
    command = [sys.executable, "-m", "yoso.speed.trial"]
    question = json.dumps(dataclasses.asdict(entry))
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
        return Trial(error=f"took longer than {timeout:.0f} s")
    if child.returncode < 0:
        return Trial(error=OUT_OF_MEMORY)
    lines = child.stdout.splitlines()
    if child.returncode or not lines:
        return Trial(error=" ".join(child.stderr.split())[-200:])
    return Trial(**json.loads(lines[-1]))


def entry_from_json(content: dict[str, Any]) -> Entry:
    """Return the entry that `dataclasses.asdict` and JSON made these values of."""
    values: dict[str, Any] = {**content, "size": tuple(content["size"]), "settings": Settings(**content["settings"])}
    return Entry(**values)


def answer(entry: Entry) -> Trial:
    """Try an entry in this process."""
    torch.set_num_threads(entry.settings.threads)
    if entry.runtime == PEER:
        # The libraries are no part of the contestant's memory.
        family = PEERS[entry.model].family.lower()
        for part in ("modeling", "image_processing"):
            importlib.import_module(f"transformers.models.{family}.{part}_{family}")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with contestant_errors():
                return _compare(entry, Path(scratch)) if entry.compiled else _weigh(entry, Path(scratch))
        except ContestantError as error:
            return Trial(error=str(error))


def _weigh(entry: Entry, scratch: Path) -> Trial:
    device = torch.device(entry.settings.device)
    pixels = photograph(entry.size, entry.settings.image)
    before = resident_bytes()
    contestant = build(entry, scratch)
    gc.collect()
    return Trial(peak_growth(lambda: contestant.run(pixels), before, device))


def _compare(entry: Entry, scratch: Path) -> Trial:
    pixels = photograph(entry.size, entry.settings.image)
    runs: dict[str, Callable[[], object]] = {}
    for name, compiled in (("eager", False), ("compiled", True)):
        contestant = build(dataclasses.replace(entry, compiled=compiled), scratch)
        runs[name] = lambda contestant=contestant: contestant.run(pixels)
    samples, errors = interleaved(runs, TRIAL_REPEATS, 2, seconds(torch.device(entry.settings.device)))
    if errors:
        return Trial(error=errors.get("compiled") or errors["eager"])
    return Trial(compiled=Spread.of(samples["compiled"]).median < Spread.of(samples["eager"]).median)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(answer(entry_from_json(json.load(sys.stdin))))))
