"""Segmenting an image tile by tile: for more objects than a network has queries, or very large images."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from yoso.inference.engine import Engine, Request, Timings
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.stitching import Stitcher, tile_grid


def segment_tiles(
    engine: Engine,
    pixels: np.ndarray,
    request: Request,
    tiles: tuple[int, int],
    is_thing: Sequence[bool] | np.ndarray,
) -> tuple[PanopticArrays, Timings]:
    """Segment overlapping tiles of an image one after the other, and join the results.

    Args:
        engine: runs the network.
        pixels: uint8 (H, W, 3), RGB.
        request: input size and thresholds of each tile; the output size is ignored.
        tiles: side and overlap in pixels, see `checked_tiles`. An image that is not larger is one tile.
        is_thing: by class index.

    Returns:
        The segments at the size of the image, and the duration of the steps, added over the tiles. Joining counts as
        merge.

    Raises:
        ConfigError: the network was exported for another size.
        ImageError: there is not enough memory for a tile.
    """
    size = (pixels.shape[0], pixels.shape[1])
    grid = tile_grid(size, *tiles)
    stitcher = Stitcher(size, grid, is_thing)
    request = replace(request, output_size=(grid.height, grid.width))
    resize = network = merge = 0.0
    for box in grid.boxes():
        arrays, took = engine.segment(np.ascontiguousarray(pixels[box]), request)
        start = time.perf_counter()
        stitcher.add(arrays)
        resize += took.resize_seconds
        network += took.network_seconds
        merge += took.merge_seconds + time.perf_counter() - start
    start = time.perf_counter()
    result = stitcher.result()
    return result, Timings(0.0, resize, network, merge + time.perf_counter() - start)
