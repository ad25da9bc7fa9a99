"""The Lightning module: one training step, one evaluation step, and the optimizer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor

from yoso.categories import VOID, Categories
from yoso.data.coco_panoptic import PanopticExample
from yoso.errors import NonFiniteError
from yoso.evaluation.matching import MatchCounts
from yoso.evaluation.quality import PanopticQualityResult, panoptic_quality
from yoso.inference.predictor import Predictor
from yoso.inference.torch_engine import TorchEngine
from yoso.loss.criterion import Criterion, mean_over_processes
from yoso.loss.forcing import Forced, masks_given
from yoso.model.aggregator import Factored
from yoso.model.yoso import YOSO, padded_size
from yoso.scoring.loop import Prediction, score_image
from yoso.scoring.predicting import with_segments
from yoso.scoring.tasks import MatchedSegments
from yoso.structures import PADDING, Sample, StageOutputs, Target
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Batch
from yoso.training.optimizer import build_optimizer, lr_factor
from yoso.training.processes import gathered, num_processes
from yoso.training.resume import CATEGORIES
from yoso.training.sampling import seed_for
from yoso.training.semantic_head import SemanticHead
from yoso.weights.model_folder import Model


def make_target(sample: Sample, size: tuple[int, int], ignore_void: bool = False) -> Target:
    """Unfold a sample's segment map into one mask per target, padded to `size`.

    Args:
        sample: one training image.
        size: (H, W) of the padded batch.
        ignore_void: exclude void and crowd pixels from the mask terms; otherwise they are negatives for every mask, as
            padding always is.
    """
    height, width = sample.segment_map.shape
    segments = F.pad(sample.segment_map, (0, size[1] - width, 0, size[0] - height), value=PADDING)
    ids = torch.arange(1, len(sample.labels) + 1, device=segments.device, dtype=segments.dtype)
    masks = segments == ids[:, None, None]
    return Target(sample.labels, masks, segments != VOID if ignore_void else None, sample.name)


class TrainingModule(LightningModule):
    """Trains a `YOSO` with a recipe.

    Attributes:
        network: the network to train.
        head: a layer that exists only in training, if the recipe asks for it.
        samples: the images of the current batch, for error messages.
        segmented: the first images of the current evaluation with their predictions, for the sample sheet.
    """

    def __init__(self, network: YOSO, config: TrainingConfig, categories: Categories) -> None:
        """Keep the network and build the criterion."""
        super().__init__()
        # Convolutions run a third faster with channels last, on a CPU and on a GPU.
        self.network = network.to(memory_format=torch.channels_last)
        self.config = config
        self.criterion = Criterion(config.loss, len(categories))
        wanted = config.loss.semantic_weight > 0
        self.head = SemanticHead(config.model.hidden_channels, len(categories)) if wanted else None
        self.categories = categories
        self.samples: list[Sample] = []
        self.segmented: list[tuple[PanopticExample, Prediction]] = []
        self._matches = MatchedSegments(categories)
        self._places: list[int] = []
        self._terms: list[Tensor] = []

    def losses(self, samples: list[Sample], step_counts: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Return the weighted loss terms of a batch, by stage and name; for `step_counts` see `Criterion.forward`."""
        size = padded_size([sample.image.shape[-2:] for sample in samples])
        targets = [make_target(sample, size, self.config.loss.ignore_void) for sample in samples]
        features = self.network.factored([sample.image for sample in samples])
        stages = self.network.decoder(features, all_stages=True)
        forced = self._forced(features, stages[0], targets) if self.config.loss.forced_weight else None
        semantic = self.head(features) if self.head is not None else None
        return self.criterion(stages, targets, step_counts, forced, semantic)

    def _forced(self, features: Factored, proposals: StageOutputs, targets: list[Target]) -> Forced:
        """Run the stages again with the targets' masks in place of the proposal stage's."""
        matches = self.criterion.first_matches(proposals, targets)
        given = masks_given(proposals.mask_logits, targets, matches).to(proposals.mask_logits)
        return Forced(self.network.decoder(features, all_stages=True, pool_under=given)[1:], matches)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the total loss.

        The sampled points come from a seed of the batch, so that a resumed run draws the same points.

        Raises:
            NonFiniteError: the loss is NaN or infinite; names the iteration and the learning rate.
        """
        torch.manual_seed(seed_for(self.config.run.seed, batch_idx, self.global_rank))
        self.samples = batch.samples
        try:
            terms = self.losses(*batch)
        except NonFiniteError as error:
            raise NonFiniteError(f"{error} {self._circumstances()}") from error
        total = torch.stack(list(terms.values())).sum()
        self._note(terms)
        return total

    def _circumstances(self) -> str:
        """Return iteration, learning rate, and whether the weights were already broken, for an error message."""
        weights = all(bool(parameter.isfinite().all()) for parameter in self.parameters())
        blame = "" if weights else "; the weights are no longer finite, so the step before broke them"
        rate = self.trainer.optimizers[0].param_groups[-1]["lr"]
        return f"(Iteration {self.global_step + 1}, learning rate {rate:.2e}{blame}.)"

    def _note(self, terms: dict[str, Tensor]) -> None:
        """Log the mean of the terms over the parts of a step and over the processes, once the step is complete."""
        self._terms.append(torch.stack([value.detach() for value in terms.values()]))
        if len(self._terms) < self.config.run.accumulate:
            return
        means = mean_over_processes(torch.stack(self._terms).mean(0))
        self._terms.clear()
        self.log_dict({f"train/{name}": value for name, value in zip(terms, means, strict=True)})
        self.log("train/loss", means.sum(), prog_bar=True)

    def validation_step(self, batch: list[PanopticExample], batch_idx: int) -> None:
        """Segment validation images as `yoso predict` does, at their original size, and count matches."""
        predict = with_segments(self.predictor())
        for example in batch:
            # In full precision, whatever the training's is, so that the figure equals that of `yoso eval`.
            with torch.autocast(self.device.type, enabled=False):
                prediction = score_image(example, predict, [self._matches])
            # Images are dealt out to the processes in turn, one per batch.
            self._places.append(batch_idx * num_processes() + self.global_rank)
            if len(self.segmented) < self.config.run.samples:
                self.segmented.append((example, prediction))

    def predictor(self) -> Predictor:
        """Return the network as it is now, ready to segment images."""
        model = Model(self.network, self.categories, self.config.inference)
        return Predictor(TorchEngine(model, self.device, fused=False), self.categories, self.config.inference)

    def quality(self) -> tuple[PanopticQualityResult, int]:
        """Return panoptic quality and the number of images since the last call, over all processes.

        Images are added in the order of the data set, so that the figures are the same to the last bit for any number
        of processes, and equal those of `yoso eval`.
        """
        fields = tuple(vars(MatchCounts.zeros(0)))
        width = 1 + len(fields) * len(self.categories)
        counted = zip(self._places, self._matches.per_image, strict=True)
        rows = [np.concatenate([[place], *(getattr(each, name) for name in fields)]) for place, each in counted]
        self._places.clear()
        self._matches.per_image.clear()
        table = gathered(torch.from_numpy(np.array(rows, np.float64).reshape(-1, width)), self.device).numpy()
        total = MatchCounts.zeros(len(self.categories))
        for row in table[np.argsort(table[:, 0], kind="stable")]:
            iou_sum, *numbers = np.split(row[1:], len(fields))
            total = total + MatchCounts(iou_sum, *(number.astype(np.int64) for number in numbers))
        return panoptic_quality(total, self.categories), len(table)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the classes, which a resumed run compares with those of its data set."""
        checkpoint[CATEGORIES] = self.categories.to_json()

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule, stepped every iteration."""
        optimizer = build_optimizer(self.network, self.config.optimizer, self.head)
        factor = lr_factor(self.config.schedule, self.config.run.iterations)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
