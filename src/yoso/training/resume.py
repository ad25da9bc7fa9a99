"""Resuming: what must be as it was when the run started, and the errors if it is not."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from yoso.categories import Categories, Category
from yoso.errors import CheckpointError, ConfigError
from yoso.loss.config import LossConfig
from yoso.model.config import ModelConfig
from yoso.settings import config_from_json
from yoso.training.checkpoints import read_checkpoint
from yoso.training.config import OptimizerConfig, RunConfig, TrainingConfig
from yoso.training.defaults import read_recorded, unreadable
from yoso.training.start import listed

CATEGORIES = "categories"
"""Key of a checkpoint: the classes of the data set, as in a COCO panoptic file."""


def resumable(config: TrainingConfig) -> TrainingConfig:
    """Return the recipe with the split of a step that the run started with, which `auto_batch` may have chosen.

    Network, optimizer and the layers that only training has must be those of the checkpoint, and a step must consist of
    as many images and parts. Length, schedule, loss weights, augmentation and bookkeeping may change.

    Raises:
        ConfigError: the run cannot be resumed with this recipe; names the settings that differ.
    """
    path = Path(config.output) / "recipe.yaml"
    content = read_recorded(path)
    try:
        model = config_from_json(ModelConfig, content["model"])
        optimizer = config_from_json(OptimizerConfig, content["optimizer"])
        loss, run = config_from_json(LossConfig, content["loss"]), config_from_json(RunConfig, content["run"])
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise unreadable(path, error) from error
    resumed = _with_recorded_batch(config, run, path)
    changes = [
        *_changes("model", model, config.model),
        *_changes("optimizer", optimizer, config.optimizer),
        *_switched("loss.semantic_weight", loss.semantic_weight, config.loss.semantic_weight),
        *_switched("run.ema_decay", run.ema_decay, config.run.ema_decay),
    ]
    if changes:
        raise ConfigError(
            f"{path}: the run was started with other settings: {'; '.join(changes)}; resume with the recorded settings "
            "(give this file as RECIPE), or start a new run in another --output"
        )
    return resumed


def check_checkpoint(path: Path, config: TrainingConfig, categories: Categories) -> None:
    """Check that a checkpoint belongs to the classes of the data set, and that iterations are left to train.

    Raises:
        CheckpointError: the checkpoint is damaged or was not written by `yoso train`.
        ConfigError: it belongs to other classes, or is beyond the recipe's last iteration.
    """
    checkpoint = read_checkpoint(path, mmap=True)
    step = checkpoint.get("global_step")
    if step is None:
        raise CheckpointError(f"{path}: is not a checkpoint of `yoso train`; remove it from the run folder")
    if step > config.run.iterations:
        raise ConfigError(
            f"{path}: the run has already made {step} iterations, more than run.iterations, which is "
            f"{config.run.iterations}; give a larger --run.iterations"
        )
    if CATEGORIES not in checkpoint:  # written by version 0.1.0
        return
    before = Categories.from_json(checkpoint[CATEGORIES], str(path))
    difference = _first_difference(before, categories)
    if difference:
        raise ConfigError(
            f"the run was started with {len(before)} classes ({listed(before)}), the data set {config.data} has "
            f"{len(categories)} ({listed(categories)}): {difference}; resume with the data set of the run, or start a "
            "new run in another --output"
        )


def _with_recorded_batch(config: TrainingConfig, before: RunConfig, path: Path) -> TrainingConfig:
    run = config.run
    if run.auto_batch:
        run = replace(run, batch_size=before.batch_size, accumulate=before.accumulate, auto_batch=False)
    if (run.images_per_step, run.accumulate) != (before.images_per_step, before.accumulate):
        raise ConfigError(
            f"{path}: the run was started with {before.images_per_step} images per step in {before.accumulate} parts, "
            f"and cannot be resumed with {run.images_per_step} in {run.accumulate}; change --batch, --accumulate, or "
            "the number of processes"
        )
    return replace(config, run=run)


def _changes(group: str, before: Any, now: Any) -> Iterator[str]:
    """Yield a phrase for each setting of a group that is not what it was."""
    for name, value in asdict(before).items():
        if value != asdict(now)[name]:
            yield f"{group}.{name} was {value}, now {asdict(now)[name]}"


def _switched(name: str, before: float, now: float) -> Iterator[str]:
    """Yield a phrase if a part of training that 0 leaves out was added or removed."""
    if (before > 0) != (now > 0):
        yield f"{name} was {before}, now {now}"


def _first_difference(before: Categories, now: Categories) -> str:
    """Return what differs at the first class index where two lists of classes differ; empty if none does."""
    for index in range(max(len(before), len(now))):
        old, new = (_described(each[index] if index < len(each) else None) for each in (before, now))
        if old != new:
            return f"class {index} was {old}, now {new}"
    return ""


def _described(category: Category | None) -> str:
    return "missing" if category is None else f"{category.name!r} ({category.kind})"
