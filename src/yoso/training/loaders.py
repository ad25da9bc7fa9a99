"""The data of a run: augmented training samples from the current position on, and unchanged validation images."""

import atexit
import ctypes
import multiprocessing
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset

from yoso import errors
from yoso.categories import check_same_classes
from yoso.data.augmentation import Augmentation
from yoso.data.coco_panoptic import PanopticExample
from yoso.data.dataset import PanopticDataset
from yoso.data.samples import training_sample
from yoso.data.spec import DatasetSpec
from yoso.data.transforms import build_transform, collate
from yoso.structures import Sample
from yoso.training.config import TrainingConfig
from yoso.training.sampling import EndlessSampler

M_MMAP_THRESHOLD = -3
"""glibc's number of the setting: blocks of at least this many bytes come from the system and go back to it."""


class TrainingSamples(Dataset[Sample]):
    """Augmented samples by (index, seed); see `EndlessSampler`."""

    def __init__(self, dataset: PanopticDataset, augmentation: Augmentation) -> None:
        """Keep the data set and build the augmentation."""
        self.dataset, self.augmentation = dataset, augmentation

    def __getitem__(self, index: tuple[int, int]) -> Sample:
        """Return the image at an index, augmented with random numbers from a seed."""
        number, seed = index
        transform, generator = build_transform(self.augmentation), torch.Generator().manual_seed(seed)
        return transform(training_sample(self.dataset, number), generator)


class ValidationExamples(Dataset[PanopticExample]):
    """Validation images with their truth, one per batch."""

    def __init__(self, dataset: PanopticDataset, limit: int) -> None:
        """Keep the first `limit` images, or all if it is 0."""
        self.dataset = dataset
        self.length = min(limit, len(dataset)) if limit else len(dataset)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> PanopticExample:
        """Return the image at an index."""
        return self.dataset.example(index)


class Batch(NamedTuple):
    """The images of one forward pass: an optimizer step's images, or a part of them.

    Attributes:
        samples: the images.
        step_counts: number of targets of every image that this process contributes to the step.
    """

    samples: list[Sample]
    step_counts: list[int]


class Batches:
    """Yields the batches of a loader in parts and measures how long the training waits for data.

    The images of a step are loaded together, so that the loss of the first part knows the number of targets of all.

    Attributes:
        waited_seconds: since the beginning.
    """

    def __init__(self, loader: DataLoader, batch_size: int) -> None:
        """Split the loader's batches, one per step, into parts of `batch_size`."""
        self.loader, self.batch_size = loader, batch_size
        self.waited_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        """Yield parts; for errors see `original_error`."""
        steps = iter(self.loader)
        _kill_loading_at_exit()
        try:
            while True:
                start = time.perf_counter()
                try:
                    step = next(steps)
                except StopIteration:
                    return
                except Exception as error:
                    traceback.clear_frames(error.__traceback__)  # they would keep the iterator alive
                    raise original_error(error) from error
                self.waited_seconds += time.perf_counter() - start
                counts = [len(sample.labels) for sample in step]
                for first in range(0, len(step), self.batch_size):
                    yield Batch(step[first : first + self.batch_size], counts)
        finally:
            # The loading processes end with the iterator: here and now, even if somebody keeps the error.
            del steps


def original_error(error: Exception) -> Exception:
    """Return an error of a loading process as it was raised there, without the traceback that PyTorch puts into it."""
    found = re.findall(r"^yoso\.errors\.(\w+): (.*)", str(error), re.MULTILINE)
    if isinstance(error, errors.YosoError) and found:
        name, message = found[-1]
        return getattr(errors, name)(message)
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error) and "killed" in str(error):
        return errors.OutOfMemoryError(
            "a data-loading process was killed, which happens when memory runs out; use fewer --run.workers or a "
            "smaller augmentation.size"
        )
    return error


def init_worker(worker: int) -> None:
    """Set up a loading process.

    It ignores SIGTERM, which may be sent to all processes: the training ends its step first, then this process. And
    the memory of large images goes back to the system; glibc would keep a part of it in every process.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**22)


def _kill_loading_at_exit() -> None:
    """Kill loading processes that are left when the interpreter exits, which waits for them.

    They ignore the SIGTERM that the interpreter sends. What is registered last runs first: this, then PyTorch's wait.
    """
    atexit.unregister(_kill_loading)
    atexit.register(_kill_loading)


def _kill_loading() -> None:
    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would raise an error for each killed process
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


class Loaders(LightningDataModule):
    """Training and validation data of a run.

    Attributes:
        categories: of the data set.
        batches: of the training in progress; None before it.
        validate_images: evaluate on the first so many images; 0 for all.
    """

    def __init__(self, config: TrainingConfig, spec: DatasetSpec) -> None:
        """Read the annotations.

        Raises:
            ConfigError: the data set has no `train` split, or no `val` split although the recipe evaluates; or the
                classes of the two splits differ.
            DatasetError: the annotations cannot be read.
        """
        super().__init__()
        self.config = config
        self.training = PanopticDataset(spec.split("train"), filter_empty=True)
        self.validation = PanopticDataset(spec.split("val")) if config.run.validate_every else None
        self.categories = self.training.categories
        if self.validation is not None:
            names = (str(dataset.split.annotations) for dataset in (self.training, self.validation))
            check_same_classes(self.categories, self.validation.categories, *names)
        self.batches: Batches | None = None
        self.validate_images = config.run.validate_images

    def samples(self) -> TrainingSamples:
        """Return the augmented training images by (index, seed)."""
        return TrainingSamples(self.training, self.config.augmentation)

    def heaviest(self, count: int) -> list[Sample]:
        """Return the `count` images with the most segments, augmented; they need the most memory."""
        firsts = self.training.annotations.firsts
        numbers = np.diff(firsts)[self.training.indices]
        order = np.argsort(-numbers, kind="stable")
        samples = self.samples()
        return [samples[int(order[position % len(order)]), position] for position in range(count)]

    def first(self, position: int) -> Sample:
        """Return the run's sample at a position, counted from the beginning of the run."""
        sampler = EndlessSampler(len(self.training), self.config.run.seed, position)
        return self.samples()[next(iter(sampler))]

    def validate_all(self) -> bool:
        """Evaluate on all of `val` from now on; return whether that is more than before."""
        total = 0 if self.validation is None else len(self.validation)
        fewer = 0 < self.validate_images < total
        self.validate_images = 0
        return fewer

    def _trainer(self) -> Trainer:
        if self.trainer is None:
            raise RuntimeError("loaders are made by a trainer")
        return self.trainer

    def train_dataloader(self) -> Batches:
        """Return batches from the run's current position on, without end."""
        run, trainer = self.config.run, self._trainer()
        images = run.accumulate * run.batch_size
        seen = trainer.global_step * images
        sampler = EndlessSampler(len(self.training), run.seed, seen, trainer.global_rank, trainer.world_size)
        loader = DataLoader(
            self.samples(),
            batch_size=images,
            sampler=sampler,
            num_workers=run.workers,
            collate_fn=collate,
            worker_init_fn=init_worker,
            pin_memory=torch.cuda.is_available(),
        )
        self.batches = Batches(loader, run.batch_size)
        return self.batches

    def val_dataloader(self) -> DataLoader | list:
        """Return the validation images, one per batch, dealt out to the processes."""
        if self.validation is None:
            return []
        examples = ValidationExamples(self.validation, self.validate_images)
        trainer = self._trainer()
        mine = range(trainer.global_rank, len(examples), trainer.world_size)
        return DataLoader(examples, batch_size=1, sampler=list(mine), num_workers=0, collate_fn=list)
