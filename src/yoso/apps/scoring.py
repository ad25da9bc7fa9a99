"""Shared by `yoso eval`, its `--tune` and `yoso export`: thresholds, check of classes, conditions of a score."""

import argparse
from typing import TYPE_CHECKING, Any

from yoso.categories import Categories, check_same_classes
from yoso.installation import versions
from yoso.settings import Thresholds

if TYPE_CHECKING:
    from yoso.inference.predictor import Predictor

METRICS, TUNING = "metrics.json", "tuning.json"

COMMAND = "yoso eval"
"""Value of `command` in these two files, by which `yoso eval` knows its own output."""


def thresholds_of(args: argparse.Namespace, predictor: "Predictor") -> Thresholds:
    """Return the two thresholds: those of the options, or else the model's."""
    own, object_mask, overlap = predictor.inference.thresholds, args.object_mask_threshold, args.overlap_threshold
    return Thresholds(
        own.object_mask if object_mask is None else object_mask, own.overlap if overlap is None else overlap
    )


def check_classes(model: Categories, data: Categories, model_name: str, data_name: str) -> None:
    """Check that a data set has every class of a model, under the same id.

    Raises:
        ConfigError: it has not; names the first class that differs.
    """
    check_same_classes(model, data, f"model {model_name}", f"data set {data_name}", b_may_have_more=True)


def conditions(args: argparse.Namespace, predictor: "Predictor", num_images: int) -> dict[str, Any]:
    """Return what a score depends on: model, data, settings, runtime and versions."""
    thresholds = thresholds_of(args, predictor)
    return {
        "command": COMMAND,
        "model": str(args.model),
        "data": str(args.data),
        "split": args.split,
        "images": num_images,
        "input_size": predictor.inference.input_size if args.input_size is None else args.input_size,
        "object_mask_threshold": thresholds.object_mask,
        "overlap_threshold": thresholds.overlap,
        "tiles": getattr(args, "tiles", None),
        "runtime": predictor.runtime,
        "device": str(predictor.device),
        "versions": versions(("yoso", "onnxruntime", "torch", "torchvision", "timm")),
    }
