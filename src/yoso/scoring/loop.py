"""The one loop of every evaluation: predict each image of a split, and let every score count it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from yoso.data.coco_panoptic import PanopticExample
    from yoso.data.dataset import PanopticDataset


TASK_NAMES = ("panoptic", "instance", "semantic")
"""What can be scored; see `yoso.scoring.tasks`, which is slow to import."""


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image, as far as the scores need it.

    Attributes:
        seconds: resizing, network and panoptic merge, if there was one; without reading the file.
        id_map: int32 array (H, W) of segment ids, 0 is void; None if no score needs segments.
        segments: `id`, `category_id` (of the model's categories) and `score` per segment.
        logits: what `Predictor.outputs` returns; None if no score needs them.
    """

    seconds: float
    id_map: Any = None
    segments: Sequence[dict[str, Any]] = ()
    logits: Any = None


Predict = Callable[[np.ndarray], Prediction]
"""Takes a uint8 RGB image (H, W, 3)."""

Watch = Callable[[Sequence[int]], Iterable[int]]
"""Wraps the indices of the images, as a progress bar does."""


@runtime_checkable
class Score(Protocol):
    """Counts images one after the other."""

    def add(self, example: "PanopticExample", prediction: Prediction) -> None:
        """Count one image."""


def score_image(example: "PanopticExample", predict: Predict, scores: Iterable[Score]) -> Prediction:
    """Predict one image and let every score count it.

    Raises:
        YosoError: the prediction fails, or the ground truth contradicts itself.
    """
    prediction = predict(example.image)
    for score in scores:
        score.add(example, prediction)
    return prediction


def score_split(
    dataset: "PanopticDataset",
    predict: Predict,
    scores: Sequence[Score],
    *,
    limit: int | None = None,
    watch: Watch = iter,
) -> list[float]:
    """Predict the images of a split and let every score count them.

    Args:
        dataset: the split.
        predict: the model.
        scores: what to count.
        limit: count the first so many images only; None is all.
        watch: wraps the indices of the images.

    Returns:
        Seconds per image, as in `Prediction`.

    Raises:
        YosoError: an image cannot be read; see also `score_image`.
    """
    indices = range(min(len(dataset), limit or len(dataset)))
    return [score_image(dataset.example(index), predict, scores).seconds for index in watch(indices)]
