"""From names to entries, checked before anything is built, and from an entry to its contestant."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yoso.errors import ConfigError, did_you_mean
from yoso.inference.runtimes import runtime_of
from yoso.preprocess import Size
from yoso.speed import baselines, ours
from yoso.speed.entry import Contestant, Entry, Settings
from yoso.speed.protocol import ContestantError

PEER = "peer"
PRECISIONS = ("fp32", "fp16", "bf16")


def line_up(
    models: Sequence[str], runtimes: Sequence[str], against: Sequence[str], sizes: Sequence[Size], settings: Settings
) -> list[Entry]:
    """Return the entries of a session, size by size: every model in every runtime, then the peers.

    Args:
        models: bundled names, model folders, recipes.
        runtimes: some of `ours.RUNTIMES`.
        against: some of `baselines.PEERS`.
        sizes: (height, width) each.
        settings: of the session.

    Raises:
        ConfigError: a name that does not exist, nothing to time, or a package that is missing.
    """
    for kind, names, known in (("runtime", runtimes, ours.RUNTIMES), ("peer", against, baselines.PEERS)):
        for name in names:
            if name not in known:
                raise ConfigError(f"unknown {kind} {name!r}.{did_you_mean(name, known)}")
    for model in models:
        ours.check_model(model)
    if against:
        baselines.check_peers()
    if not (models and runtimes) and not against:
        raise ConfigError("nothing to time; name --models with --runtimes, or --against")
    labels = _labels(models)
    entries = []
    for size in dict.fromkeys(sizes):
        for model, label in labels.items():
            if runtime := runtime_of(model):
                entries.append(Entry(label, model, runtime.name, size, settings))
                continue
            kinds = dict.fromkeys(runtimes)
            entries += [Entry(f"{label} {runtime}", model, runtime, size, settings) for runtime in kinds]
        entries += [Entry(name, name, PEER, size, settings) for name in dict.fromkeys(against)]
    return entries


def _labels(models: Sequence[str]) -> dict[str, str]:
    """Return what the tables call each model: a folder's own name, without the path, numbered if there are two."""
    labels: dict[str, str] = {}
    for model in dict.fromkeys(models):
        name = Path(model).resolve().name if Path(model).exists() else model
        same = sum(label.split(" (")[0] == name for label in labels.values())
        labels[model] = f"{name} ({same + 1})" if same else name
    return labels


def build(entry: Entry, scratch: Path) -> Contestant:
    """Build a contestant; `scratch` is a folder that must live as long as it.

    Raises:
        YosoError: it cannot be built.
    """
    return baselines.build(entry) if entry.runtime == PEER else ours.build(entry, scratch)


def check_prediction(segmentation: np.ndarray, size: Size) -> None:
    """Check that a contestant did the work that is timed.

    Raises:
        ContestantError: the id map is not of the photograph's size, or does not hold integers.
    """
    if segmentation.shape != size or segmentation.dtype.kind not in "iuf":
        raise ContestantError(f"gave a map of {segmentation.shape}, {segmentation.dtype}; the photograph is {size}")
