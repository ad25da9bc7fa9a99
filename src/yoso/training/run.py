"""`train`: a recipe in, a run folder out."""

import json
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from yoso.categories import Categories
from yoso.data.spec import load_spec
from yoso.data.statistics import crowding
from yoso.errors import ConfigError
from yoso.files import write_text
from yoso.inference.memory import is_out_of_memory
from yoso.model.yoso import YOSO
from yoso.provenance import provenance
from yoso.settings import is_offline
from yoso.training.adapt import adapted, as_recorded, scaled, timed, with_recorded_choices
from yoso.training.calibration import calibrate
from yoso.training.callbacks import BestModel, MovingAverage, ProgressLog, RunFolder
from yoso.training.checkpoints import (
    Checkpoints,
    Preempted,
    WholeCheckpoints,
    newest_checkpoint,
    saved_checkpoints,
    sigterm_stops,
)
from yoso.training.config import BUNDLED, TrainingConfig
from yoso.training.loaders import Loaders
from yoso.training.lock import locked
from yoso.training.loggers import build_loggers
from yoso.training.memory import fitted, out_of_memory, training_device
from yoso.training.module import TrainingModule
from yoso.training.places import point_at_places
from yoso.training.processes import as_launched, synchronise
from yoso.training.resume import check_checkpoint, resumable
from yoso.training.start import start_from
from yoso.weights.layout import bundled_backbone
from yoso.weights.load import load_model
from yoso.weights.pretrained import pretrained_backbone
from yoso.weights.tensors import load_backbone


def build_network(config: TrainingConfig, categories: Categories, offline: bool = False) -> YOSO:
    """Return the recipe's network with the weights it starts from.

    Raises:
        CheckpointError: weights of the backbone or the start are missing, cannot be downloaded, or do not fit.
    """
    torch.manual_seed(config.run.seed)
    pretrained = pretrained_backbone(config.model.backbone, offline) if needs_pretrained(config) else False
    network = YOSO(config.model, len(categories), pretrained_backbone=pretrained)
    if config.start:
        print_once(start_from(network, config.start, categories, offline))
    elif config.backbone_weights == BUNDLED:
        load_backbone(network, bundled_backbone(config.model.backbone))
    elif config.backbone_weights not in {"imagenet", "none"}:
        load_backbone(network, config.backbone_weights)
    return network


def needs_pretrained(config: TrainingConfig) -> bool:
    """Return whether a run starts with the weights that timm publishes for its backbone."""
    return config.backbone_weights == "imagenet" and not config.start


@rank_zero_only
def print_once(line: str) -> None:
    """Print a line, in one of the processes."""
    print(line)


def build_trainer(folder: RunFolder, offline: bool = False) -> Trainer:
    """Return Lightning's trainer for a recipe, which writes into the run's folder.

    Raises:
        ConfigError: the package of a logger is missing, or its run cannot be started.
    """
    run, output = folder.config.run, folder.path
    callbacks: list[Callback] = [BestModel(folder)]
    if run.ema_decay:
        callbacks.append(MovingAverage(run.ema_decay))
    callbacks.append(Checkpoints(output / "checkpoints", run.checkpoint_every, run.keep_checkpoints))
    callbacks.append(ProgressLog(output / "train.log", run.log_every, run.images_per_step))
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
        logger=build_loggers(run.loggers, output, offline),
        plugins=[WholeCheckpoints()],
        callbacks=callbacks,
        enable_model_summary=False,
    )


def write_recipe(output: Path, config: TrainingConfig) -> None:
    """Write the complete recipe into the run's folder; `yoso train <folder>/recipe.yaml` repeats the run."""
    write_text(output / "recipe.yaml", yaml.safe_dump(json.loads(json.dumps(asdict(config))), sort_keys=False))


def train(config: TrainingConfig, resume: bool = False, offline: bool = False) -> Path:
    """Train with a recipe.

    Args:
        config: the recipe.
        resume: continue from the newest checkpoint of `config.output`.
        offline: download nothing and reach no server; `YOSO_OFFLINE` does the same.

    Returns:
        The model folder, `<output>/model`: the best model by PQ on `val`, or the last one if there is no `val`.

    Raises:
        ConfigError: the output folder holds a run and `resume` is not given, or another training writes into it.
        Preempted: SIGTERM stopped the run, which can be resumed.
        YosoError: see `load_spec`, `resumable`, `prepare`, `TrainingModule`.
    """
    output, offline = Path(config.output), offline or is_offline()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with sigterm_stops(), locked(output):
        checkpoint = newest_checkpoint(output) if resume else None
        if checkpoint is None and saved_checkpoints(output / "checkpoints"):
            raise ConfigError(f"{output}: holds a run already; add --resume to continue it, or give another --output")
        config = replace(config, run=as_launched(config.run))
        config, loaders, network = prepare(config, checkpoint, offline)
        module = TrainingModule(network, config, loaders.categories)
        made_by = provenance(training_device(config.run.accelerator))
        folder = RunFolder(output, config, loaders.categories, made_by)
        trainer = build_trainer(folder, offline)
        if trainer.is_global_zero:
            write_recipe(output, config)
        with warnings.catch_warnings(), memory_explained(module):
            warnings.filterwarnings("ignore", module="lightning")
            trainer.fit(module, datamodule=loaders, ckpt_path=checkpoint, weights_only=True)
            finish(trainer, module, loaders, folder)
    return output / "model"


def prepare(
    config: TrainingConfig, checkpoint: Path | None = None, offline: bool = False
) -> tuple[TrainingConfig, Loaders, YOSO]:
    """Check everything that a run needs, before it writes anything.

    Args:
        config: the recipe.
        checkpoint: to continue from; None for a new run.
        offline: download nothing.

    Returns:
        The recipe adapted to the data and the memory, the data, and the network in training mode.

    Raises:
        ConfigError: the recipe asks for what cannot be, or differs from that of the run to resume; the data set does
            not exist, or its splits have different classes.
        CheckpointError: weights are missing or damaged, or cannot be downloaded.
        DatasetError: annotations are missing or damaged.
        OutOfMemoryError: not even one image fits into memory.
    """
    spec = load_spec(config.data)
    if "val" not in spec.splits:
        config = replace(config, run=replace(config.run, validate_every=0))
    if checkpoint is not None:
        config = resumable(with_recorded_choices(config))
        # The checkpoint has the weights that the run started from.
        fresh = replace(config, start=None, backbone_weights="none")
    else:
        fresh = config
    check_backbone_weights(fresh, offline)  # before the annotations are read, which takes longer
    loaders = Loaders(config, spec)
    if checkpoint is not None:
        check_checkpoint(checkpoint, config, loaders.categories)
    elif config.adapt:
        config = loaders.config = fresh = reported(*adapted(config, crowding(loaders.training)))
    network = build_network(fresh, loaders.categories, offline)
    if checkpoint is None and config.start is None:
        initialise(network, config, loaders)
    # Lightning does not change modes: frozen normalisation must stay in evaluation mode, everything else must not.
    network.train()
    if config.run.auto_batch:
        config = loaders.config = fitted(config, network, loaders)
    if checkpoint is None:
        config = with_length(config, network, loaders)
    if config.run.processes > 1:
        synchronise(network, training_device(config.run.accelerator).type == "cuda")
    return config, loaders, network


def check_backbone_weights(config: TrainingConfig, offline: bool) -> None:
    """Make sure that the weights that the backbone starts from are there, or download them.

    Raises:
        CheckpointError: they are not.
    """
    if needs_pretrained(config):
        pretrained_backbone(config.model.backbone, offline)
    elif config.backbone_weights == BUNDLED and not config.start:
        bundled_backbone(config.model.backbone)


def with_length(config: TrainingConfig, network: YOSO, loaders: Loaders) -> TrainingConfig:
    """Return the recipe of a new run with everything chosen; the loaders take it too."""
    if config.run.minutes is not None:
        config = loaders.config = reported(*timed(config, network, loaders))
    config = loaders.config = as_recorded(reported(*scaled(config, len(loaders.training))))
    return config


def reported(config: TrainingConfig, lines: list[str]) -> TrainingConfig:
    """Print what was chosen, in one of the processes, and return the recipe."""
    for line in lines:
        print_once(line)
    return config


def initialise(network: YOSO, config: TrainingConfig, loaders: Loaders) -> None:
    """Give a new network the start for small data sets, as far as the recipe asks for it."""
    if config.calibrate:
        calibrate(network, [loaders.first(index) for index in range(min(16, len(loaders.training)))])
    if config.point_at_places:
        point_at_places(network)


@contextmanager
def memory_explained(module: TrainingModule) -> Generator[None, None, None]:
    """Turn an error about memory into one that names the batch and says what to do.

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
    """Evaluate the last weights if that is due, then the best model on all of `val`; without `val`, save the model.

    Raises:
        Preempted: SIGTERM was received at the end of the training.
    """
    callbacks: list[Callback] = getattr(trainer, "callbacks", [])
    best = next(callback for callback in callbacks if isinstance(callback, BestModel))
    if any(isinstance(callback, Checkpoints) and callback.asked for callback in callbacks):
        raise Preempted(f"stopped by SIGTERM after iteration {trainer.global_step}; continue with --resume")
    run = module.config.run
    if not run.validate_every:
        if trainer.is_global_zero:
            folder.save(module, {"iteration": trainer.global_step})
        return
    best.read_evaluations(trainer)
    if not best.evaluated(trainer.global_step):
        trainer.validate(module, datamodule=loaders, verbose=False)
    if loaders.validate_images and loaders.validate_all():
        trainer.strategy.barrier()  # the first process may still be writing
        module.network.load_state_dict(load_model(folder.path / "model").network.state_dict())
        best.final = True
        trainer.validate(module, datamodule=loaders, verbose=False)
