"""What can be scored on a split: panoptic quality, mask AP and mean IoU. A task counts one image after the other."""

import heapq
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from yoso.categories import Categories
from yoso.data.coco_panoptic import PanopticExample
from yoso.data.dataset import PanopticDataset
from yoso.data.prediction_folder import PredictionWriter
from yoso.drawing.pictures import Segmentation, comparison, comparison_sheet, write_picture
from yoso.evaluation.breakdown import Breakdown, break_down
from yoso.evaluation.instances import (
    ImageInstances,
    Instance,
    MaskAP,
    coco_library,
    mask_ap,
    run_lengths,
    true_instances,
)
from yoso.evaluation.matching import MatchCounts, Matching, match_segments
from yoso.evaluation.quality import PanopticQualityResult, image_quality, panoptic_quality
from yoso.evaluation.report import as_json, breakdown_as_json, instances_as_json, semantic_as_json
from yoso.evaluation.semantic import SemanticCounts, SemanticQuality, class_map, count_pixels, semantic_quality
from yoso.files import read_id_map, write_json
from yoso.scoring.confusion import confusion_picture
from yoso.scoring.loop import TASK_NAMES, Metric, Prediction
from yoso.values import ImageId

NUM_WORST = 16
"""Images on the sheet of those with the lowest PQ."""


@runtime_checkable
class Task(Metric, Protocol):
    """A metric with a report."""

    def as_json(self) -> dict[str, Any]:
        """Return the scores for `metrics.json`."""

    def write(self) -> list[tuple[str, Path]]:
        """Write the task's files; return what each is and where."""


class MatchedSegments:
    """The matches of each image, and the panoptic quality of all."""

    def __init__(self, categories: Categories) -> None:
        """Start without an image; `categories` are the data set's."""
        self.categories = categories
        self.per_image: list[MatchCounts] = []

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Match the segments of one image; see `Metric`."""
        self.per_image.append(matched(example, prediction, self.categories).counts(len(self.categories)))

    @property
    def result(self) -> PanopticQualityResult:
        """Panoptic quality over all images."""
        return panoptic_quality(sum(self.per_image, MatchCounts.zeros(len(self.categories))), self.categories)


def matched(example: PanopticExample, prediction: Prediction, categories: Categories) -> Matching:
    """Match the predicted segments of an image with its ground truth.

    Args:
        example: the image.
        prediction: with segments.
        categories: the data set's.

    Raises:
        DatasetError: the ground truth contradicts itself.
    """
    name = example.record.file_name
    truth, segments = example.segments, list(prediction.segments)
    return match_segments(example.id_map, truth, prediction.id_map, segments, categories, name)


class PanopticTask:
    """Panoptic quality, with confusion and sizes; saves the predictions, and draws those with the lowest PQ."""

    def __init__(self, dataset: PanopticDataset, model: Categories, output: Path) -> None:
        """Start without an image.

        Args:
            dataset: the split.
            model: the model's classes.
            output: the folder to write to.
        """
        self.dataset, self.model, self.output = dataset, model, output
        self.writer = PredictionWriter(output, model, {"command": "yoso eval"})
        self.counts = MatchCounts.zeros(len(dataset.categories))
        self.breakdown = Breakdown.zeros(len(dataset.categories))
        self.image_pq: list[float] = []

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Match the segments of one image, and save the prediction.

        Raises:
            YosoError: the ground truth contradicts itself, or the prediction cannot be written.
        """
        categories = self.dataset.categories
        matching = matched(example, prediction, categories)
        counts = matching.counts(len(categories))
        self.writer.add(example.record, prediction.id_map, list(prediction.segments))
        self.counts = self.counts + counts
        self.breakdown = self.breakdown + break_down(matching, categories)
        self.image_pq.append(image_quality(counts).pq)

    @property
    def result(self) -> PanopticQualityResult:
        """Panoptic quality over all images."""
        return panoptic_quality(self.counts, self.dataset.categories)

    def as_json(self) -> dict[str, Any]:
        """Return PQ, `by_size` and `confusion`."""
        categories = self.dataset.categories
        return {**as_json(self.result, categories), **breakdown_as_json(self.breakdown, categories)}

    def write(self) -> list[tuple[str, Path]]:
        """Write `panoptic.json`, `confusion.png` and, if any image has a PQ, `worst.png`."""
        self.writer.close()
        write_picture(
            self.output / "confusion.png", confusion_picture(self.breakdown.confusion, self.dataset.categories.names)
        )
        ranked = [(pq, index) for index, pq in enumerate(self.image_pq) if not math.isnan(pq)]
        tiles: list[tuple[np.ndarray, str]] = []
        for pq, index in heapq.nsmallest(NUM_WORST, ranked):
            tiles += self._comparison(index, pq)
        if tiles:
            write_picture(self.output / "worst.png", comparison_sheet(tiles, per_row=2))
        worst = [("worst images", self.output / "worst.png")] if tiles else []
        return [
            ("predictions", self.writer.annotations),
            ("confusion", self.output / "confusion.png"),
            *worst,
        ]

    def _comparison(self, index: int, pq: float) -> list[tuple[np.ndarray, str]]:
        """Return tiles of an image, its ground truth and its prediction."""
        example = self.dataset.example(index)
        entry = self.writer.entry(index)
        predicted = read_id_map(self.writer.masks / entry["file_name"])
        truth = Segmentation(example.id_map, example.segments, self.dataset.categories)
        guess = Segmentation(predicted, entry["segments_info"], self.model)
        named = example.image, example.record.file_name
        return comparison(named, truth, guess, f"prediction, PQ {100 * pq:.1f}")


class InstanceTask:
    """Mask AP of the things; saves the detections in COCO's results format."""

    def __init__(self, dataset: PanopticDataset, model: Categories, output: Path) -> None:
        """Start without an image; arguments as in `PanopticTask`.

        Raises:
            ConfigError: faster-coco-eval is not installed.
        """
        coco_library()
        self.categories, self.model, self.output = dataset.categories, model, output
        self.to_data = class_table(model, dataset.categories)
        self.image_ids: list[ImageId] = []
        self.images: list[ImageInstances] = []

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Encode the instances of one image."""
        from yoso.postprocess import instance_masks  # here, because the other tasks need no torch

        detected = []
        class_logits, mask_logits, sizes = prediction.logits
        for found in instance_masks(class_logits, mask_logits, sizes, self.model.is_thing):
            counts = run_lengths(found.mask)
            for class_index, score in zip(found.class_indices, found.scores, strict=True):
                detected.append(Instance(int(self.to_data[class_index]), counts, found.area, score))
        size = (example.id_map.shape[0], example.id_map.shape[1])
        truth = true_instances(example.id_map, example.segments, self.categories)
        self.image_ids.append(example.record.image_id)
        self.images.append(ImageInstances(json.dumps(example.record.image_id), size, truth, detected))

    def as_json(self) -> dict[str, Any]:
        """Return `instance`: the scores."""
        return {"instance": instances_as_json(self.result, self.categories)}

    def write(self) -> list[tuple[str, Path]]:
        """Write `instances.json`, the detections."""
        results = [
            {
                "image_id": image_id,
                "category_id": self.categories[instance.class_index].id,
                "segmentation": {"size": list(image.size), "counts": instance.counts},
                "score": instance.score,
            }
            for image_id, image in zip(self.image_ids, self.images, strict=True)
            for instance in image.detected
        ]
        write_json(self.output / "instances.json", results)
        return [("instances", self.output / "instances.json")]

    @cached_property
    def result(self) -> MaskAP:
        """Mask AP over all images."""
        return mask_ap(self.images, self.categories)


class SemanticTask:
    """Mean IoU, frequency-weighted IoU and pixel accuracy."""

    def __init__(self, dataset: PanopticDataset, model: Categories, output: Path) -> None:
        """Start without an image; arguments as in `PanopticTask`, of which `output` is not used."""
        self.categories = dataset.categories
        self.to_data = class_table(model, dataset.categories)
        self.counts = SemanticCounts.zeros(len(dataset.categories))

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Count the pixels of one image."""
        from yoso.postprocess import semantic_classes  # here, because the other tasks need no torch

        predicted = self.to_data[semantic_classes(*prediction.logits).cpu().numpy()]
        truth = class_map(example.id_map, example.segments, self.categories)
        self.counts = self.counts + count_pixels(truth, predicted, len(self.categories), example.record.file_name)

    @property
    def result(self) -> SemanticQuality:
        """Mean IoU over all images."""
        return semantic_quality(self.counts)

    def as_json(self) -> dict[str, Any]:
        """Return `semantic`: the scores."""
        return {"semantic": semantic_as_json(self.result, self.categories)}

    def write(self) -> list[tuple[str, Path]]:
        """Write nothing."""
        return []


TASKS = dict(zip(TASK_NAMES, (PanopticTask, InstanceTask, SemanticTask), strict=True))


def class_table(model: Categories, data: Categories) -> np.ndarray:
    """Return the data set's class index of each class of the model, (K,) int32.

    Raises:
        DatasetError: a class of the model is not in the data set.
    """
    return np.array([data.index_of(category.id) for category in model], np.int32)
