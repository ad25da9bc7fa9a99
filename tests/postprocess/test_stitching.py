"""Tiles of images whose truth is known: what a perfect network sees in each tile becomes the truth again."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoso.errors import ConfigError
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Segment
from yoso.postprocess.stitching import Stitcher, checked_tiles, tile_grid

IS_THING = [True, True, False, False]


def disks(height, width, count, seed, largest=9):
    """Return a map of thing ids 1, 2, ... and 0 elsewhere: disks that do not touch, some larger than an overlap."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))
    ids, grown = np.zeros((height, width), np.int32), np.zeros((height, width), bool)
    for number in range(1, count + 1):
        y, x, radius = random.uniform(0, height), random.uniform(0, width), random.uniform(2, largest)
        distance = np.hypot(rows - y, columns - x)
        if not (grown & (distance < radius + 1.5)).any():
            ids[distance < radius] = number
            grown |= distance < radius + 1.5
    return ids


def seen(ids, classes, box):
    """Return what a perfect network sees in a tile, with ids of the tile's own."""
    part = ids[box]
    segments, own = [], np.zeros_like(part)
    for number in np.unique(part):
        if number:
            area = int((part == number).sum())
            segments.append(Segment(len(segments) + 1, classes[number], number / 1000, area, (0, 0, 1, 1)))
            own[part == number] = len(segments)
    return PanopticArrays(own, segments)


def stitched(ids, classes, side, overlap):
    grid = tile_grid(ids.shape, side, overlap)
    stitcher = Stitcher(ids.shape, grid, IS_THING)
    for box in grid.boxes():
        stitcher.add(seen(ids, classes, box))
    return stitcher.result()


def assert_same(result, ids, classes):
    """Check that a result is the truth, whatever its ids are called."""
    pairs = set(zip(result.segmentation.ravel().tolist(), ids.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    truth = dict(pairs)
    assert [segment.id for segment in result.segments] == list(range(1, len(result.segments) + 1))
    assert {truth[segment.id] for segment in result.segments} == set(np.unique(ids).tolist()) - {0}
    for segment in result.segments:
        rows, columns = np.nonzero(result.segmentation == segment.id)
        assert segment.class_index == classes[truth[segment.id]]
        assert segment.score == truth[segment.id] / 1000
        assert segment.area == len(rows)
        left, top, width, height = segment.bbox
        assert (top, left) == (rows.min(), columns.min())
        assert (top + height - 1, left + width - 1) == (rows.max(), columns.max())


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 90), st.integers(5, 90), st.integers(8, 40), st.integers(0, 10**6), st.data())
def test_tiles_of_a_known_image_become_the_image_again(height, width, side, seed, data):
    overlap = data.draw(st.integers(3, side // 2))
    ids = disks(height, width, 25, seed)
    classes = {number: number % 2 for number in range(1, 26)}
    # Stuff in three bands behind the things, and void to the right of them.
    band = 100 + np.indices(ids.shape)[1] * 4 // width
    ids = np.where((ids == 0) & (band < 103), band, ids).astype(np.int32)
    classes |= {100: 2, 101: 3, 102: 2}
    truth = np.where(ids == 102, 100, ids)  # stuff of one class is one segment
    result = stitched(ids, classes, side, overlap)
    scores = {segment.id: segment.score for segment in result.segments}
    for segment in result.segments:
        if segment.class_index == 2:
            assert scores[segment.id] in (0.1, 0.102)
    result.segments[:] = [s if s.class_index != 2 else Segment(s.id, 2, 0.1, s.area, s.bbox) for s in result.segments]
    assert_same(result, truth, classes)


def test_an_object_across_many_tiles_is_one():
    ids = np.zeros((40, 300), np.int32)
    ids[15:25, 5:295] = 1
    ids[30:34, 5:295] = 2
    result = stitched(ids, {1: 0, 2: 0}, 32, 8)
    assert_same(result, ids, {1: 0, 2: 0})


def test_one_tile_is_left_as_it_is():
    ids = disks(20, 30, 5, 1)
    assert_same(stitched(ids, dict.fromkeys(range(1, 6), 0), 64, 16), ids, dict.fromkeys(range(1, 6), 0))


def tiles_of(maps, classes, is_thing=IS_THING):
    """Stitch two tiles of 4x8 that share 4 columns, from their maps."""
    grid = tile_grid((4, 12), 8, 4)
    stitcher = Stitcher((4, 12), grid, is_thing)
    for ids in maps:
        present = np.unique(ids)[np.unique(ids) > 0]
        stitcher.add(PanopticArrays(ids, [Segment(int(n), classes[n], 0.5, 1, (0, 0, 1, 1)) for n in present]))
    return stitcher.result()


def blank():
    return np.zeros((4, 8), np.int32)


def test_things_of_different_classes_stay_apart():
    first, second = blank(), blank()
    first[1:3, 2:8] = 1
    second[1:3, :4] = 2
    result = tiles_of([first, second], {1: 0, 2: 1})
    assert [(segment.class_index, segment.bbox) for segment in result.segments] == [
        (0, (2, 1, 4, 2)),
        (1, (6, 1, 2, 2)),
    ]


def test_things_that_only_touch_stay_apart():
    first, second = blank(), blank()
    first[0:2, 2:8] = 1
    second[1:4, :4] = 1
    assert len(tiles_of([first, second], {1: 0}).segments) == 2


def test_a_thing_without_a_partner_is_dropped_where_the_other_tile_is_taken():
    first, second = blank(), blank()
    first[1:3, 5:8] = 1  # one of three columns is taken from this tile
    assert tiles_of([first, second], {1: 0}).segments == []
    first = blank()
    first[1:3, 3:8] = 1  # three of five
    (segment,) = tiles_of([first, second], {1: 0}).segments
    assert segment.bbox == (3, 1, 3, 2)


def test_a_merged_pair_takes_one_partner_only():
    first, second = blank(), blank()
    first[0:3, 2:8] = 1
    second[0:2, 0:4], second[2:3, 0:4] = 1, 2
    result = tiles_of([first, second], {1: 0, 2: 0})
    assert [segment.area for segment in result.segments] == [12 + 4, 2]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(4, 120), st.data())
def test_a_grid_covers_the_image_with_equal_tiles_and_enough_overlap(height, width, side, data):
    overlap = data.draw(st.integers(1, side // 2))
    grid = tile_grid((height, width), side, overlap)
    for starts, tile, length in ((grid.tops, grid.height, height), (grid.lefts, grid.width, width)):
        assert tile == min(side, length)
        assert starts[0] == 0
        assert starts[-1] + tile == length
        assert all(first < second <= first + tile - overlap for first, second in pairwise(starts))


def test_memory_is_bounded_by_the_image_and_a_row_of_tiles():
    height, width, side = 3000, 1000, 128
    grid = tile_grid((height, width), side, 32)
    tile = PanopticArrays(np.ones((side, side), np.int32), [Segment(1, 0, 0.5, side * side, (0, 0, side, side))])
    tracemalloc.start()
    stitcher = Stitcher((height, width), grid, IS_THING)
    for _ in grid.boxes():
        stitcher.add(tile)
    working = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (segment,) = stitcher.result().segments
    assert segment.area == height * width
    row_of_tiles = 4 * side * side * len(grid.lefts)
    assert working < 4 * height * width + 2 * row_of_tiles + 2**21


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "at least 4 pixels"),
        (3, "at least 4 pixels"),
        (-8, "at least 4 pixels"),
        ((64, 0), "an overlap from 1 to half the side, 32"),
        ((64, 33), "an overlap from 1 to half the side, 32"),
        ("64", "give the side of a tile in pixels"),
        (64.0, "give the side of a tile in pixels"),
        (True, "give the side of a tile in pixels"),
        ((64, 16, 2), "give the side of a tile in pixels"),
        ((64, "a"), "give the side of a tile in pixels"),
    ],
)
def test_tiles_that_cannot_be_are_refused(value, words):
    with pytest.raises(ConfigError, match=words):
        checked_tiles(value)


def test_the_overlap_is_a_quarter_unless_it_is_given():
    assert checked_tiles(256) == (256, 64)
    assert checked_tiles([256, 100]) == checked_tiles(np.array([256, 100]).tolist()) == (256, 100)
