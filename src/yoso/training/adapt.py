"""A recipe that fits the data: the rules by which `adapt` chooses settings from the statistics of a data set.

docs/training.md has the rules as a table. Each choice is printed with its reason, and recorded in the run's recipe.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoso.data.statistics import Crowding
from yoso.errors import ConfigError, did_you_mean
from yoso.model.yoso import YOSO
from yoso.settings import config_from_json
from yoso.training.config import ADAPTABLE, TrainingConfig
from yoso.training.defaults import read_recorded, unreadable
from yoso.training.loaders import Loaders
from yoso.training.memory import MemoryProbe, training_device

CROWDED, UNCROWDED = 80, 60
"""Segments per image from which on windows are cut out, and segments per window then; a recipe has 100 queries."""

THING_PIXELS = 20
"""Side of the median thing after resizing, which is 5 positions of the mask logits."""

SIZES = (320, 512)
"""Smallest and largest input size to choose."""

MAX_QUERIES = 300
PASSES = 20
ITERATIONS = (500, 5000)
"""Fewest and most iterations to choose."""

FEW_PASSES = 10
"""Below this many passes over the images, training at the scale of the test is better than enlarged crops."""

TIMED_STEPS = 3
TRAINING_SHARE = 0.9
"""Of the minutes; the rest is for evaluations and the start."""

Choice = tuple[str, Any, str]
"""Setting, value and reason."""


def adapted(config: TrainingConfig, crowding: Crowding) -> tuple[TrainingConfig, list[str]]:
    """Choose the settings that `config.adapt` names; see the rules in docs/training.md.

    Args:
        config: the recipe.
        crowding: of the images to train on.

    Returns:
        The recipe with the choices, and a line for each that says what was chosen and why.

    Raises:
        ConfigError: `adapt` names a setting that no rule chooses.
    """
    for name in config.adapt:
        if name not in ADAPTABLE:
            raise ConfigError(f"adapt: no rule chooses {name!r}.{did_you_mean(name, ADAPTABLE)}")
    lines: list[str] = []
    for rule in (_window, _queries, _size, _iterations):
        chosen = [choice for choice in rule(config, crowding) if choice[0] in config.adapt]
        config = with_settings(config, {name: value for name, value, _ in chosen})
        lines += [f"adapt: {name} {json.dumps(value)}: {reason}" for name, value, reason in chosen]
    return config, lines


def scaled(config: TrainingConfig, num_images: int) -> tuple[TrainingConfig, list[str]]:
    """Choose the scales of the augmentation, once the number of iterations is final."""
    passes = config.run.iterations * config.run.images_per_step / max(1, num_images)
    if "augmentation.scale" not in config.adapt or passes >= FEW_PASSES:
        return config, []
    line = f"adapt: augmentation.scale [1.0, 1.0]: only {passes:.1f} passes over the images"
    return with_settings(config, {"augmentation.scale": (1.0, 1.0)}), [line]


def _window(config: TrainingConfig, crowding: Crowding) -> Iterable[Choice]:
    crowded = float(np.percentile(crowding.counts, 95))
    if crowded <= CROWDED:
        return
    density = float(np.percentile(crowding.counts / crowding.sizes.prod(axis=1), 95))
    side = max(64, int((UNCROWDED / density) ** 0.5) // 32 * 32)
    if side < crowding.sizes.max():
        yield (
            "augmentation.window",
            side,
            f"95% of the images have up to {crowded:.0f} segments, and squares of this side about {UNCROWDED}; "
            f"evaluate and predict with --tiles {side}",
        )


def _queries(config: TrainingConfig, crowding: Crowding) -> Iterable[Choice]:
    if config.augmentation.window or config.start:
        return
    most = float(np.percentile(crowding.counts, 99))
    wanted = min(MAX_QUERIES, -(-int(1.25 * most) // 10) * 10)
    if most > config.model.num_queries:
        yield "model.num_queries", wanted, f"99% of the images have up to {most:.0f} segments"


def _size(config: TrainingConfig, crowding: Crowding) -> Iterable[Choice]:
    if not len(crowding.thing_sides):
        return
    shown = config.augmentation.window or float(np.median(crowding.sizes.min(axis=1)))
    median = max(1.0, float(np.median(crowding.thing_sides)))
    size = int(np.clip(-(-int(THING_PIXELS * shown / median) // 32) * 32, *SIZES))
    where = "squares" if config.augmentation.window else "images"
    reason = f"the median thing is {median:.0f} pixels wide in {where} of {shown:.0f}, {median * size / shown:.0f} then"
    yield "augmentation.size", (size, size), reason
    yield "inference.input_size", (size, 2 * size), "as in training"


def _iterations(config: TrainingConfig, crowding: Crowding) -> Iterable[Choice]:
    if config.run.minutes is not None:
        return
    passes = PASSES * len(crowding.counts) // config.run.images_per_step
    iterations = int(np.clip(passes, *ITERATIONS))
    yield "run.iterations", iterations, f"{PASSES} passes over {len(crowding.counts)} images are {passes} iterations"
    yield from _length(config, iterations)


def _length(config: TrainingConfig, iterations: int) -> Iterable[Choice]:
    """Yield what follows from the number of iterations."""
    if config.run.validate_every:
        yield "run.validate_every", max(1, iterations // 5), "five evaluations"
    yield "schedule.warmup_iterations", max(1, min(100, iterations // 10)), "a tenth, at most 100"


def timed(config: TrainingConfig, network: YOSO, loaders: Loaders) -> tuple[TrainingConfig, list[str]]:
    """Choose the number of iterations that takes `config.run.minutes`, by timing some steps on a copy of the network.

    Args:
        config: the recipe.
        network: ready to train; it is not changed.
        loaders: provide the images.
    """
    assert config.run.minutes is not None
    images = config.run.batch_size * config.run.accumulate
    with torch.random.fork_rng(devices=[]):
        probe = MemoryProbe(network, config, loaders, training_device(config.run.accelerator))
        seconds = []
        for step in range(TIMED_STEPS):
            start = time.perf_counter()
            samples = [loaders.first(step * images + place) for place in range(images)]
            loaded = time.perf_counter()
            for first in range(0, images, config.run.batch_size):
                probe.step(samples[first : first + config.run.batch_size])
            stepped = time.perf_counter()
            # Loading processes work at the same time.
            seconds.append(stepped - loaded if config.run.workers else stepped - start)
    fastest = min(seconds[1:])  # the first one allocates
    iterations = max(1, int(60 * TRAINING_SHARE * config.run.minutes / fastest))
    length = {name: value for name, value, _ in _length(config, iterations)}
    if "run.validate_every" not in config.adapt and config.run.validate_every:
        length["run.validate_every"] = min(config.run.validate_every, iterations)
    if "schedule.warmup_iterations" not in config.adapt:
        length["schedule.warmup_iterations"] = min(config.schedule.warmup_iterations, iterations // 10)
    line = f"minutes: run.iterations {iterations}: a step takes {fastest:.2f} s, the run {config.run.minutes:g} minutes"
    return with_settings(config, {"run.iterations": iterations, **length}), [line]


def with_settings(config: TrainingConfig, settings: dict[str, Any]) -> TrainingConfig:
    """Return a recipe with some settings changed, by dotted key with one dot."""
    for name, value in settings.items():
        group, _, field = name.partition(".")
        config = replace(config, **{group: replace(getattr(config, group), **{field: value})})
    return config


def with_recorded_choices(config: TrainingConfig) -> TrainingConfig:
    """Return the recipe of a run to resume with what it chose when it began.

    Raises:
        ConfigError: its record cannot be read.
    """
    names = set(config.adapt)
    if config.run.minutes is not None:
        names |= {"run.iterations", "run.validate_every", "schedule.warmup_iterations"}
    if not names:
        return config
    path = Path(config.output) / "recipe.yaml"
    content = read_recorded(path)
    settings = {}
    try:
        for name in sorted(names & ADAPTABLE):
            group, _, field = name.partition(".")
            kind = type(getattr(config, group))
            settings[name] = getattr(config_from_json(kind, content[group]), field)
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise unreadable(path, error) from error
    return as_recorded(with_settings(config, settings))


def as_recorded(config: TrainingConfig) -> TrainingConfig:
    """Return the recipe with nothing left to choose, as the run's record has it."""
    return replace(config, adapt=(), run=replace(config.run, minutes=None))
