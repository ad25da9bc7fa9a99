import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from yoso.categories import Categories, Category
from yoso.data.formats.shapes import Shape, corners, painted, polygon_mask, run_length_mask
from yoso.errors import DatasetError

CATEGORIES = Categories(
    [Category(1, "cow", True, (0, 0, 0)), Category(2, "sky", False, (0, 0, 0)), Category(5, "dog", True, (0, 0, 0))]
)


def inside(points, x, y):
    """Even-odd rule for one point, edge by edge."""
    odd = False
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (y1 > y) != (y2 > y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x:
            odd = not odd
    return odd


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 100), st.integers(-20, 100)), min_size=3, max_size=7))
def test_pixels_of_a_polygon_are_those_whose_centres_lie_inside(corners_in_tenths):
    # Tenths, off the centres of pixels, so that no centre lies on an edge by rounding alone.
    points = np.array(corners_in_tenths) / 10 + 0.013
    mask = polygon_mask(points, (8, 7))
    expected = [[inside(points, x + 0.5, y + 0.5) for x in range(7)] for y in range(8)]
    assert mask.tolist() == expected


def test_a_rectangle_covers_its_pixels_and_its_neighbour_the_next():
    left = polygon_mask(np.array([[0, 0], [4, 0], [4, 3], [0, 3]]), (5, 9))
    right = polygon_mask(np.array([[4, 0], [9, 0], [9, 3], [4, 3]]), (5, 9))
    assert left[:3, :4].all()
    assert left.sum() == 12
    assert right.sum() == 15
    assert not (left & right).any()


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_as_coco_s_tools_write_them(mask):
    from hotcoco import mask as reference

    encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = encoded["counts"]
    encoded = {"size": list(mask.shape), "counts": counts.decode() if isinstance(counts, bytes) else counts}
    np.testing.assert_array_equal(run_length_mask(encoded, mask.shape, "x"), mask)
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff([0, *changes, flat.size]).tolist()
    plain = {"size": list(mask.shape), "counts": runs}
    np.testing.assert_array_equal(run_length_mask(plain, mask.shape, "x"), mask)


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "its photograph is"),
        ({"size": [4, 1], "counts": [4]}, "its photograph is"),
        ({"size": [2, 2], "counts": [-1, 5]}, "no run-length mask"),
        ({"size": [2, 2]}, "no run-length mask"),
        ({"size": [2, 2], "counts": "\n"}, "no character of run lengths"),
        ("abc", "no run-length mask"),
    ],
)
def test_run_lengths_that_are_wrong(encoded, words):
    with pytest.raises(DatasetError, match=words):
        run_length_mask(encoded, (2, 2), "a.json: annotation 3")


def box(top, left, bottom, right):
    mask = np.zeros((6, 6), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_small_objects_lie_on_large_ones_on_crowds_on_stuff():
    shapes = [
        Shape(1, box(2, 2, 3, 3)),
        Shape(2, box(0, 0, 2, 6)),
        Shape(5, box(0, 0, 5, 5)),
        Shape(1, box(0, 0, 6, 6), True),
        Shape(2, box(4, 0, 6, 6)),
    ]
    id_map, segments = painted(shapes, CATEGORIES, (6, 6))
    by_id = {segment["id"]: segment for segment in segments}
    assert by_id[id_map[2, 2]] == {"id": id_map[2, 2], "category_id": 1, "iscrowd": 0}
    assert by_id[id_map[0, 0]]["category_id"] == 5
    assert by_id[id_map[5, 5]] == {"id": id_map[5, 5], "category_id": 1, "iscrowd": 1}
    assert [segment["category_id"] for segment in segments].count(2) == 1


def test_stuff_in_pieces_is_one_segment():
    id_map, segments = painted([Shape(2, box(0, 0, 1, 6)), Shape(2, box(4, 0, 6, 6))], CATEGORIES, (6, 6))
    assert segments == [{"id": 1, "category_id": 2, "iscrowd": 0}]
    assert id_map[:, 0].tolist() == [1, 0, 0, 0, 1, 1]


def test_corners():
    assert corners([1, 2, 3, 4, 5, 6], "x").tolist() == [[1, 2], [3, 4], [5, 6]]
    assert corners([[1, 2], [3, 4], [5, 6]], "x").shape == (3, 2)
    for wrong in ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [[1, 2], [3, None]], "abc", [[1, 2], [3, 4], [5, float("nan")]]):
        with pytest.raises(DatasetError, match="x: is no polygon"):
            corners(wrong, "x")
