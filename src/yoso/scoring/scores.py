"""What `yoso eval` counts per task: panoptic quality, mask AP, mean IoU; each takes one image after the other."""

import heapq
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from yoso.apps.pictures import coco_segments, drawable, drawn, write_picture
from yoso.categories import Categories

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from yoso.data.coco_panoptic import PanopticExample
    from yoso.data.dataset import PanopticDataset
    from yoso.evaluation.instances import ImageInstances, MaskAP

NUM_WORST = 16


@dataclass(frozen=True)
class Prediction:
    """What a model says about one photograph, as far as the tasks need it.

    Attributes:
        seconds: resizing, network and panoptic merge, if there was one; without reading.
        id_map: int32 array (H, W) of segment ids, 0 is void; None without the panoptic task.
        infos: `id`, `label_id` and `score` per segment.
        logits: what `Predictor.outputs` returns; None if only the panoptic task is wanted, which does without.
    """

    seconds: float
    id_map: Any = None
    infos: Sequence[Mapping[str, Any]] = ()
    logits: Any = None


class Score(Protocol):
    """One task's score of a split."""

    def add(self, example: "PanopticExample", prediction: Prediction) -> None:
        """Add one image."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures for `metrics.json`."""

    def tables(self) -> "list[Table]":
        """Return the figures for people."""

    def write(self) -> list[tuple[str, Path]]:
        """Write what the task leaves behind; return what it is and where."""


class PanopticScore:
    """Panoptic quality, with confusion and sizes; keeps predictions, draws the worst."""

    def __init__(self, dataset: "PanopticDataset", model: Categories, output: Path) -> None:
        """Start from no image.

        Args:
            dataset: the split.
            model: the model's classes.
            output: the folder to write to.
        """
        from yoso.data.coco_panoptic import PanopticWriter
        from yoso.evaluation.breakdown import Breakdown
        from yoso.evaluation.matching import MatchCounts

        self.dataset, self.model, self.output = dataset, model, output
        self.writer = PanopticWriter(output / "panoptic.json", output / "panoptic", model)
        self.counts = MatchCounts.zeros(len(dataset.categories))
        self.breakdown = Breakdown.zeros(len(dataset.categories))
        self.image_pq: list[float] = []

    def add(self, example: "PanopticExample", prediction: Prediction) -> None:
        """Match the segments of one image, and keep the prediction.

        Raises:
            YosoError: the truth contradicts itself, or the prediction cannot be written.
        """
        from yoso.evaluation.breakdown import break_down
        from yoso.evaluation.matching import match_segments
        from yoso.evaluation.quality import image_quality

        categories, name = self.dataset.categories, example.record.file_name
        segments = coco_segments(prediction.infos, self.model)
        matching = match_segments(example.id_map, example.segments, prediction.id_map, segments, categories, name)
        counts = matching.counts(len(categories))
        self.writer.add(example.record, prediction.id_map, segments)
        self.counts = self.counts + counts
        self.breakdown = self.breakdown + break_down(matching, categories)
        self.image_pq.append(image_quality(counts).pq)

    def as_json(self) -> dict[str, Any]:
        """Return PQ, `by_size` and `confusion`."""
        from yoso.evaluation.details_report import breakdown_as_json
        from yoso.evaluation.quality import panoptic_quality
        from yoso.evaluation.report import as_json

        categories = self.dataset.categories
        result = as_json(panoptic_quality(self.counts, categories), categories)
        return {**result, **breakdown_as_json(self.breakdown, categories)}

    def tables(self) -> "list[Table]":
        """Return the tables of PQ, of sizes and of confusions."""
        from yoso.evaluation.details_report import confusion_table, size_table
        from yoso.evaluation.quality import panoptic_quality
        from yoso.evaluation.report import as_table

        categories = self.dataset.categories
        return [
            as_table(panoptic_quality(self.counts, categories), categories),
            size_table(self.breakdown, categories),
            confusion_table(self.breakdown.confusion, categories),
        ]

    def write(self) -> list[tuple[str, Path]]:
        """Write `panoptic.json`, `confusion.png` and, unless there is nothing to show, `worst.png`."""
        from yoso.drawing.confusion import draw_confusion
        from yoso.drawing.rendering import contact_sheet

        self.writer.close()
        write_picture(
            self.output / "confusion.png", draw_confusion(self.breakdown.confusion, self.dataset.categories.names)
        )
        ranked = [(pq, index) for index, pq in enumerate(self.image_pq) if not math.isnan(pq)]
        tiles: list[tuple[np.ndarray, str]] = []
        for pq, index in heapq.nsmallest(NUM_WORST, ranked):
            tiles += self._comparison(index, pq)
        if tiles:
            write_picture(self.output / "worst.png", contact_sheet(tiles, columns=6, tile_side=320))
        worst = [("worst images", self.output / "worst.png")] if tiles else []
        return [
            ("predictions", self.writer.annotations),
            ("confusion", self.output / "confusion.png"),
            *worst,
        ]

    def _comparison(self, index: int, pq: float) -> "list[tuple[np.ndarray, str]]":
        """Return photograph, truth and prediction of an image."""
        from yoso.files import read_id_map

        example = self.dataset.example(index)
        entry = self.writer.entries[index]
        predicted = read_id_map(self.writer.masks / entry["file_name"])
        categories = self.dataset.categories
        truth = {"segmentation": example.id_map, "segments_info": drawable(example.segments, categories)}
        guess = {"segmentation": predicted, "segments_info": drawable(entry["segments_info"], self.model)}
        return [
            (example.image, example.record.file_name),
            (drawn(example.image, truth, categories), "truth"),
            (drawn(example.image, guess, self.model), f"prediction, PQ {100 * pq:.1f}"),
        ]


class InstanceScore:
    """Mask AP of the things; keeps run lengths of the masks, and writes them in COCO's format of results."""

    def __init__(self, dataset: "PanopticDataset", model: Categories, output: Path) -> None:
        """Start from no image; arguments as in `PanopticScore`.

        Raises:
            ConfigError: faster-coco-eval is not installed.
        """
        from yoso.evaluation.instances import coco_library

        coco_library()
        self.categories, self.model, self.output = dataset.categories, model, output
        self.to_data = class_table(model, dataset.categories)
        self.images: list[ImageInstances] = []

    def add(self, example: "PanopticExample", prediction: Prediction) -> None:
        """Encode the instances of one image."""
        from yoso.evaluation.instances import Found, ImageInstances, run_lengths, true_instances
        from yoso.postprocess import instance_masks

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
        from yoso.evaluation.details_report import instances_as_json

        return {"instance": instances_as_json(self._result, self.categories)}

    def tables(self) -> "list[Table]":
        """Return the table of mask AP."""
        from yoso.evaluation.details_report import instance_table

        return [instance_table(self._result, self.categories)]

    def write(self) -> list[tuple[str, Path]]:
        """Write `instances.json`, the detections."""
        from yoso.files import write_json

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
    def _result(self) -> "MaskAP":
        from yoso.evaluation.instances import mask_ap

        return mask_ap(self.images, self.categories)


class SemanticScore:
    """Mean IoU and its relatives."""

    def __init__(self, dataset: "PanopticDataset", model: Categories, output: Path) -> None:
        """Start from no image; arguments as in `PanopticScore`, of which `output` is not used."""
        from yoso.evaluation.semantic import SemanticCounts

        self.categories = dataset.categories
        self.to_data = class_table(model, dataset.categories)
        self.counts = SemanticCounts.zeros(len(dataset.categories))

    def add(self, example: "PanopticExample", prediction: Prediction) -> None:
        """Count the pixels of one image."""
        from yoso.evaluation.semantic import class_map, count_pixels
        from yoso.postprocess import semantic_classes

        predicted = self.to_data[semantic_classes(*prediction.logits).cpu().numpy()]
        truth = class_map(example.id_map, example.segments, self.categories)
        self.counts = self.counts + count_pixels(truth, predicted, len(self.categories), example.record.file_name)

    def as_json(self) -> dict[str, Any]:
        """Return `semantic`: the figures."""
        from yoso.evaluation.details_report import semantic_as_json
        from yoso.evaluation.semantic import semantic_quality

        return {"semantic": semantic_as_json(semantic_quality(self.counts), self.categories)}

    def tables(self) -> "list[Table]":
        """Return the table of IoU."""
        from yoso.evaluation.details_report import semantic_table
        from yoso.evaluation.semantic import semantic_quality

        return [semantic_table(semantic_quality(self.counts), self.categories)]

    def write(self) -> list[tuple[str, Path]]:
        """Write nothing."""
        return []


TASKS = {"panoptic": PanopticScore, "instance": InstanceScore, "semantic": SemanticScore}


def class_table(model: Categories, data: Categories) -> "np.ndarray":
    """Return the data set's class index of each of the model's, (K,) int32.

    Raises:
        DatasetError: the data set lacks one.
    """
    import numpy as np

    return np.array([data.index_of(category.id) for category in model], np.int32)
