"""`yoso data show`: draws the ground truth over some images of a data set, on one sheet."""

import random
from typing import TYPE_CHECKING

from yoso.apps.arguments import Parser, add_max_pixels
from yoso.apps.console import show, with_progress
from yoso.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from yoso.data.dataset import PanopticDataset

COLUMNS = 4


def main(arguments: list[str]) -> int:
    """Run `yoso data show DATASET`.

    Args:
        arguments: what stands after `yoso data show`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such data set or split, a file that cannot be read, or a sheet that cannot be written.
    """
    parser = Parser("data show", "Draw the ground truth over some images of a data set, on one sheet.")
    parser.add_argument("dataset", metavar="DATASET", help="a data set's YAML file, folder or name")
    parser.add_argument("--split", help="train or val (default: val, or train if there is no val)")
    parser.add_argument("--n", type=int, default=16, metavar="N", help="number of images (default: 16)")
    parser.add_argument("--seed", type=int, help="choose the images at random with this seed (default: evenly spaced)")
    parser.add_argument("--output", default="data.png", metavar="PNG", help="file to write (default: data.png)")
    add_max_pixels(parser)
    args = parser.parse(arguments)
    if args.n < 1:
        raise ConfigError(f"--n {args.n}: give 1 or more")

    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec
    from yoso.drawing.pictures import write_picture
    from yoso.drawing.rendering import contact_sheet

    spec = load_spec(args.dataset)
    split = args.split or ("val" if "val" in spec.splits else "train")
    dataset = PanopticDataset(spec.split(split))
    indices = choose_images(len(dataset), args.n, args.seed)
    tiles = [_tile(dataset, index) for index in with_progress(indices, len(indices), "drawing")]
    write_picture(args.output, contact_sheet(tiles, COLUMNS))
    show(f"{spec.name}, {split}: {len(indices)} of {len(dataset)} images\nsheet: {args.output}")
    return 0


def choose_images(length: int, number: int, seed: int | None) -> list[int]:
    """Return up to `number` indices below `length`, in order: random with a seed, evenly spaced without one."""
    number = min(number, length)
    if seed is not None:
        return sorted(random.Random(seed).sample(range(length), number))
    return [place * length // number for place in range(number)]


def _tile(dataset: "PanopticDataset", index: int) -> "tuple[np.ndarray, str]":
    from yoso.drawing.pictures import Segmentation, drawn_segmentation

    example = dataset.example(index)
    truth = Segmentation(example.id_map, example.segments, dataset.categories)
    return drawn_segmentation(example.image, truth), example.record.file_name
