"""`yoso train`: training, with pictures of what the network makes of some validation images."""

from typing import TYPE_CHECKING

from yoso.categories import Categories

if TYPE_CHECKING:
    import numpy as np

    from yoso.training.module import Segmented

TILE_SIDE = 320


def main(arguments: list[str]) -> int:
    """Run `yoso train RECIPE|FILE.yaml --some.key value`, or `yoso train --recipe RECIPE DATASET`.

    Args:
        arguments: what stands after `yoso train`.

    Returns:
        The exit status.

    Raises:
        YosoError: see `yoso.training.run.train`.
    """
    from yoso.training.recipes import find_recipe, recipe_of

    recipe, _ = recipe_of(arguments)
    if recipe is not None:
        find_recipe(recipe)  # before PyTorch is loaded: a slip of the pen is told at once
    from yoso.training.cli import main as train

    return train(arguments, draw_samples)


def draw_samples(samples: "list[Segmented]", categories: Categories) -> "np.ndarray":
    """Return a sheet of validation images: photograph, truth and prediction of each.

    Args:
        samples: at least one image.
        categories: of the data set.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    from yoso.apps.pictures import drawable, drawn
    from yoso.drawing.rendering import contact_sheet

    tiles = []
    for example, id_map, segments in samples:
        truth = {"segmentation": example.id_map, "segments_info": drawable(example.segments, categories)}
        guess = {"segmentation": id_map, "segments_info": drawable(segments, categories)}
        tiles += [
            (example.image, example.record.file_name),
            (drawn(example.image, truth, categories), "truth"),
            (drawn(example.image, guess, categories), "prediction"),
        ]
    return contact_sheet(tiles, columns=3, tile_side=TILE_SIDE)
