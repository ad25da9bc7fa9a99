"""A session: at every size in turn, measures all entries against each other and returns the result."""

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
from yoso.provenance import git_commit, hardware, package_versions, utc_now
from yoso.speed.energy import joules_per_run
from yoso.speed.entry import STAGES, Entry, EntrySpec, StageSeconds, TimingSettings
from yoso.speed.images import input_image
from yoso.speed.preflight import Preflight, preflight
from yoso.speed.protocol import EntryError, LatencySummary, entry_errors, interleaved, timer
from yoso.speed.results import FORMAT, Measurement, Mode, Result, TimingProtocol, ratios
from yoso.speed.rooflines import measure_rooflines
from yoso.speed.specs import build, check_output
from yoso.speed.yoso_entries import requested_precision

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class SessionPlan:
    """What a session measures, and how often.

    Attributes:
        repeats: turns of each entry.
        warmup: runs of each before the first turn.
        memory: measure peak memory, with one process per entry.
        compile_seconds: time limit for trying `torch.compile` on a baseline; 0 to skip it.
        rooflines: compare stages with the machine's peaks.
        reference: name of the entry that the others are compared with; None is the first.
    """

    repeats: int = 20
    warmup: int = 3
    memory: bool = True
    compile_seconds: float = 0.0
    rooflines: bool = False
    reference: str | None = None

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ConfigError: a count that is too small.
        """
        for name, minimum in (("repeats", 1), ("warmup", 1), ("compile_seconds", 0)):
            value = getattr(self, name)
            if value < minimum:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least {minimum}")

    @property
    def stage_repeats(self) -> int:
        """Runs that wait for the device at every stage."""
        return max(3, self.repeats // 2) if self.repeats >= 3 else self.repeats


@dataclass
class _Progress:
    """What is known about one entry so far."""

    spec: EntrySpec
    preflight: Preflight = field(default_factory=Preflight)
    entry: Entry | None = None
    segments: int | None = None
    samples: list[float] = field(default_factory=list)
    stages: list[StageSeconds] = field(default_factory=list)
    joules: float | None = None
    error: str | None = None

    def runner(self, pixels: np.ndarray) -> Callable[[], object]:
        """Return a call that segments the image."""
        return partial(self.built.run, pixels)

    @property
    def built(self) -> Entry:
        """The entry, once it is built."""
        if self.entry is None:
            raise ValueError(f"{self.spec.name} was not built")
        return self.entry


def reference_name(specs: Sequence[EntrySpec], plan: SessionPlan) -> str:
    """Return the name of the reference.

    Raises:
        ConfigError: no entry has that name.
    """
    names = list(dict.fromkeys(spec.name for spec in specs))
    if plan.reference is not None and plan.reference not in names:
        raise ConfigError(f"--reference: no entry {plan.reference!r}.{did_you_mean(plan.reference, names)}")
    return plan.reference or names[0]


def measure(specs: Sequence[EntrySpec], plan: SessionPlan, report: Report = lambda done, total: None) -> Result:
    """Measure everything. An entry that fails is reported as failed, and the others go on.

    Args:
        specs: from `entry_specs`, all with the same settings.
        plan: what to measure, and how often.
        report: called with (done, total) after every run.

    Raises:
        ConfigError: no entry has the name of the reference.
        ImageError: the file to segment cannot be read.
    """
    settings, reference = specs[0].settings, reference_name(specs, plan)
    by_size: dict[Size, list[EntrySpec]] = {}
    for spec in specs:
        by_size.setdefault(spec.size, []).append(spec)
    images = {size: input_image(size, settings.image) for size in by_size}
    total = len(specs) * (2 + plan.warmup + plan.repeats + plan.stage_repeats)
    done = iter(range(1, total + 1))

    def step() -> None:
        report(next(done, total), total)

    torch.set_num_threads(settings.threads)
    measured = []
    for size, group in by_size.items():
        with tempfile.TemporaryDirectory() as scratch:
            entries = _measure_size(group, images[size], plan, Path(scratch), step)
        measured += [_measurement(each) for each in entries]
        del entries
        gc.collect()
    return Result(
        FORMAT,
        utc_now(),
        hardware(torch.device(settings.device)),
        package_versions(),
        settings.threads,
        _protocol(plan, settings),
        measured,
        reference,
        ratios(measured, reference),
        git_commit(),
        measure_rooflines(specs, measured, settings) if plan.rooflines else None,
    )


def _protocol(plan: SessionPlan, settings: TimingSettings) -> TimingProtocol:
    image = "synthetic" if settings.image is None else "file"
    return TimingProtocol(plan.repeats, plan.warmup, plan.stage_repeats, settings.kept_queries, image)


def _measure_size(
    group: Sequence[EntrySpec], pixels: np.ndarray, plan: SessionPlan, scratch: Path, step: Callable[[], None]
) -> list[_Progress]:
    entries = [_Progress(spec) for spec in group]
    for each in entries:
        each.preflight = preflight(each.spec, plan.compile_seconds, plan.memory)
        each.error = each.preflight.error
        step()
    for each in entries:
        if each.error is None:
            _build(each, pixels, scratch)
        step()
    device = torch.device(group[0].settings.device)
    _take_turns(entries, pixels, plan, device, step)
    for each in entries:
        if each.entry is not None and each.error is None:
            each.joules = joules_per_run(each.runner(pixels), device)
    return entries


def _build(progress: _Progress, pixels: np.ndarray, scratch: Path) -> None:
    """Build an entry and let it segment once, to see that it works."""
    spec = dataclasses.replace(progress.spec, compiled=progress.preflight.compiled)
    try:
        with entry_errors():
            progress.entry = build(spec, scratch)
            output = progress.entry.run(pixels)
        check_output(output.segmentation, spec.size)
        progress.segments = output.num_segments
    except EntryError as error:
        progress.error, progress.entry = str(error), None


def _take_turns(
    entries: Sequence[_Progress], pixels: np.ndarray, plan: SessionPlan, device: torch.device, step: Callable[[], None]
) -> None:
    """Time end to end, and then the stages of the entries that did not fail."""
    running = {each.spec.name: each for each in entries if each.entry is not None}
    runs = {name: each.runner(pixels) for name, each in running.items()}
    samples, errors = interleaved(runs, plan.repeats, plan.warmup, timer(device), step)
    _store(running, "samples", samples, errors)
    staged = {name: partial(each.built.stage_seconds, pixels) for name, each in running.items() if each.error is None}
    stages, errors = interleaved(staged, plan.stage_repeats, 0, lambda run: run(), step)
    _store(running, "stages", stages, errors)


def _store(
    running: dict[str, _Progress], attribute: str, samples: Mapping[str, list[Any]], errors: dict[str, str]
) -> None:
    for name, values in samples.items():
        setattr(running[name], attribute, values)
    for name, error in errors.items():
        running[name].error = error


def _measurement(progress: _Progress) -> Measurement:
    spec, entry = progress.spec, progress.entry
    mode = _mode(progress)
    if entry is None or progress.error is not None:
        return Measurement(spec.name, spec.size, mode, error=progress.error)
    present = [stage for stage in STAGES if progress.stages and stage in progress.stages[0]]
    return Measurement(
        spec.name,
        spec.size,
        mode,
        LatencySummary.of(progress.samples),
        {stage: statistics.median(run[stage] for run in progress.stages) for stage in present},
        progress.samples,
        progress.segments,
        progress.preflight.peak_memory_bytes,
        progress.joules,
        entry.parameters,
    )


def _mode(progress: _Progress) -> Mode:
    """Return how an entry ran; for one that was not built, how it was meant to."""
    spec, entry, compiled = progress.spec, progress.entry, progress.preflight.compiled
    if entry is None:
        return Mode(spec.runtime, requested_precision(spec), compiled, False)
    cuda_graph = entry.uses_cuda_graph() or None
    return Mode(spec.runtime, entry.precision, compiled, entry.random_weights, cuda_graph)
