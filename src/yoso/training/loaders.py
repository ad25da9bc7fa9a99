"""The run's data: training samples that start where the run stands, and validation images as they are."""

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset

from yoso.data.coco_panoptic import PanopticExample
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import DatasetSpec
from yoso.data.transforms import build_transform, collate
from yoso.structures import Sample
from yoso.training.config import TrainingConfig
from yoso.training.sampling import EndlessSampler


class Drawn(Dataset[Sample]):
    """Augmented samples by (index, seed), see `EndlessSampler`."""

    def __init__(self, dataset: PanopticDataset, config: TrainingConfig) -> None:
        """Keep the data set and build the augmentation."""
        self.dataset = dataset
        self.transform = build_transform(config.augmentation)

    def __getitem__(self, index: tuple[int, int]) -> Sample:
        """Return the image at an index, augmented with random numbers of a seed."""
        position, seed = index
        return self.transform(self.dataset[position], torch.Generator().manual_seed(seed))


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


class Loaders(LightningDataModule):
    """Training and validation data of a run.

    Attributes:
        categories: of the data set.
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

    def first(self, position: int) -> Sample:
        """Return the run's sample at a position, counted from its beginning."""
        sampler = EndlessSampler(len(self.training), self.config.run.seed, position)
        return Drawn(self.training, self.config)[next(iter(sampler))]

    def _trainer(self) -> Trainer:
        if self.trainer is None:
            raise RuntimeError("loaders are made by a trainer")
        return self.trainer

    def train_dataloader(self) -> DataLoader:
        """Return batches from the run's current position on, without end."""
        run, trainer = self.config.run, self._trainer()
        seen = trainer.global_step * run.accumulate * run.batch_size
        sampler = EndlessSampler(len(self.training), run.seed, seen, trainer.global_rank, trainer.world_size)
        return DataLoader(
            Drawn(self.training, self.config),
            batch_size=run.batch_size,
            sampler=sampler,
            num_workers=run.workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=run.workers > 0,
        )

    def val_dataloader(self) -> DataLoader | list:
        """Return the validation images, one a batch, dealt out to the processes."""
        if self.validation is None:
            return []
        examples = Examples(self.validation, self.config.run.validate_images)
        trainer = self._trainer()
        mine = range(trainer.global_rank, len(examples), trainer.world_size)
        return DataLoader(examples, batch_size=1, sampler=list(mine), num_workers=0, collate_fn=list)
