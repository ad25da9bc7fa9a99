"""Masks as polygons, COCO run lengths and brush masks, each decoded again."""

import numpy as np
import pytest

from yoso.serve.masks import brush_rle, coco_rle, polygons, segment_mask


def random_masks(number):
    random = np.random.default_rng(0)
    for _ in range(number):
        mask = random.random(random.integers(1, 9, 2)) < random.random()
        if mask.any():
            yield mask


def filled(outlines, shape):
    """Fill outlines by the even-odd rule; all their edges are horizontal or vertical."""
    inside = np.zeros(shape, bool)
    for outline in outlines:
        points = np.array(outline).reshape(-1, 2)
        for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, 0), strict=True):
            assert (x1 == x2) != (y1 == y2)
            if x1 == x2:
                inside[min(y1, y2) : max(y1, y2), x1:] ^= True
    return inside


def signed_area(outline):
    x, y = np.array(outline).reshape(-1, 2).T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


def test_polygons_filled_again_are_the_mask():
    for mask in random_masks(300):
        whole = np.zeros((20, 30), bool)
        whole[3 : 3 + mask.shape[0], 5 : 5 + mask.shape[1]] = mask
        outlines = polygons(mask, (5, 3))
        assert (filled(outlines, whole.shape) == whole).all()
        assert sum(signed_area(outline) for outline in outlines) == mask.sum()


def test_holes_run_the_other_way_and_corners_separate():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(signed_area(outline) for outline in polygons(ring)) == [-1, 9]
    assert len(polygons(np.eye(3, dtype=bool))) == 3


def test_coco_run_lengths_are_those_of_the_library():
    library = pytest.importorskip("faster_coco_eval").mask
    for mask in random_masks(300):
        whole = np.zeros((20, 30), bool)
        whole[3 : 3 + mask.shape[0], 5 : 5 + mask.shape[1]] = mask
        for part, corner, image in ((mask, (5, 3), whole), (mask, (0, 0), mask)):
            expected = library.encode(np.asfortranarray(image, np.uint8))["counts"].decode()
            assert coco_rle(part, corner, image.shape) == {"size": list(image.shape), "counts": expected}


def decoded_brush(content):
    """Decode a brush mask as Label Studio does; return its alpha channel, flat."""
    bits = "".join(f"{byte:08b}" for byte in content)
    place = 0

    def number(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word, sizes = number(32), number(5) + 1, [number(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        is_run, length = number(1), number(sizes[number(2)]) + 1
        values += [number(word)] * length if is_run else [number(word) for _ in range(length)]
    return np.array(values[3::4])


def test_brush_masks():
    large = np.zeros((300, 400), bool)
    large[200:] = True
    for mask in (*random_masks(50), large, ~large[:1], np.array([[True]]), np.array([[False]])):
        assert (decoded_brush(brush_rle(mask)) == 255 * mask.ravel()).all()


@pytest.mark.slow  # importing the SDK takes longer than all other tests here
def test_brush_masks_are_those_that_label_studio_reads():
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    for mask in random_masks(20):
        assert (brush.decode_rle(brush_rle(mask))[3::4] == 255 * mask.ravel()).all()


def test_the_mask_of_a_segment():
    segmentation = np.array([[0, 0, 0], [0, 5, 6], [0, 5, 5]])
    assert segment_mask(segmentation, 5, (1, 1, 2, 2)).tolist() == [[True, False], [True, True]]
