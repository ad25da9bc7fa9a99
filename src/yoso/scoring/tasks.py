"""What can be scored of a split: panoptic quality, mask AP, mean IoU. Each task counts one image after the other."""

import heapq
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from yoso.categories import Categories
from yoso.data.coco_panoptic import PanopticExample, PanopticWriter
from yoso.data.dataset import PanopticDataset
from yoso.drawing.pictures import Segmentation, comparison, comparison_sheet, write_picture
from yoso.evaluation.breakdown import Breakdown, break_down
from yoso.evaluation.instances import (
    Found,
    ImageInstances,
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
from yoso.scoring.loop import TASK_NAMES, Prediction, Score

NUM_WORST = 16
"""Images on the sheet of the worst."""


@runtime_checkable
class Task(Score, Protocol):
    """One task's score of a split."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures for `metrics.json`."""

    def write(self) -> list[tuple[str, Path]]:
        """Write what the task leaves behind; return what it is and where."""


class MatchedSegments:
    """Matches of segments per image: all that panoptic quality needs."""

    def __init__(self, categories: Categories) -> None:
        """Start from no image; `categories` are the data set's."""
        self.categories = categories
        self.per_image: list[MatchCounts] = []

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Match the segments of one image; see `Score`."""
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


class PanopticScore:
    """Panoptic quality, with confusion and sizes; keeps predictions, draws the worst."""

    def __init__(self, dataset: PanopticDataset, model: Categories, output: Path) -> None:
        """Start from no image.

        Args:
            dataset: the split.
            model: the model's classes.
            output: the folder to write to.
        """
        self.dataset, self.model, self.output = dataset, model, output
        self.writer = PanopticWriter(output / "panoptic.json", output / "panoptic", model)
        self.counts = MatchCounts.zeros(len(dataset.categories))
        self.breakdown = Breakdown.zeros(len(dataset.categories))
        self.image_pq: list[float] = []

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Match the segments of one image, and keep the prediction.

        Raises:
            YosoError: the truth contradicts itself, or the prediction cannot be written.
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
        """Write `panoptic.json`, `confusion.png` and, unless there is nothing to show, `worst.png`."""
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
        entry = self.writer.entries[index]
        predicted = read_id_map(self.writer.masks / entry["file_name"])
        truth = Segmentation(example.id_map, example.segments, self.dataset.categories)
        guess = Segmentation(predicted, entry["segments_info"], self.model)
        named = example.image, example.record.file_name
        return comparison(named, truth, guess, f"prediction, PQ {100 * pq:.1f}")


class InstanceScore:
    """Mask AP of the things; keeps run lengths of the masks, and writes them in COCO's format of results."""

    def __init__(self, dataset: PanopticDataset, model: Categories, output: Path) -> None:
        """Start from no image; arguments as in `PanopticScore`.

        Raises:
            ConfigError: faster-coco-eval is not installed.
        """
        coco_library()
        self.categories, self.model, self.output = dataset.categories, model, output
        self.to_data = class_table(model, dataset.categories)
        self.images: list[ImageInstances] = []

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Encode the instances of one image."""
        from yoso.postprocess import instance_masks  # here, because the other tasks do without torch

        detected = []
        class_logits, mask_logits, sizes = prediction.logits
        for found in instance_masks(class_logits, mask_logits, sizes, self.model.is_thing):
            counts = run_lengths(found.mask)
            for class_index, score in zip(found.class_indices, found.scores, strict=True):
                detected.append(Found(int(self.to_data[class_index]), counts, found.area, score))
        size = (example.id_map.shape[0], example.id_map.shape[1])
        truth = true_instances(example.id_map, example.segments, self.categories)
        self.images.append(ImageInstances(json.dumps(example.record.image_id), size, truth, detected))

    def as_json(self) -> dict[str, Any]:
        """Return `instance`: the figures."""
        return {"instance": instances_as_json(self.result, self.categories)}

    def write(self) -> list[tuple[str, Path]]:
        """Write `instances.json`, the detections."""
        results = [
            {
                "image_id": json.loads(image.name),
                "category_id": self.categories[instance.class_index].id,
                "segmentation": {"size": list(image.size), "counts": instance.counts},
                "score": instance.score,
            }
            for image in self.images
            for instance in image.detected
        ]
        write_json(self.output / "instances.json", results)
        return [("instances", self.output / "instances.json")]

    @cached_property
    def result(self) -> MaskAP:
        """Mask AP over all images."""
        return mask_ap(self.images, self.categories)


class SemanticScore:
    """Mean IoU and its relatives."""

    def __init__(self, dataset: PanopticDataset, model: Categories, output: Path) -> None:
        """Start from no image; arguments as in `PanopticScore`, of which `output` is not used."""
        self.categories = dataset.categories
        self.to_data = class_table(model, dataset.categories)
        self.counts = SemanticCounts.zeros(len(dataset.categories))

    def add(self, example: PanopticExample, prediction: Prediction) -> None:
        """Count the pixels of one image."""
        from yoso.postprocess import semantic_classes  # here, because the other tasks do without torch

        predicted = self.to_data[semantic_classes(*prediction.logits).cpu().numpy()]
        truth = class_map(example.id_map, example.segments, self.categories)
        self.counts = self.counts + count_pixels(truth, predicted, len(self.categories), example.record.file_name)

    @property
    def result(self) -> SemanticQuality:
        """Mean IoU over all images."""
        return semantic_quality(self.counts)

    def as_json(self) -> dict[str, Any]:
        """Return `semantic`: the figures."""
        return {"semantic": semantic_as_json(self.result, self.categories)}

    def write(self) -> list[tuple[str, Path]]:
        """Write nothing."""
        return []


TASKS = dict(zip(TASK_NAMES, (PanopticScore, InstanceScore, SemanticScore), strict=True))


def class_table(model: Categories, data: Categories) -> np.ndarray:
    """Return the data set's class index of each of the model's, (K,) int32.

    Raises:
        DatasetError: the data set lacks one.
    """
    return np.array([data.index_of(category.id) for category in model], np.int32)
