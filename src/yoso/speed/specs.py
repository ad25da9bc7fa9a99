"""From the names on the command line to entry specs, checked before anything is built, and from a spec to its entry."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yoso.errors import ConfigError, did_you_mean
from yoso.inference.runtimes import runtime_of
from yoso.preprocess import Size
from yoso.speed import baselines, yoso_entries
from yoso.speed.entry import Entry, EntrySpec, TimingSettings
from yoso.speed.protocol import EntryError

BASELINE = "baseline"
"""The runtime of every baseline."""

PRECISIONS = ("fp32", "fp16", "bf16")


def entry_specs(
    models: Sequence[str],
    runtimes: Sequence[str],
    against: Sequence[str],
    sizes: Sequence[Size],
    settings: TimingSettings,
) -> list[EntrySpec]:
    """Return the entries of a session, size by size: every model in every runtime, then the baselines.

    Args:
        models: model names, model folders, exported files, recipes.
        runtimes: some of `yoso_entries.RUNTIMES`.
        against: some of `baselines.BASELINES`.
        sizes: (height, width) each.
        settings: of the session.

    Raises:
        ConfigError: an unknown name, nothing to time, or a missing package.
    """
    known_names = (("runtime", runtimes, yoso_entries.RUNTIMES), ("baseline", against, baselines.BASELINES))
    for kind, names, known in known_names:
        for name in names:
            if name not in known:
                raise ConfigError(f"unknown {kind} {name!r}.{did_you_mean(name, known)}")
    for model in models:
        yoso_entries.check_model(model)
    if against:
        baselines.require_transformers()
    if not (models and runtimes) and not against:
        raise ConfigError("nothing to time; give --models with --runtimes, or --against")
    labels = _labels(models)
    specs = []
    for size in dict.fromkeys(sizes):
        for model, label in labels.items():
            if file_runtime := runtime_of(model):
                specs.append(EntrySpec(label, model, file_runtime.name, size, settings))
                continue
            distinct = dict.fromkeys(runtimes)
            specs += [EntrySpec(f"{label} {runtime}", model, runtime, size, settings) for runtime in distinct]
        specs += [EntrySpec(name, name, BASELINE, size, settings) for name in dict.fromkeys(against)]
    return specs


def _labels(models: Sequence[str]) -> dict[str, str]:
    """Return how the tables show each model: a folder's name without its path, numbered if two are the same."""
    labels: dict[str, str] = {}
    for model in dict.fromkeys(models):
        name = Path(model).resolve().name if Path(model).exists() else model
        same = sum(label.split(" (")[0] == name for label in labels.values())
        labels[model] = f"{name} ({same + 1})" if same else name
    return labels


def build(spec: EntrySpec, scratch: Path) -> Entry:
    """Build an entry.

    Args:
        spec: what to build.
        scratch: a folder that must exist as long as the entry is used.

    Raises:
        YosoError: it cannot be built.
    """
    return baselines.build(spec) if spec.runtime == BASELINE else yoso_entries.build(spec, scratch)


def check_output(segmentation: np.ndarray, size: Size) -> None:
    """Check that an entry did the work that is timed.

    Raises:
        EntryError: the id map does not have the size of the image, or does not hold numbers.
    """
    if segmentation.shape != size or segmentation.dtype.kind not in "iuf":
        raise EntryError(f"returned a map of {segmentation.shape}, {segmentation.dtype}; the image is {size}")
