"""Draws a second small data set in COCO panoptic format: many similar shapes in front of patterns.

    python benchmarks/shapes_dataset.py runs/shapes [--train 300] [--val 60] [--side 384]

Output: the folder given as argument

An image has 5 to 40 overlapping things of four classes (discs, squares, triangles, stars) in any color, and two of
three stuff classes (stripes, checks, clouds). The recipe for small data was not tuned on it, so
`benchmarks/small_recipe.py --data runs/shapes` gives a second opinion on that recipe. The images are under the
project's MIT license.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from yoso.categories import Categories, Category
from yoso.data.coco_panoptic import ImageRecord, PanopticWriter

CATEGORIES = Categories(
    [
        Category(1, "disc", True, (230, 70, 60)),
        Category(2, "square", True, (60, 120, 230)),
        Category(3, "triangle", True, (240, 190, 40)),
        Category(4, "star", True, (160, 70, 200)),
        Category(5, "stripes", False, (70, 90, 90)),
        Category(6, "checks", False, (130, 170, 120)),
        Category(7, "clouds", False, (190, 200, 220)),
    ]
)
MIN_PIXELS = 24
"""A shape with fewer visible pixels is added to the shape that covers it."""

CORNERS = {"square": 4, "triangle": 3}


def random_color(rng: np.random.Generator) -> tuple[int, ...]:
    """Return a color that is not gray."""
    values = rng.integers(20, 236, 3)
    values[rng.integers(3)] = rng.choice([10, 245])
    return tuple(int(value) for value in values)


def draw_pattern(kind: str, side: int, rng: np.random.Generator) -> Image.Image:
    """Draw a pattern of stuff."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    first, second = (np.array(random_color(rng), np.float32) for _ in range(2))
    if kind == "clouds":
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12), np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        share = np.asarray(coarse, np.float32) / 255
    else:
        period, angle = rng.uniform(14, 40), rng.uniform(0, math.pi)
        u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        share = (np.floor(u / period) + (np.floor(v / period) if kind == "checks" else 0)) % 2
    mixed = first * share[..., None] + second * (1 - share[..., None])
    return Image.fromarray((0.5 * mixed + 0.5 * 128).astype(np.uint8))


def corners_of(kind: str, center: np.ndarray, radius: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return the corners of a shape."""
    turn = rng.uniform(0, 2 * math.pi)
    count = {"disc": 40, "star": 10}.get(kind) or CORNERS[kind]
    radii = [radius * (0.45 if kind == "star" and corner % 2 else 1) for corner in range(count)]
    angles = [turn + 2 * math.pi * corner / count for corner in range(count)]
    return [(center[0] + r * math.cos(a), center[1] + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def draw(side: int, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray, list[dict[str, int]]]:
    """Draw an image; return it, its id map and its segments."""
    kinds = [str(kind) for kind in rng.choice(["stripes", "checks", "clouds"], 2, replace=False)]
    names = {category.name: category.id for category in CATEGORIES}
    image = draw_pattern(kinds[0], side, rng)
    divide = Image.new("L", (side, side))
    cut = sorted(rng.uniform(0.2, 0.8, 2) * side)
    ImageDraw.Draw(divide).polygon([(0, cut[0]), (side, cut[1]), (side, side), (0, side)], fill=255)
    image.paste(draw_pattern(kinds[1], side, rng), mask=divide)
    ids = Image.fromarray(np.where(np.asarray(divide) > 0, 2, 1).astype(np.int32))
    labels = {1: names[kinds[0]], 2: names[kinds[1]]}
    pen, marker = ImageDraw.Draw(image), ImageDraw.Draw(ids)
    for segment_id in range(3, 3 + int(rng.integers(5, 41))):
        kind = str(rng.choice(["disc", "square", "triangle", "star"]))
        corners = corners_of(kind, rng.uniform(0, side, 2), side * float(rng.uniform(0.02, 0.11)), rng)
        pen.polygon(corners, fill=random_color(rng))
        marker.polygon(corners, fill=segment_id)
        labels[segment_id] = names[kind]
    id_map = np.asarray(ids).copy()
    seen, counts = np.unique(id_map, return_counts=True)
    for segment_id in seen[counts < MIN_PIXELS]:
        id_map[id_map == segment_id] = 0
    noisy = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float32) + rng.normal(0, 8, (side, side, 3))
    segments = [{"id": int(i), "category_id": labels[int(i)]} for i in np.unique(id_map) if i]
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), id_map, segments


def write_split(folder: Path, split: str, count: int, side: int, seed: int) -> None:
    """Draw the images of a split and write them."""
    annotations = folder / "annotations"
    writer = PanopticWriter(annotations / f"panoptic_{split}.json", annotations / f"panoptic_{split}", CATEGORIES)
    (folder / split).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, id_map, segments = draw(side, np.random.default_rng([seed, index]))
        image.save(folder / split / f"{index:04d}.jpg", quality=92)
        writer.add(ImageRecord(index, f"{index:04d}.jpg", f"{index:04d}.png", side, side), id_map, segments)
    writer.close()


def main() -> None:
    """Draw both splits."""
    parser = argparse.ArgumentParser(description="Draw a small panoptic data set of shapes.")
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("--train", type=int, default=300, help="training images (default: 300)")
    parser.add_argument("--val", type=int, default=60, help="validation images (default: 60)")
    parser.add_argument("--side", type=int, default=384, help="sides of the images in pixels (default: 384)")
    options = parser.parse_args()
    for seed, (split, count) in enumerate((("train", options.train), ("val", options.val))):
        write_split(options.folder, split, count, options.side, seed)
    print(f"data set: {options.folder}")


if __name__ == "__main__":
    main()
