"""The Lightning module: one training step, one evaluation step, and the optimiser."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor

from yoso.categories import VOID, Categories
from yoso.data.coco_panoptic import PanopticExample
from yoso.errors import NonFiniteError
from yoso.evaluation.panoptic_quality import PanopticQuality
from yoso.loss.criterion import Criterion
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess import Sizes, panoptic
from yoso.preprocess import resize, resized_size
from yoso.structures import PADDING, Sample, Target
from yoso.training.config import TrainingConfig
from yoso.training.optimizer import build_optimizer, lr_factor
from yoso.training.sampling import seed_for


def make_target(sample: Sample, size: tuple[int, int], ignore_void: bool = False) -> Target:
    """Unfold a sample's segment map into one mask per target, padded to `size`.

    Args:
        sample: one training image.
        size: (H, W) of the padded batch.
        ignore_void: mark void and crowd pixels as taking no part; else they are negatives for every mask, as is
            padding always.
    """
    height, width = sample.segment_map.shape
    segments = F.pad(sample.segment_map, (0, size[1] - width, 0, size[0] - height), value=PADDING)
    ids = torch.arange(1, len(sample.labels) + 1, device=segments.device, dtype=segments.dtype)
    masks = segments == ids[:, None, None]
    return Target(sample.labels, masks, segments != VOID if ignore_void else None, sample.name)


class TrainingModule(LightningModule):
    """Trains a `YOSO` with a recipe.

    Attributes:
        network: what is trained.
        quality: panoptic quality of the evaluation in progress.
    """

    def __init__(self, network: YOSO, config: TrainingConfig, categories: Categories) -> None:
        """Keep the network and build the criterion and the metric."""
        super().__init__()
        # Convolutions of images run a third faster with channels last, on a CPU as on a GPU.
        self.network = network.to(memory_format=torch.channels_last)
        self.config = config
        self.criterion = Criterion(config.loss, len(categories))
        self.quality = PanopticQuality(categories)
        self.categories = categories

    def losses(self, batch: list[Sample]) -> dict[str, Tensor]:
        """Return the weighted loss terms of a batch, by stage and name."""
        size = padded_size([sample.image.shape[-2:] for sample in batch])
        targets = [make_target(sample, size, self.config.loss.ignore_void) for sample in batch]
        stages = self.network.stages([sample.image for sample in batch])
        return self.criterion(stages, targets)

    def training_step(self, batch: list[Sample], batch_idx: int) -> Tensor:
        """Return the total loss.

        The sampled points are drawn from a seed of the batch's own, so that a resumed run draws the same.

        Raises:
            NonFiniteError: the loss is NaN or infinite.
        """
        torch.manual_seed(seed_for(self.config.run.seed, batch_idx, self.global_rank))
        terms = self.losses(batch)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            names = ", ".join(sample.name for sample in batch)
            raise NonFiniteError(f"the loss became {total.item()} at iteration {self.global_step} on {names}")
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()})
        self.log("train/loss", total.detach(), prog_bar=True)
        return total

    def validation_step(self, batch: list[PanopticExample], batch_idx: int) -> None:
        """Segment validation images as a user would, at their own size, and count matches."""
        for example in batch:
            id_map, segments = self.segment(example.image)
            self.quality.update(id_map, segments, example.id_map, example.segments, example.record.file_name)

    def segment(self, image: np.ndarray) -> tuple[np.ndarray, list[dict[str, int]]]:
        """Return the id map (H, W) of a uint8 RGB image and its segments as `id` and `category_id`."""
        size = image.shape[:2]
        resized = resize(image, resized_size(size, self.config.inference.input_size))
        tensor = torch.from_numpy(resized.copy()).permute(2, 0, 1).to(self.device)
        # In full precision whatever the training's is, so that the figure is the one `yoso eval` gives for the model.
        with torch.autocast(self.device.type, enabled=False):
            outputs = self.network(tensor[None])
        result = panoptic(
            outputs.class_logits[0].float(),
            outputs.mask_logits[0].float(),
            Sizes(padded_size([resized.shape[:2]]), resized.shape[:2], size),
            self.categories.is_thing,
            self.config.inference.object_mask_threshold,
            self.config.inference.overlap_threshold,
        )
        segments = [
            {"id": segment.id, "category_id": self.categories[segment.class_index].id} for segment in result.segments
        ]
        return result.segmentation.cpu().numpy(), segments

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule, stepped every iteration."""
        optimizer = build_optimizer(self.network, self.config.optimizer)
        factor = lr_factor(self.config.schedule, self.config.run.iterations)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
