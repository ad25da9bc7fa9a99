"""What `yoso eval`, its `--tune` and `yoso export` share: thresholds, classes, and what figures depend on."""

import argparse
from typing import TYPE_CHECKING, Any

from yoso.categories import Categories
from yoso.errors import ConfigError
from yoso.installation import versions
from yoso.settings import Thresholds

if TYPE_CHECKING:
    from yoso.inference.predictor import Predictor


def thresholds_of(args: argparse.Namespace, predictor: "Predictor") -> Thresholds:
    """Return the two thresholds: those given, else the model's."""
    own, object_mask, overlap = predictor.inference.thresholds, args.object_mask_threshold, args.overlap_threshold
    return Thresholds(
        own.object_mask if object_mask is None else object_mask, own.overlap if overlap is None else overlap
    )


def check_classes(model: Categories, data: Categories, model_name: str, data_name: str) -> None:
    """Check that every class of a model is one of the data set's, under the same id.

    Raises:
        ConfigError: they are not; names the first that differs.
    """
    for category in model:
        theirs = data[data.index_of(category.id)] if data.has_id(category.id) else None
        if theirs is None or (theirs.name, theirs.is_thing) != (category.name, category.is_thing):
            there = f"{theirs.name!r} ({_kind(theirs.is_thing)})" if theirs else "no class"
            raise ConfigError(
                f"model {model_name} and data set {data_name} have different classes: id {category.id} is "
                f"{category.name!r} ({_kind(category.is_thing)}) to the model and {there} in the data; use a model "
                "trained on these classes"
            )


def _kind(is_thing: bool) -> str:
    return "thing" if is_thing else "stuff"


def circumstances(args: argparse.Namespace, predictor: "Predictor", num_images: int) -> dict[str, Any]:
    """Return what the figures depend on: model, data, settings, runtime and versions."""
    thresholds = thresholds_of(args, predictor)
    return {
        "model": str(args.model),
        "data": str(args.data),
        "split": args.split,
        "images": num_images,
        "input_size": predictor.inference.input_size if args.input_size is None else args.input_size,
        "object_mask_threshold": thresholds.object_mask,
        "overlap_threshold": thresholds.overlap,
        "runtime": predictor.runtime,
        "device": str(predictor.device),
        "versions": versions(("yoso", "onnxruntime", "torch", "torchvision", "timm")),
    }
