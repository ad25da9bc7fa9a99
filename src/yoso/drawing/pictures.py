"""Overlays of results and ground truth, and sheets that compare them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from yoso.categories import Categories
from yoso.drawing.rendering import contact_sheet, render
from yoso.files import PathLike, written_whole

COMPARISON_TILE_SIDE = 320
"""Longer side of a tile in a sheet of comparisons, in pixels."""

Tile = tuple[np.ndarray, str]


class Segmentation(NamedTuple):
    """Segments of one image in COCO panoptic form.

    Attributes:
        id_map: (H, W) segment ids, 0 is void.
        segments: `id` and `category_id` per segment.
        categories: the classes that `category_id` refers to.
    """

    id_map: np.ndarray
    segments: Sequence[Mapping[str, Any]]
    categories: Categories


def drawn(pixels: np.ndarray, result: Mapping[str, Any], categories: Categories) -> np.ndarray:
    """Draw a result over its image, in the colors of its categories.

    Args:
        pixels: uint8 RGB array (H, W, 3).
        result: as `Predictor` returns it.
        categories: the model's.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    infos = [{**info, "color": categories[info["label_id"]].color} for info in result["segments_info"]]
    return render(pixels, {**result, "segments_info": infos})


def drawn_segmentation(pixels: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """Draw COCO panoptic segments over an image, in the colors of their categories.

    Args:
        pixels: uint8 RGB array (H, W, 3).
        segmentation: of the same size.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    categories = segmentation.categories
    infos = []
    for segment in segmentation.segments:
        class_index = categories.index_of(segment["category_id"])
        category = categories[class_index]
        infos.append(
            {"id": segment["id"], "label_id": class_index, "label": category.name, "is_thing": category.is_thing}
        )
    return drawn(pixels, {"segmentation": segmentation.id_map, "segments_info": infos}, categories)


def comparison(image: Tile, truth: Segmentation, prediction: Segmentation, caption: str = "prediction") -> list[Tile]:
    """Return three tiles: the image, its ground truth and a prediction.

    Args:
        image: uint8 RGB array (H, W, 3) and its name.
        truth: of the image.
        prediction: of the image.
        caption: of the third tile.
    """
    pixels, _ = image
    return [image, (drawn_segmentation(pixels, truth), "truth"), (drawn_segmentation(pixels, prediction), caption)]


def comparison_sheet(tiles: Sequence[Tile], per_row: int = 1) -> np.ndarray:
    """Lay out the tiles of several comparisons.

    Args:
        tiles: those of `comparison`, one after the other.
        per_row: comparisons side by side.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    return contact_sheet(tiles, columns=3 * per_row, tile_side=COMPARISON_TILE_SIDE)


def write_picture(path: PathLike, pixels: np.ndarray) -> None:
    """Write a uint8 RGB array (H, W, 3) as PNG, whole or not at all; see `written_whole` for errors."""
    with written_whole(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=3)
