"""The recipe of a training run: frozen dataclasses that YAML and the command line fill. Loads no torch."""

from dataclasses import dataclass, field
from typing import Literal

from yoso.data.augmentation import Augmentation
from yoso.errors import ConfigError
from yoso.loss.config import LossConfig
from yoso.model.config import ModelConfig
from yoso.settings import InferenceConfig

BUNDLED = "bundled"
"""Value of `backbone_weights` for the weights that come with the package."""

ADAPTABLE = frozenset(
    {
        "augmentation.window",
        "augmentation.size",
        "augmentation.scale",
        "inference.input_size",
        "model.num_queries",
        "run.iterations",
        "run.validate_every",
        "schedule.warmup_iterations",
    }
)
"""Settings that `adapt` may name; `yoso.training.adapt` has the rules."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; the defaults are those of the official implementation.

    Attributes:
        lr: learning rate.
        backbone_multiplier: factor on `lr` for the backbone.
        weight_decay: of all parameters except those of normalisation layers.
        clip_norm: maximum norm of the gradient, which is clipped before every step.
    """

    lr: float = 1e-4
    backbone_multiplier: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 0.01


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate by iteration.

    Attributes:
        kind: "step" multiplies the rate by `gamma` at each of `steps`; "poly" multiplies it by
            (1 - iteration / iterations) ** `power`.
        steps: iterations, for "step".
        gamma: factor, for "step".
        power: exponent, for "poly".
        warmup_iterations: number of iterations over which the rate rises linearly to its value.
    """

    kind: Literal["step", "poly"] = "poly"
    steps: tuple[int, ...] = ()
    gamma: float = 0.1
    power: float = 0.9
    warmup_iterations: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: the number of iterations is negative.
        """
        if self.warmup_iterations < 0:
            raise ConfigError(f"schedule.warmup_iterations is {self.warmup_iterations}; it must not be negative")


@dataclass(frozen=True)
class RunConfig:
    """Length, batches, precision and bookkeeping of a run.

    Attributes:
        iterations: optimizer steps.
        minutes: choose `iterations` so that the run takes about so long, by timing some steps; None to leave it.
        batch_size: images per process and batch; images per step are `batch_size` x `accumulate` x processes.
        accumulate: batches per optimizer step; the loss is that of one large batch, but BatchNorm layers that are not
            frozen use the statistics of each batch.
        auto_batch: split each batch into as few parts as fit into memory; for one process. `--batch auto` sets it.
        memory_gigabytes: memory that `auto_batch` may use; 0 for all memory of the device.
        precision: Lightning's "32-true", "bf16-mixed" or "16-mixed"; "64-true" is for comparisons.
        ema_decay: decay of the moving average of the weights, which is then evaluated and saved; 0 for no average.
        workers: data-loading processes.
        seed: of the order of images, the augmentation, and the sampled points.
        checkpoint_every: iterations between checkpoints.
        keep_checkpoints: number of newest checkpoints to keep.
        validate_every: iterations between evaluations on `val`; 0 for none.
        validate_images: number of images of `val` to evaluate during training; 0 for all. The best model is evaluated
            on all of them at the end.
        patience: stop after this many evaluations in a row without a better PQ; 0 for never.
        samples: images of `val` to draw at each evaluation; 0 for none.
        log_every: iterations between log lines.
        loggers: any of "tensorboard", "wandb", "mlflow".
        accelerator: Lightning's "auto", "cpu" or "gpu".
        devices: processes per machine, one per device.
        nodes: machines.
    """

    iterations: int = 1000
    minutes: float | None = None
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
            ConfigError: a count is too small, or the decay is out of range.
        """
        positive = ("iterations", "batch_size", "accumulate", "checkpoint_every", "keep_checkpoints", "log_every")
        for name in (*positive, "devices", "nodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"run.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("workers", "validate_every", "validate_images", "patience", "samples", "memory_gigabytes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"run.{name} is {getattr(self, name)}; it must not be negative")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise ConfigError(f"run.minutes is {self.minutes:g}; give a number above 0, or leave it out")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"run.ema_decay is {self.ema_decay}; it must be at least 0 and below 1")

    @property
    def processes(self) -> int:
        """Number of processes on all machines."""
        return self.devices * self.nodes

    @property
    def images_per_step(self) -> int:
        """Images per optimizer step, over all processes."""
        return self.batch_size * self.accumulate * self.processes


@dataclass(frozen=True)
class TrainingConfig:
    """A complete recipe.

    Attributes:
        data: data set: a YAML file, a folder, or a name.
        model: network.
        backbone_weights: "imagenet" for the weights that timm publishes, "bundled" for those that come with the package
            (tf_efficientnet_lite0), "none" for random ones, or a safetensors file with timm's names.
        calibrate: start with centred features of unit variance; for small data sets.
        point_at_places: start with proposal masks at the places of a grid; for small data sets.
        adapt: settings that are chosen from the statistics of the data, see docs/training.md; an option on the command
            line takes its setting out of the list.
        start: model whose weights are taken over: a name, a folder, or hf:OWNER/NAME.
        inference: thresholds and test size, saved with the model.
        loss: loss.
        augmentation: augmentation of training images.
        optimizer: optimizer (AdamW).
        schedule: learning-rate schedule.
        run: length, batches, precision and bookkeeping of the run.
        output: run folder.
        about: information saved with the model: data, license, attribution.
    """

    data: str
    model: ModelConfig = field(default_factory=ModelConfig)
    backbone_weights: str = "imagenet"
    calibrate: bool = False
    point_at_places: bool = False
    adapt: tuple[str, ...] = ()
    start: str | None = None
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig = field(default_factory=RunConfig)
    output: str = "runs/yoso"
    about: dict[str, str] = field(default_factory=dict)
