"""The loop of every evaluation: predict each image of a split, and let every metric count it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from yoso.data.coco_panoptic import PanopticExample
    from yoso.data.dataset import PanopticDataset


TASK_NAMES = ("panoptic", "instance", "semantic")
"""What can be scored; in its own place because `yoso.scoring.tasks` is slow to import."""


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image, as far as the metrics need it.

    Attributes:
        seconds: for resizing, network and panoptic merge, if there was one; without reading the file.
        id_map: int32 array (H, W) of segment ids, 0 is void; None if no metric needs segments.
        segments: `id`, `category_id` (of the model's categories) and `score` per segment.
        logits: what `Predictor.outputs` returns; None if no metric needs them.
    """

    seconds: float
    id_map: Any = None
    segments: Sequence[dict[str, Any]] = ()
    logits: Any = None


Predict = Callable[[np.ndarray], Prediction]
"""Predicts a uint8 RGB image (H, W, 3)."""

Watch = Callable[[Sequence[int]], Iterable[int]]
"""Wraps the indices of the images, as a progress bar does."""


@runtime_checkable
class Metric(Protocol):
    """Counts images one after the other."""

    def add(self, example: "PanopticExample", prediction: Prediction) -> None:
        """Count one image."""


def score_image(example: "PanopticExample", predict: Predict, metrics: Iterable[Metric]) -> Prediction:
    """Predict one image and let every metric count it.

    Raises:
        YosoError: the prediction fails, or the ground truth contradicts itself.
    """
    prediction = predict(example.image)
    for metric in metrics:
        metric.add(example, prediction)
    return prediction


def score_split(
    dataset: "PanopticDataset",
    predict: Predict,
    metrics: Sequence[Metric],
    *,
    limit: int | None = None,
    watch: Watch = iter,
) -> list[float]:
    """Predict the images of a split and let every metric count them.

    Args:
        dataset: the split.
        predict: the model.
        metrics: what to count.
        limit: take only so many images, from the first on; None takes all.
        watch: wraps the indices of the images.

    Returns:
        Seconds per image, as in `Prediction`.

    Raises:
        YosoError: an image cannot be read; see also `score_image`.
    """
    indices = range(len(dataset))[:limit]
    return [score_image(dataset.example(index), predict, metrics).seconds for index in watch(indices)]
