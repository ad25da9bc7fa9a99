"""Pairing saved predictions with the images of the ground truth, by image id or by file name.

Programs number images in their own ways, so that equal ids may stand for different images. Ids count where no file name
contradicts them; elsewhere file names do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from yoso.errors import DatasetError
from yoso.values import ImageId, image_id, mismatched_type


@dataclass(frozen=True)
class Listing:
    """The annotated images of a COCO panoptic file.

    Attributes:
        source: the file, for messages.
        names: file name by image id; None if the file does not say.
    """

    source: str
    names: Mapping[ImageId, str | None]


def file_names(images: Any) -> dict[ImageId, str]:
    """Return file names by image id from the list `images` of a COCO panoptic file, as far as it has them."""
    names = {}
    for image in images if isinstance(images, list) else ():
        if isinstance(image, dict) and isinstance(image.get("file_name"), str):
            key = image_id(image.get("id"))
            if key is not None:
                names[key] = image["file_name"]
    return names


def pair_images(gt: Listing, pred: Listing) -> dict[ImageId, ImageId]:
    """Return the predicted image of each ground-truth image that has one.

    Args:
        gt: images of the ground truth.
        pred: images of the predictions.

    Raises:
        DatasetError: there are predictions, but neither ids nor file names fit.
    """
    by_id = {key: key for key in gt.names if key in pred.names}
    contradiction = next((i for i in by_id if not _may_be_one(gt.names[i], pred.names[i])), None)
    by_name = _pairs_by_name(gt, pred)
    if contradiction is None and len(by_id) >= len(by_name) and (by_id or not pred.names):
        return by_id
    if by_name:
        return by_name
    if contradiction is None:
        first = next(iter(pred.names))
        raise DatasetError(
            f"{pred.source}: none of its {len(pred.names)} image_ids (the first is {first!r}) is in {gt.source} (the "
            f"first there is {next(iter(gt.names))!r}), and no file names fit either; use the image ids or the file "
            f"names of the ground truth{mismatched_type(first, gt.names)}"
        )
    raise DatasetError(
        f"{pred.source}: image {contradiction!r} is {pred.names[contradiction]}, but {gt.names[contradiction]} in "
        f"{gt.source}, and no file names fit; use the image ids and the file names of the ground truth, or leave out "
        "'images' to pair by id alone"
    )


def _may_be_one(one: str | None, other: str | None) -> bool:
    """Tell whether two file names, as far as they are known, can be of one image."""
    return one is None or other is None or _parts(one)[-1] == _parts(other)[-1]


def _pairs_by_name(gt: Listing, pred: Listing) -> dict[ImageId, ImageId]:
    """Pair by the last parts of the paths, as few as tell the images of each file apart; nothing if none do."""
    sides = [{i: _parts(name) for i, name in side.names.items() if name is not None} for side in (gt, pred)]
    deepest = max((len(parts) for side in sides for parts in side.values()), default=0)
    for depth in range(1, deepest + 1):
        gt_by_name, pred_by_name = ({parts[-depth:]: i for i, parts in side.items()} for side in sides)
        if len(gt_by_name) == len(sides[0]) and len(pred_by_name) == len(sides[1]):
            return {i: pred_by_name[name] for name, i in gt_by_name.items() if name in pred_by_name}
    return {}


def _parts(file_name: str) -> tuple[str, ...]:
    """Return the parts of a path, the last one without its ending."""
    path = PurePosixPath(file_name.replace("\\", "/"))
    return (*path.parts[:-1], path.stem)
