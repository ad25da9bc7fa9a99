"""A recipe: everything that decides a training run, as frozen dataclasses that YAML and the command line fill."""

from dataclasses import dataclass, field
from typing import Literal

from yoso.data.augmentation import Augmentation
from yoso.errors import ConfigError
from yoso.loss.config import LossConfig
from yoso.model.config import ModelConfig
from yoso.settings import InferenceConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; the defaults are the official ones.

    Attributes:
        lr: learning rate.
        backbone_multiplier: the backbone learns at this share of `lr`.
        weight_decay: on everything but the scales and shifts of normalisation layers.
        clip_norm: the gradient's total norm is clipped to it before every step.
    """

    lr: float = 1e-4
    backbone_multiplier: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 0.01


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate by iteration.

    Attributes:
        kind: "step" multiplies by `gamma` at each of `steps`; "poly" falls as (1 - iteration / iterations) ** `power`.
        steps: iterations, for "step".
        gamma: factor, for "step".
        power: exponent, for "poly".
        warmup_iterations: the rate rises linearly to its value over these.
    """

    kind: Literal["step", "poly"] = "poly"
    steps: tuple[int, ...] = ()
    gamma: float = 0.1
    power: float = 0.9
    warmup_iterations: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a number of iterations below 0.
        """
        if self.warmup_iterations < 0:
            raise ConfigError(f"schedule.warmup_iterations is {self.warmup_iterations}; it must not be negative")


@dataclass(frozen=True)
class RunConfig:
    """Length, batches, precision and bookkeeping of a run.

    Attributes:
        iterations: optimiser steps.
        batch_size: images per process and batch; times `accumulate` and the processes gives images per step.
        accumulate: batches per optimiser step. The losses are those of one large batch; only the statistics of
            BatchNorm layers that are not frozen are each batch's own.
        auto_batch: split every batch into as few parts as fit into memory: `batch_size` falls and `accumulate` rises
            by the same factor. For one process.
        memory_gigabytes: what `auto_batch` may use; 0 for what the device has.
        precision: Lightning's: "32-true", "bf16-mixed" or "16-mixed"; "64-true" is for comparisons.
        ema_decay: decay of the moving average of the weights, 0 for none. Where there is one it is evaluated and kept.
        workers: processes that load data.
        seed: of everything random: order, augmentation, points.
        checkpoint_every: iterations between checkpoints.
        keep_checkpoints: how many of the newest are kept.
        validate_every: iterations between evaluations on `val`; 0 for none.
        validate_images: evaluate on the first so many; 0 for all. The model that is kept is evaluated on all at the
            end.
        patience: stop after so many evaluations in a row without a better PQ; 0 for never.
        samples: images of `val` that are drawn at each evaluation; 0 for none.
        log_every: iterations between log lines.
        loggers: "tensorboard", "wandb", "mlflow".
        accelerator: Lightning's: "auto", "cpu", "gpu".
        devices: processes, one per device.
        nodes: machines.
    """

    iterations: int = 1000
    batch_size: int = 16
    accumulate: int = 1
    auto_batch: bool = False
    memory_gigabytes: float = 0.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    ema_decay: float = 0.0
    workers: int = 4
    seed: int = 0
    checkpoint_every: int = 5000
    keep_checkpoints: int = 2
    validate_every: int = 5000
    validate_images: int = 0
    patience: int = 0
    samples: int = 4
    log_every: int = 20
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a count that is too small, or a decay outside 0 to 1.
        """
        positive = ("iterations", "batch_size", "accumulate", "checkpoint_every", "keep_checkpoints", "log_every")
        for name in (*positive, "devices", "nodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"run.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("workers", "validate_every", "validate_images", "patience", "samples", "memory_gigabytes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"run.{name} is {getattr(self, name)}; it must not be negative")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"run.ema_decay is {self.ema_decay}; it must be at least 0 and below 1")

    @property
    def processes(self) -> int:
        """How many there are on all machines together."""
        return self.devices * self.nodes

    @property
    def images_per_step(self) -> int:
        """How many images an optimiser step sees, over all processes."""
        return self.batch_size * self.accumulate * self.processes


@dataclass(frozen=True)
class TrainingConfig:
    """A whole recipe.

    Attributes:
        data: a data set's name, YAML or folder.
        model: the network.
        backbone_weights: "imagenet" lets timm fetch its published weights, "none" starts fresh, anything else is a
            safetensors file with timm's names.
        calibrate: begin with centred features of unit spread, see `calibration`; for small data sets.
        point_at_places: begin with proposal masks that are bumps on a grid, see `point_at_places`.
        start: a model, see `find_model`, whose weights are taken over; see `start_from`. None for none.
        inference: thresholds and test size; they go into the model folder.
        loss: the criterion.
        augmentation: what happens to training images.
        optimizer: AdamW.
        schedule: the learning rate.
        run: length, batches, bookkeeping.
        output: the run's folder.
        about: facts for people, copied into the model folder: data, licence, attribution.
    """

    data: str
    model: ModelConfig = field(default_factory=ModelConfig)
    backbone_weights: str = "imagenet"
    calibrate: bool = False
    point_at_places: bool = False
    start: str | None = None
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig = field(default_factory=RunConfig)
    output: str = "runs/yoso"
    about: dict[str, str] = field(default_factory=dict)
