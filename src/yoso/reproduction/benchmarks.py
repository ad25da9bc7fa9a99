"""Tables 1 to 4 and the supplement: speed, panoptic quality and mask AP of YOSO-R50 on the four benchmarks."""

import hashlib
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoso.categories import check_same_classes
from yoso.class_tables import benchmark_categories
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import load_spec
from yoso.errors import ConfigError
from yoso.evaluation.matching import MatchCounts
from yoso.evaluation.quality import panoptic_quality
from yoso.evaluation.report import as_json as quality_as_json
from yoso.files import file_sha256, read_json, write_json
from yoso.inference.loading import load
from yoso.inference.predictor import Predictor
from yoso.installation import installed_version
from yoso.preprocess import Size
from yoso.reproduction.modules import device_of, warmup
from yoso.reproduction.plan import ReproductionPlan, public
from yoso.scoring.loop import score_image, score_split
from yoso.scoring.predicting import with_logits, with_segments
from yoso.scoring.tasks import InstanceTask, MatchedSegments
from yoso.speed.entry import TimingSettings
from yoso.speed.results import Measurement, as_json
from yoso.speed.session import SessionPlan, measure
from yoso.speed.specs import entry_specs
from yoso.weights.find import find_model
from yoso.weights.layout import WEIGHTS
from yoso.weights.published import PUBLISHED, is_cached

REPEATS = 5
CHUNK = 20
"""Images between two saves of an unfinished score."""

NETWORK_STAGES = ("backbone", "aggregator", "decoder", "network")


@dataclass(frozen=True)
class BenchmarkTable:
    """A benchmark and its table.

    Attributes:
        benchmark: name of the data set and of its classes.
        model: name of the official weights.
        timed_sizes: (height, width) of the images that are timed: those that the scales of the paper make of a
            typical image. ADE20K's and Mapillary's are 4:3.
    """

    benchmark: str
    model: str
    timed_sizes: tuple[Size, ...]

    @property
    def scales(self) -> list[Size]:
        """(shorter, longest) side of every row of YOSO in the paper."""
        return [score.input_size for score in PUBLISHED[self.model].scores]


TABLES = {
    "table1": BenchmarkTable("coco", "coco-r50", ((800, 1333), (512, 800))),
    "table2": BenchmarkTable("cityscapes", "cityscapes-r50", ((1024, 2048), (512, 1024))),
    "table3": BenchmarkTable("ade20k", "ade20k-r50", ((640, 853),)),
    "table4": BenchmarkTable("mapillary", "mapillary-r50", ((1536, 2048),)),
}


def scale_name(size: Size) -> str:
    """Return a scale as the names of parts have it, such as 800x1333."""
    return f"{size[0]}x{size[1]}"


def speed_rows(table: str, plan: ReproductionPlan) -> dict[str, Any]:
    """Time YOSO-R50 with random weights: network alone, and from the decoded image to the segments.

    The network runs as `yoso.load` returns it, by the protocol of `yoso benchmark`. The time of the network alone is
    the sum of its stages, which are timed in separate runs.
    """
    which = TABLES[table]
    settings = TimingSettings(str(device_of(plan)), threads=torch.get_num_threads())
    repeats = plan.repeats or REPEATS
    recipe = which.model.replace("-", "_")
    rows = []
    for size in which.timed_sizes:  # one session each, so that an entry's memory is free before the next
        specs = entry_specs([recipe], ["torch"], [], [size], settings)
        (entry,) = measure(specs, SessionPlan(repeats, warmup(repeats), memory=False)).entries
        rows.append(_speed_row(entry))
    return {"entry": f"{recipe} torch", "rows": rows}


def _speed_row(entry: Measurement) -> dict[str, Any]:
    if entry.end_to_end is None:
        raise ConfigError(f"{entry.name} at {scale_name(entry.size)} failed: {entry.error}; use another device")
    network = sum(seconds for stage, seconds in entry.stages.items() if stage in NETWORK_STAGES)
    return {
        "size": list(entry.size),
        "end_to_end": as_json(entry.end_to_end),
        "network_seconds": network,
        "stages": entry.stages,
        "samples": entry.samples,
    }


def panoptic_scores(table: str, size: Size, plan: ReproductionPlan) -> dict[str, Any]:
    """Score weights on the validation images of a benchmark; an interrupted score continues where it was.

    Args:
        table: "table1" to "table4".
        size: (shorter, longest) side that images are resized to.
        plan: weights, data set, device, and the folder of unfinished scores.

    Raises:
        ConfigError: the weights or the data set are not those of the benchmark.
        YosoError: see `yoso.load` and `load_spec`.
    """
    which = TABLES[table]
    dataset, predictor = _dataset(which, plan), _predictor(which, plan)
    predict = with_segments(predictor, input_size=size)
    progress = plan.runs / f"{table}-{scale_name(size)}.json"
    key = _progress_key(which, size, plan, dataset)
    counts, seconds = _resumed(progress, key, len(dataset.categories))
    while len(seconds) < len(dataset):
        metric = MatchedSegments(dataset.categories)
        for index in range(len(seconds), min(len(seconds) + CHUNK, len(dataset))):
            seconds.append(score_image(dataset.example(index), predict, [metric]).seconds)
        counts = sum(metric.per_image, counts)
        plain = {name: value.tolist() for name, value in vars(counts).items()}
        write_json(progress, {"key": key, "seconds": seconds, "counts": plain})
    quality = quality_as_json(panoptic_quality(counts, dataset.categories), dataset.categories)
    return {
        "data": public(plan.data or which.benchmark),
        "model": public(plan.model or which.model),
        "images": len(dataset),
        "input_size": list(size),
        "median_seconds": statistics.median(seconds),
        **quality,
    }


def mask_ap_scores(model: str, data: str, plan: ReproductionPlan, benchmark: str | None = None) -> dict[str, Any]:
    """Score the instances of a panoptic network by mask AP, as `yoso eval --tasks instance` does.

    Args:
        model: weights, unless the plan names others.
        data: data set, unless the plan names another.
        plan: weights, data set and device.
        benchmark: whose classes both must have; None for any data set.
    """
    model, data = plan.model or model, plan.data or data
    dataset = PanopticDataset(load_spec(data).split("val"))
    predictor = load(model, device_of(plan), "torch")
    if benchmark is not None:
        _check_benchmark(benchmark, dataset, data)
    check_same_classes(
        predictor.categories, dataset.categories, f"model {model}", f"data set {data}", b_may_have_more=True
    )
    task = InstanceTask(dataset, predictor.categories, Path())
    seconds = score_split(dataset, with_logits(predictor), [task])
    return {
        "data": public(data),
        "model": public(model),
        "images": len(seconds),
        "input_size": predictor.inference.input_size,
        "median_seconds": statistics.median(seconds),
        **task.as_json(),
    }


def missing_weights(which: BenchmarkTable, plan: ReproductionPlan) -> list[str]:
    """Return what is missing to run the weights of a benchmark: nothing, or the weights. Nothing is fetched."""
    return [] if plan.model is not None or is_cached(which.model) else [f"the weights {which.model}"]


def missing_validation(name: str) -> list[str]:
    """Return what is missing of a data set with validation images: nothing, or the data set."""
    try:
        return [] if "val" in load_spec(name).splits else [f"validation images of {name}"]
    except ConfigError:
        return [f"the data set {name}"]


def _dataset(which: BenchmarkTable, plan: ReproductionPlan) -> PanopticDataset:
    data = plan.data or which.benchmark
    dataset = PanopticDataset(load_spec(data).split("val"))
    _check_benchmark(which.benchmark, dataset, data)
    return dataset


def _check_benchmark(benchmark: str, dataset: PanopticDataset, data: str) -> None:
    expected = benchmark_categories(benchmark)
    check_same_classes(expected, dataset.categories, f"benchmark {benchmark}", f"data set {data}")


def _predictor(which: BenchmarkTable, plan: ReproductionPlan) -> Predictor:
    model = plan.model or which.model
    predictor = load(model, device_of(plan), "torch")
    expected = benchmark_categories(which.benchmark)
    check_same_classes(predictor.categories, expected, f"model {model}", f"benchmark {which.benchmark}")
    return predictor


def _progress_key(which: BenchmarkTable, size: Size, plan: ReproductionPlan, dataset: PanopticDataset) -> str:
    """Return a hash of what an unfinished score depends on."""
    weights = file_sha256(find_model(plan.model or which.model) / WEIGHTS)
    parts = [weights, file_sha256(dataset.split.annotations), list(size), installed_version(), torch.__version__]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _resumed(progress: Path, key: str, num_classes: int) -> tuple[MatchCounts, list[float]]:
    """Return the counts and seconds of an unfinished score of the same key; otherwise those of no image."""
    content = read_json(progress) if progress.is_file() else {}
    if not isinstance(content, dict) or content.get("key") != key:
        return MatchCounts.zeros(num_classes), []
    counts = content["counts"]
    arrays = {name: np.array(counts[name], np.float64 if name == "iou_sum" else np.int64) for name in counts}
    return MatchCounts(**arrays), content["seconds"]
