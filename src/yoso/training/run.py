"""`train`: a recipe in, a run folder out."""

import json
import logging
import platform
import subprocess
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from yoso.categories import Categories
from yoso.data.spec import load_spec
from yoso.errors import ConfigError
from yoso.files import written_whole
from yoso.inference.memory import is_out_of_memory
from yoso.installation import versions
from yoso.model.yoso import YOSO
from yoso.training.calibration import calibrate
from yoso.training.callbacks import Keeper, MovingAverage, Narrator, RunFolder
from yoso.training.checkpoints import (
    Checkpoints,
    Preempted,
    WholeCheckpoints,
    newest_checkpoint,
    saved_checkpoints,
    sigterm_stops,
)
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Loaders
from yoso.training.loggers import build_loggers
from yoso.training.memory import fitted, out_of_memory, training_device
from yoso.training.module import TrainingModule
from yoso.training.places import point_at_places
from yoso.training.processes import as_launched, synchronise
from yoso.training.start import start_from
from yoso.weights.load import load_model
from yoso.weights.tensors import load_backbone


def build_network(config: TrainingConfig, categories: Categories) -> YOSO:
    """Return the recipe's network, with the weights it starts from.

    Raises:
        CheckpointError: backbone or starting weights that are missing or do not fit.
    """
    torch.manual_seed(config.run.seed)
    network = YOSO(
        config.model, len(categories), pretrained_backbone=config.backbone_weights == "imagenet" and not config.start
    )
    if config.start:
        tell(start_from(network, config.start, categories))
    elif config.backbone_weights not in {"imagenet", "none"}:
        load_backbone(network, config.backbone_weights)
    return network


@rank_zero_only
def tell(line: str) -> None:
    """Print a line, in one of the processes."""
    print(line)


def facts() -> dict[str, Any]:
    """Return what made a result: versions, commit, machine."""
    packages = ("yoso", "torch", "torchvision", "timm", "lightning", "numpy")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {
        "versions": versions(packages),
        "python": platform.python_version(),
        "commit": _commit(),
        "device": device,
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    try:
        command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def build_trainer(folder: RunFolder) -> Trainer:
    """Return Lightning's trainer for a recipe, writing into the run's folder.

    Raises:
        ConfigError: the package of a logger is missing.
    """
    run, output = folder.config.run, folder.path
    callbacks: list[Callback] = [Keeper(folder)]
    if run.ema_decay:
        callbacks.append(MovingAverage(run.ema_decay))
    callbacks.append(Checkpoints(output / "checkpoints", run.checkpoint_every, run.keep_checkpoints))
    callbacks.append(Narrator(output / "train.log", run.log_every, run.images_per_step))
    return Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.nodes,
        precision=run.precision,
        max_steps=run.iterations,
        accumulate_grad_batches=run.accumulate,
        gradient_clip_val=folder.config.optimizer.clip_norm,
        val_check_interval=run.validate_every * run.accumulate if run.validate_every else None,
        check_val_every_n_epoch=None if run.validate_every else 1,
        limit_val_batches=1.0 if run.validate_every else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=run.log_every,
        use_distributed_sampler=False,
        logger=build_loggers(run.loggers, output),
        plugins=[WholeCheckpoints()],
        callbacks=callbacks,
        enable_model_summary=False,
    )


def write_recipe(output: Path, config: TrainingConfig) -> None:
    """Write the resolved recipe into the run's folder; `yoso train <folder>/recipe.yaml` repeats the run."""
    with written_whole(output / "recipe.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config))), sort_keys=False))


def train(config: TrainingConfig, resume: bool = False) -> Path:
    """Train with a recipe.

    Args:
        config: the recipe.
        resume: go on from the newest checkpoint of `config.output`.

    Returns:
        The model folder, `<output>/model`: the best by PQ on `val`, or the last weights where there is no `val`.

    Raises:
        ConfigError: the output folder already holds a run, and `resume` is not asked for.
        Preempted: SIGTERM came; the run can be resumed.
        YosoError: see `load_spec`, `build_network`, `TrainingModule`, `fitted`.
    """
    output = Path(config.output)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with sigterm_stops():
        checkpoint = newest_checkpoint(output) if resume else None
        if checkpoint is None and saved_checkpoints(output / "checkpoints"):
            raise ConfigError(f"{output}: already holds a run; add --resume to go on with it, or give another --output")
        config, loaders, network = prepare(replace(config, run=as_launched(config.run)), resume)
        module = TrainingModule(network, config, loaders.categories)
        folder = RunFolder(output, config, loaders.categories, facts())
        trainer = build_trainer(folder)
        if trainer.is_global_zero:
            write_recipe(output, config)
        with warnings.catch_warnings(), memory_explained(module):
            warnings.filterwarnings("ignore", module="lightning")
            trainer.fit(module, datamodule=loaders, ckpt_path=checkpoint, weights_only=True)
            finish(trainer, module, loaders, folder)
    return output / "model"


def prepare(config: TrainingConfig, resume: bool) -> tuple[TrainingConfig, Loaders, YOSO]:
    """Return the recipe as the data and the memory allow it, the data, and the network in training mode."""
    spec = load_spec(config.data)
    if "val" not in spec.splits:
        config = replace(config, run=replace(config.run, validate_every=0))
    if resume:
        config = with_recorded_batch(config)
    loaders = Loaders(config, spec)
    # What a run started from is in its checkpoint already.
    fresh = replace(config, start=None, backbone_weights="none") if resume else config
    network = build_network(fresh, loaders.categories)
    if config.calibrate and not resume and config.start is None:
        calibrate(network, [loaders.first(index) for index in range(min(16, len(loaders.training)))])
    if config.point_at_places and not resume and config.start is None:
        point_at_places(network)
    # Lightning leaves modes as it finds them: frozen normalisation must stay in evaluation mode, the rest must not.
    network.train()
    if config.run.auto_batch:
        if config.run.processes > 1:
            raise ConfigError("run.auto_batch is for one process; find the batch with one, then give it by --batch")
        config = fitted(config, network, loaders)
        loaders.config = config
    if config.run.processes > 1:
        synchronise(network, training_device(config.run.accelerator).type == "cuda")
    return config, loaders, network


def with_recorded_batch(config: TrainingConfig) -> TrainingConfig:
    """Return the recipe with the split of a step that the run began with.

    Raises:
        ConfigError: the recipe's step is another, so that the run would not go on exactly.
    """
    path = Path(config.output) / "recipe.yaml"
    try:
        recorded = yaml.safe_load(path.read_text())["run"]
        batch_size, accumulate = int(recorded["batch_size"]), int(recorded["accumulate"])
        before = batch_size * accumulate * int(recorded["devices"]) * int(recorded["nodes"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({error!r}); it says how the run to resume was begun") from error
    run = config.run
    if run.auto_batch:
        run = replace(run, batch_size=batch_size, accumulate=accumulate, auto_batch=False)
    if (run.images_per_step, run.accumulate) != (before, accumulate):
        raise ConfigError(
            f"{path}: the run was begun with {before} images per step in {accumulate} batches, it cannot go on with "
            f"{run.images_per_step} in {run.accumulate}; give --batch, --accumulate and processes that agree"
        )
    return replace(config, run=run)


@contextmanager
def memory_explained(module: TrainingModule) -> Generator[None, None, None]:
    """Turn an error about memory into one that says which batch it was, and what to do.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        trainer = getattr(module, "_trainer", None)
        step = trainer.global_step + 1 if trainer is not None else 1
        raise out_of_memory(module.samples, module.config, f"at iteration {step}") from error


def finish(trainer: Trainer, module: TrainingModule, loaders: Loaders, folder: RunFolder) -> None:
    """Evaluate the last weights if they were not, then the kept ones on all of `val`; or save the last.

    Raises:
        Preempted: SIGTERM came in the last moments of the training.
    """
    callbacks: list[Callback] = getattr(trainer, "callbacks", [])
    keeper = next(callback for callback in callbacks if isinstance(callback, Keeper))
    if any(isinstance(callback, Checkpoints) and callback.asked for callback in callbacks):
        raise Preempted(f"stopped by SIGTERM after iteration {trainer.global_step}; go on with --resume")
    run = module.config.run
    if not run.validate_every:
        if trainer.is_global_zero:
            folder.save(module, {"iteration": trainer.global_step})
        return
    keeper.recall(trainer)
    if not keeper.evaluated(trainer.global_step):
        trainer.validate(module, datamodule=loaders, verbose=False)
    if loaders.validate_images and loaders.judge_all():
        trainer.strategy.barrier()  # the first process may still be writing
        module.network.load_state_dict(load_model(folder.path / "model").network.state_dict())
        keeper.judging = True
        trainer.validate(module, datamodule=loaders, verbose=False)
