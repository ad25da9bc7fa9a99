"""Draws images of nuclei beside what nuclei-lite finds in them.

    python benchmarks/nuclei_picture.py FOLDER_OF_IMAGES NAME ... --output docs/images/nuclei.jpg

Output: the picture.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import yoso
from yoso.drawing.pictures import write_picture
from yoso.files import read_image

SIDE = 420
GAP = 8


def panel(pixels: np.ndarray) -> np.ndarray:
    """Return the middle square of an image, resized to `SIDE` pixels."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Draw images of nuclei beside what nuclei-lite finds in them.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", help="file names of the images, one column each")
    parser.add_argument("--model", default="models/nuclei-lite", help="name or folder (default: models/nuclei-lite)")
    parser.add_argument("--output", type=Path, default=Path("docs/images/nuclei.jpg"))
    args = parser.parse_args()
    predictor = yoso.load(args.model, "cpu")
    columns = []
    for name in args.names:
        pixels = read_image(args.folder / name)
        result = predictor(pixels, tiles=(256, 64))
        found = [info for info in result["segments_info"] if info["is_thing"]]
        bright = np.clip(pixels * (230 / max(1.0, np.percentile(pixels, 99.5))), 0, 255).astype(np.uint8)
        drawn = yoso.render(bright, {**result, "segments_info": found}, labels=False)
        gap = np.full((GAP, SIDE, 3), 255, np.uint8)
        columns += [
            np.concatenate([panel(bright), gap, panel(drawn)]),
            np.full((2 * SIDE + GAP, GAP, 3), 255, np.uint8),
        ]
        print(f"{name}: {len(found)} nuclei")
    write_picture(args.output, np.concatenate(columns[:-1], axis=1))


if __name__ == "__main__":
    main()
