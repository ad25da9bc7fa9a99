"""`train`: a recipe in, a run folder out."""

import importlib.metadata
import json
import logging
import platform
import subprocess
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from yoso.categories import Categories
from yoso.data.spec import load_spec
from yoso.errors import CheckpointError, ConfigError
from yoso.files import written_whole
from yoso.model.checkpoint import load_backbone
from yoso.model.yoso import YOSO
from yoso.training.calibration import calibrate
from yoso.training.callbacks import Keeper, MovingAverage, Narrator, checkpoints
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Loaders
from yoso.training.module import TrainingModule
from yoso.training.start import start_from


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
        "versions": {name: importlib.metadata.version(name) for name in packages},
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


def newest_checkpoint(folder: Path) -> Path:
    """Return the newest checkpoint of a run folder.

    Raises:
        CheckpointError: there is none.
    """
    found = sorted((folder / "checkpoints").glob("*.ckpt"))
    if not found:
        raise CheckpointError(f"{folder}: no checkpoint to resume from; start without --resume")
    return found[-1]


def build_trainer(config: TrainingConfig, output: Path, categories: Categories) -> Trainer:
    """Return Lightning's trainer for a recipe, writing into `output`."""
    run = config.run
    callbacks: list[Callback] = [Keeper(output / "model", config, categories, facts())]
    if run.ema_decay:
        callbacks.append(MovingAverage(run.ema_decay))
    images_per_step = run.batch_size * run.accumulate * run.devices * run.nodes
    callbacks.append(checkpoints(output / "checkpoints", run.checkpoint_every))
    callbacks.append(Narrator(output / "train.log", run.log_every, images_per_step))
    return Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.nodes,
        precision=run.precision,
        max_steps=run.iterations,
        accumulate_grad_batches=run.accumulate,
        gradient_clip_val=config.optimizer.clip_norm,
        sync_batchnorm=run.devices * run.nodes > 1,
        val_check_interval=run.validate_every * run.accumulate if run.validate_every else None,
        check_val_every_n_epoch=None if run.validate_every else 1,
        limit_val_batches=1.0 if run.validate_every else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=run.log_every,
        use_distributed_sampler=False,
        logger=TensorBoardLogger(output, name=None, version="tensorboard"),
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
        YosoError: see `load_spec`, `build_network`, `TrainingModule`.
    """
    output = Path(config.output)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    checkpoint = newest_checkpoint(output) if resume else None
    if checkpoint is None and any((output / "checkpoints").glob("*.ckpt")):
        raise ConfigError(f"{output}: already holds a run; add --resume to go on with it, or give another --output")
    spec = load_spec(config.data)
    if "val" not in spec.splits:
        config = replace(config, run=replace(config.run, validate_every=0))
    loaders = Loaders(config, spec)
    categories = loaders.categories
    # What a run started from is in its checkpoint already.
    network = build_network(replace(config, start=None, backbone_weights="none") if resume else config, categories)
    if config.calibrate and not resume and config.start is None:
        calibrate(network, [loaders.first(index) for index in range(min(16, len(loaders.training)))])
    # Lightning leaves modes as it finds them: frozen normalisation must stay in evaluation mode, the rest must not.
    module = TrainingModule(network.train(), config, categories)
    trainer = build_trainer(config, output, categories)
    write_recipe(output, config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        trainer.fit(module, datamodule=loaders, ckpt_path=checkpoint, weights_only=True)
        finish(trainer, module, loaders)
    return output / "model"


def finish(trainer: Trainer, module: TrainingModule, loaders: Loaders) -> None:
    """Evaluate the last weights if the last step was not evaluated; save them if nothing ever was."""
    run = module.config.run
    if run.validate_every and trainer.global_step % run.validate_every:
        trainer.validate(module, datamodule=loaders, verbose=False)
    elif not run.validate_every and trainer.is_global_zero:
        keeper = next(callback for callback in getattr(trainer, "callbacks", []) if isinstance(callback, Keeper))
        keeper.save(module, {"iteration": trainer.global_step})
