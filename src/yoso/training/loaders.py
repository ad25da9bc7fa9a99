"""The run's data: training samples that start where the run stands, and validation images as they are."""

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
from yoso.data.coco_panoptic import PanopticExample
from yoso.data.dataset import PanopticDataset
from yoso.data.samples import training_sample
from yoso.data.spec import DatasetSpec
from yoso.data.transforms import build_transform, collate
from yoso.structures import Sample
from yoso.training.config import TrainingConfig
from yoso.training.sampling import EndlessSampler

M_MMAP_THRESHOLD = -3
"""glibc's number of the setting: from so many bytes on, memory is taken from the system and given back."""


class Drawn(Dataset[Sample]):
    """Augmented samples by (index, seed, position in the run), see `EndlessSampler`."""

    def __init__(self, dataset: PanopticDataset, config: TrainingConfig) -> None:
        """Keep the data set and build the augmentation."""
        self.dataset = dataset
        self.augmentation, self.run = config.augmentation, config.run

    def __getitem__(self, index: tuple[int, int, int]) -> Sample:
        """Return the image at an index, augmented with random numbers of a seed."""
        number, seed, position = index
        iteration = position // self.run.images_per_step
        augmentation = self.augmentation.at(min(1.0, iteration / self.run.iterations))
        transform, generator = build_transform(augmentation), torch.Generator().manual_seed(seed)
        return transform(training_sample(self.dataset, number), generator)


class Examples(Dataset[PanopticExample]):
    """Validation images with their truth, each its own batch."""

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
    """What one pass through the network takes: an optimiser step's images, or a part of them.

    Attributes:
        samples: the images.
        step_counts: the number of targets of every image that this process gives to the step.
    """

    samples: list[Sample]
    step_counts: list[int]


class Batches:
    """Steps from a loader, dealt out in parts, and a clock for how long the training waits for them.

    A step's images are loaded together, so that the loss of the first part knows the number of targets of all.

    Attributes:
        waited_seconds: since the beginning.
    """

    def __init__(self, loader: DataLoader, batch_size: int) -> None:
        """Deal out the loader's batches, one step each, in parts of `batch_size`."""
        self.loader, self.batch_size = loader, batch_size
        self.waited_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        """Yield parts; see `told` for errors."""
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
                    traceback.clear_frames(error.__traceback__)  # of the iterator, which it would keep alive
                    raise told(error) from error
                self.waited_seconds += time.perf_counter() - start
                counts = [len(sample.labels) for sample in step]
                for first in range(0, len(step), self.batch_size):
                    yield Batch(step[first : first + self.batch_size], counts)
        finally:
            # The loading processes end with the iterator: here and now, whoever keeps the error.
            del steps


def told(error: Exception) -> Exception:
    """Return an error of a loading process as it was raised there, without the traceback that PyTorch puts into it."""
    found = re.findall(r"^yoso\.errors\.(\w+): (.*)", str(error), re.MULTILINE)
    if isinstance(error, errors.YosoError) and found:
        name, message = found[-1]
        return getattr(errors, name)(message)
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error) and "killed" in str(error):
        return errors.OutOfMemoryError(
            "a process that loads data was killed, as happens when memory runs out; use fewer --run.workers, or a "
            "smaller augmentation.size"
        )
    return error


def settle(worker: int) -> None:
    """Make ready a loading process.

    It goes on when SIGTERM is sent to all: the training ends its step, then the process. And what a large photograph
    took goes back to the system, of which glibc would keep a part in every process.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**22)


def _kill_loading_at_exit() -> None:
    """Kill the loading processes, if any are left, when the interpreter ends, which waits for them.

    It asks them by SIGTERM, which they do not hear. What is registered last runs first: this, then PyTorch's own wait.
    """
    atexit.unregister(_kill_loading)
    atexit.register(_kill_loading)


def _kill_loading() -> None:
    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would raise an error for each that is killed
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


class Loaders(LightningDataModule):
    """Training and validation data of a run.

    Attributes:
        categories: of the data set.
        batches: of the training in progress; None before it.
        validate_images: evaluate on the first so many; 0 for all.
    """

    def __init__(self, config: TrainingConfig, spec: DatasetSpec) -> None:
        """Read the annotations.

        Raises:
            ConfigError: the data set has no `train`, or no `val` although the recipe evaluates.
            DatasetError: its annotations cannot be read.
        """
        super().__init__()
        self.config = config
        self.training = PanopticDataset(spec.split("train"), filter_empty=True)
        self.validation = PanopticDataset(spec.split("val")) if config.run.validate_every else None
        self.categories = self.training.categories
        self.batches: Batches | None = None
        self.validate_images = config.run.validate_images

    def heaviest(self, count: int) -> list[Sample]:
        """Return so many of the images with the most segments, augmented; the hardest on memory."""
        firsts = self.training.annotations.firsts
        numbers = np.diff(firsts)[self.training.indices]
        order = np.argsort(-numbers, kind="stable")
        drawn, run = Drawn(self.training, self.config), self.config.run
        return [
            drawn[int(order[position % len(order)]), position, run.iterations * run.images_per_step]
            for position in range(count)
        ]

    def first(self, position: int) -> Sample:
        """Return the run's sample at a position, counted from its beginning."""
        sampler = EndlessSampler(len(self.training), self.config.run.seed, position)
        return Drawn(self.training, self.config)[next(iter(sampler))]

    def judge_all(self) -> bool:
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
            Drawn(self.training, self.config),
            batch_size=images,
            sampler=sampler,
            num_workers=run.workers,
            collate_fn=collate,
            worker_init_fn=settle,
            pin_memory=torch.cuda.is_available(),
        )
        self.batches = Batches(loader, run.batch_size)
        return self.batches

    def val_dataloader(self) -> DataLoader | list:
        """Return the validation images, one a batch, dealt out to the processes."""
        if self.validation is None:
            return []
        examples = Examples(self.validation, self.validate_images)
        trainer = self._trainer()
        mine = range(trainer.global_rank, len(examples), trainer.world_size)
        return DataLoader(examples, batch_size=1, sampler=list(mine), num_workers=0, collate_fn=list)
