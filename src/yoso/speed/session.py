"""A whole session: every size in turn, every contestant of it against the others, and the result."""

import dataclasses
import gc
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoso.errors import ConfigError, did_you_mean
from yoso.preprocess import Size
from yoso.speed import machine
from yoso.speed.energy import joules_per_run
from yoso.speed.entry import STAGES, Contestant, Entry, Settings, Stages
from yoso.speed.images import photograph
from yoso.speed.lineup import build, check_prediction
from yoso.speed.ours import asked_precision
from yoso.speed.protocol import ContestantError, Spread, contestant_errors, interleaved, seconds
from yoso.speed.results import FORMAT, Measurement, Mode, Protocol, Result, ratios
from yoso.speed.rooflines import measure_floors
from yoso.speed.trial import Trial, try_out

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What a session does beyond its entries.

    Attributes:
        repeats: turns of each contestant.
        warmup: runs of each before them.
        memory: measure peak memory, in a process per contestant.
        compile_seconds: how long trying `torch.compile` on a peer may take; 0 for not at all.
        floors: measure what the machine could do at best.
        baseline: the contestant whom the ratios are for; None is the first.
    """

    repeats: int = 20
    warmup: int = 3
    memory: bool = True
    compile_seconds: float = 0.0
    floors: bool = False
    baseline: str | None = None

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ConfigError: a count that is too small.
        """
        for name, least in (("repeats", 1), ("warmup", 1), ("compile_seconds", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")

    @property
    def stage_repeats(self) -> int:
        """Runs with a stop at every stage."""
        return max(3, self.repeats // 2) if self.repeats >= 3 else self.repeats


@dataclass
class _Line:
    """What is known of one entry so far."""

    entry: Entry
    trial: Trial = field(default_factory=Trial)
    contestant: Contestant | None = None
    segments: int | None = None
    samples: list[float] = field(default_factory=list)
    stages: list[Stages] = field(default_factory=list)
    joules: float | None = None
    error: str | None = None

    def runner(self, pixels: np.ndarray) -> Callable[[], object]:
        """Return a call that segments the photograph."""
        return partial(self.built.run, pixels)

    @property
    def built(self) -> Contestant:
        """The contestant, once it is built."""
        if self.contestant is None:
            raise ValueError(f"{self.entry.name} was not built")
        return self.contestant


def baseline_of(entries: Sequence[Entry], plan: Plan) -> str:
    """Return the name of the baseline.

    Raises:
        ConfigError: no contestant has that name.
    """
    names = list(dict.fromkeys(entry.name for entry in entries))
    if plan.baseline is not None and plan.baseline not in names:
        raise ConfigError(f"no contestant {plan.baseline!r} to be the baseline.{did_you_mean(plan.baseline, names)}")
    return plan.baseline or names[0]


def measure(entries: Sequence[Entry], plan: Plan, report: Report = lambda done, total: None) -> Result:
    """Measure everything. A contestant that fails is reported as failed, and the others go on.

    Args:
        entries: of `line_up`; all of the same settings.
        plan: how long and what.
        report: called with (done, in all) after every run.

    Raises:
        ConfigError: no contestant is named as the baseline says.
        ImageError: the file to segment cannot be read.
    """
    settings, baseline = entries[0].settings, baseline_of(entries, plan)
    by_size: dict[Size, list[Entry]] = {}
    for entry in entries:
        by_size.setdefault(entry.size, []).append(entry)
    pictures = {size: photograph(size, settings.image) for size in by_size}
    total = len(entries) * (2 + plan.warmup + plan.repeats + plan.stage_repeats)
    done = iter(range(1, total + 1))

    def step() -> None:
        report(next(done, total), total)

    torch.set_num_threads(settings.threads)
    measured = []
    for size, group in by_size.items():
        with tempfile.TemporaryDirectory() as scratch:
            lines = _measure_size(group, pictures[size], plan, Path(scratch), step)
        measured += [_measurement(line) for line in lines]
        del lines
        gc.collect()
    return Result(
        FORMAT,
        machine.now(),
        machine.hardware(torch.device(settings.device)),
        machine.versions(),
        settings.threads,
        _protocol(plan, settings),
        measured,
        baseline,
        ratios(measured, baseline),
        machine.commit(),
        measure_floors(entries, measured, settings) if plan.floors else None,
    )


def _protocol(plan: Plan, settings: Settings) -> Protocol:
    image = "made" if settings.image is None else "file"
    return Protocol(plan.repeats, plan.warmup, plan.stage_repeats, settings.survivors, image)


def _measure_size(
    group: Sequence[Entry], pixels: np.ndarray, plan: Plan, scratch: Path, step: Callable[[], None]
) -> list[_Line]:
    lines = [_Line(entry) for entry in group]
    for line in lines:
        line.trial = try_out(line.entry, plan.compile_seconds, plan.memory)
        line.error = line.trial.error
        step()
    for line in lines:
        if line.error is None:
            _build(line, pixels, scratch)
        step()
    device = torch.device(group[0].settings.device)
    _take_turns(lines, pixels, plan, device, step)
    for line in lines:
        if line.contestant is not None and line.error is None:
            line.joules = joules_per_run(line.runner(pixels), device)
    return lines


def _build(line: _Line, pixels: np.ndarray, scratch: Path) -> None:
    """Build a contestant and let it segment once, to see that it does."""
    try:
        with contestant_errors():
            line.contestant = build(dataclasses.replace(line.entry, compiled=line.trial.compiled), scratch)
            prediction = line.contestant.run(pixels)
        check_prediction(prediction.segmentation, line.entry.size)
        line.segments = prediction.num_segments
    except ContestantError as error:
        line.error, line.contestant = str(error), None


def _take_turns(
    lines: Sequence[_Line], pixels: np.ndarray, plan: Plan, device: torch.device, step: Callable[[], None]
) -> None:
    """Time end to end, and then the stages of those that came through."""
    running = {line.entry.name: line for line in lines if line.contestant is not None}
    runs = {name: line.runner(pixels) for name, line in running.items()}
    samples, errors = interleaved(runs, plan.repeats, plan.warmup, seconds(device), step)
    _keep(running, "samples", samples, errors)
    staged = {name: partial(line.built.stages, pixels) for name, line in running.items() if line.error is None}
    stages, errors = interleaved(staged, plan.stage_repeats, 0, lambda run: run(), step)
    _keep(running, "stages", stages, errors)


def _keep(running: dict[str, _Line], what: str, samples: Mapping[str, list[Any]], errors: dict[str, str]) -> None:
    for name, values in samples.items():
        setattr(running[name], what, values)
    for name, error in errors.items():
        running[name].error = error


def _measurement(line: _Line) -> Measurement:
    entry, contestant = line.entry, line.contestant
    mode = _mode(line)
    if contestant is None or line.error is not None:
        return Measurement(entry.name, entry.size, mode, error=line.error)
    present = [stage for stage in STAGES if line.stages and stage in line.stages[0]]
    return Measurement(
        entry.name,
        entry.size,
        mode,
        Spread.of(line.samples),
        {stage: statistics.median(one[stage] for one in line.stages) for stage in present},
        line.samples,
        line.segments,
        line.trial.peak_memory_bytes,
        line.joules,
        contestant.parameters,
    )


def _mode(line: _Line) -> Mode:
    """Say how a contestant ran; of one that was not built, how it would have."""
    entry, contestant, compiled = line.entry, line.contestant, line.trial.compiled
    if contestant is None:
        return Mode(entry.runtime, asked_precision(entry), compiled, False)
    graphed = contestant.graphed() or None
    return Mode(entry.runtime, contestant.precision, compiled, contestant.random_weights, graphed)
