import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from yoso.categories import Categories, Category
from yoso.data.formats import shapes
from yoso.data.formats.counts import AnnotationCounts, AnnotationError
from yoso.data.formats.shapes import Shape, corners, paint, polygon_mask, polygons_mask, run_length_mask

CATEGORIES = Categories(
    [Category(1, "cow", True, (0, 0, 0)), Category(2, "sky", False, (0, 0, 0)), Category(5, "dog", True, (0, 0, 0))]
)


def inside(points, x, y):
    """Even-odd rule for one point, edge by edge; None if it lies on an edge, where rounding decides."""
    odd = False
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (y1 > y) != (y2 > y):
            crossing = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
            if abs(crossing - x) < 1e-9:
                return None
            odd ^= crossing <= x
    return odd


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 100), st.integers(-20, 100)), min_size=3, max_size=7))
@example([(-5, 26), (94, -4), (41, -8), (58, 98), (-19, 21), (-4, 92)])  # the centre of a pixel lies on an edge
def test_pixels_of_a_polygon_are_those_whose_centres_lie_inside(corners_in_tenths):
    # Tenths, off the centres of pixels, so that few centres lie on an edge.
    points = np.array(corners_in_tenths) / 10 + 0.013
    mask = polygon_mask(points, (8, 7))
    expected = [[inside(points, x + 0.5, y + 0.5) for x in range(7)] for y in range(8)]
    pairs = zip(mask.ravel().tolist(), [value for row in expected for value in row], strict=True)
    assert all(value in (None, found) for found, value in pairs)


def test_a_rectangle_covers_its_pixels_and_its_neighbour_the_next():
    left = polygon_mask(np.array([[0, 0], [4, 0], [4, 3], [0, 3]]), (5, 9))
    right = polygon_mask(np.array([[4, 0], [9, 0], [9, 3], [4, 3]]), (5, 9))
    assert left[:3, :4].all()
    assert left.sum() == 12
    assert right.sum() == 15
    assert not (left & right).any()


def assert_decoded(encoded, mask):
    if mask.any():
        np.testing.assert_array_equal(run_length_mask(encoded, mask.shape), mask)
    else:
        with pytest.raises(AnnotationError, match="no pixel inside"):
            run_length_mask(encoded, mask.shape)


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_as_coco_s_tools_write_them(mask):
    from hotcoco import mask as reference

    encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = encoded["counts"]
    encoded = {"size": list(mask.shape), "counts": counts.decode() if isinstance(counts, bytes) else counts}
    assert_decoded(encoded, mask)
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff([0, *changes, flat.size]).tolist()
    plain = {"size": list(mask.shape), "counts": runs}
    assert_decoded(plain, mask)


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, r"malformed run-length mask \(3 pixels, image 4\)"),
        ({"size": [4, 1], "counts": [4]}, r"mask size differs from the image \(\[height, width\] \[4, 1\]"),
        ({"size": [2, 2], "counts": [-1, 5]}, "malformed run-length mask"),
        ({"size": [2, 2]}, "malformed run-length mask"),
        ({"size": [2, 2], "counts": "\n"}, "malformed run-length mask"),
        ({"size": [2, 2], "counts": [4]}, "no pixel inside"),
        ("abc", "malformed run-length mask"),
    ],
)
def test_run_lengths_that_are_wrong(encoded, words):
    with pytest.raises(AnnotationError, match=words):
        run_length_mask(encoded, (2, 2))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[-5, 1], [0, 1], [0, 9]], "outside the image"),
        ([[9, 1], [12, 1], [12, 9]], "outside the image"),
        ([[1, -9], [2, -9], [2, 0]], "outside the image"),
        ([[1, 1], [5, 1], [5, 1.4]], "no pixel inside"),
        ([[1, 1], [5, 1], [3, 1]], "no pixel inside"),
    ],
)
def test_polygons_without_a_pixel(points, words):
    with pytest.raises(AnnotationError, match=words):
        polygons_mask([np.array(points, float)], (9, 9))


def box(top, left, bottom, right):
    mask = np.zeros((6, 6), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_small_objects_lie_on_large_ones_on_crowds_on_stuff():
    shapes = [
        Shape(1, box(2, 2, 3, 3)),
        Shape(2, box(0, 0, 2, 6)),
        Shape(5, box(0, 0, 5, 5)),
        Shape(1, box(0, 0, 6, 5), True),
        Shape(2, box(4, 0, 6, 6)),
    ]
    id_map, segments, _ = paint(shapes, CATEGORIES, (6, 6), AnnotationCounts())
    by_id = {segment["id"]: segment for segment in segments}
    assert by_id[id_map[2, 2]] == {"id": id_map[2, 2], "category_id": 1, "iscrowd": 0}
    assert by_id[id_map[0, 0]]["category_id"] == 5
    assert by_id[id_map[5, 4]] == {"id": id_map[5, 4], "category_id": 1, "iscrowd": 1}
    assert by_id[id_map[5, 5]]["category_id"] == 2
    assert [segment["category_id"] for segment in segments].count(2) == 1


def test_stuff_in_pieces_is_one_segment():
    shapes = [Shape(2, box(0, 0, 1, 6)), Shape(2, box(4, 0, 6, 6))]
    id_map, segments, counts = paint(shapes, CATEGORIES, (6, 6), AnnotationCounts())
    assert (counts.written, counts.merged) == (1, {"stuff of one class in one image": 1})
    assert segments == [{"id": 1, "category_id": 2, "iscrowd": 0}]
    assert id_map[:, 0].tolist() == [1, 0, 0, 0, 1, 1]


BOXES = st.tuples(*[st.integers(0, 5)] * 2, *[st.integers(1, 6)] * 2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 5]), BOXES, st.booleans(), st.integers(1, 3)), max_size=8))
def test_every_annotation_is_written_or_merged(drawn):
    shapes = [
        Shape(category_id, box(top, left, top + height, left + width), is_crowd, num_annotations)
        for category_id, (top, left, height, width), is_crowd, num_annotations in drawn
    ]
    id_map, segments, counts = paint(shapes, CATEGORIES, (6, 6), AnnotationCounts())
    assert counts.written + counts.num_merged == sum(shape.num_annotations for shape in shapes)
    assert counts.written == len(segments)
    assert {segment["id"] for segment in segments} == set(np.unique(id_map).tolist()) - {0}


def test_corners():
    assert corners([1, 2, 3, 4, 5, 6]).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert corners([[1, 2], [3, 4], [5, 6]]).shape == (3, 2)
    for wrong in ([1, 2, 3, 4], [], [[1, 2], [3, 4]]):
        with pytest.raises(AnnotationError, match="fewer than three points"):
            corners(wrong)
    nan = float("nan")
    for wrong in (
        [1] * 7,
        [[1, 2], [3, None]],
        "abc",
        [[1, 2], [3, 4], [5, nan]],
        [10**400] * 6,
        7,
        {},
        [[1, 2, 3]] * 3,
    ):
        with pytest.raises(AnnotationError, match="coordinates that are not pairs of finite numbers"):
            corners(wrong)


class TestBounds:
    """Small files that ask for much work are refused in little time."""

    @pytest.mark.parametrize(
        "text",
        ["o" * 5_000_000, "o" * 9 + "0", "0" * 1000],
        ids=["one number", "a long number", "more runs than pixels"],
    )
    def test_run_lengths_of_endless_numbers(self, text):
        with pytest.raises(AnnotationError, match="malformed run-length mask"):
            run_length_mask({"size": [6, 6], "counts": text}, (6, 6))

    def test_a_polygon_that_crosses_more_rows_than_there_are_pixels(self):
        points = np.tile([[0.0, 0.0], [1.0, 1e6]], (200_000, 1))
        with pytest.raises(AnnotationError, match="more crossings of rows than pixels"):
            polygon_mask(points, (100, 60))

    def test_edges_in_parts_give_the_same_pixels(self, monkeypatch):
        points = np.random.default_rng(0).uniform(-5, 45, (60, 2))
        whole = polygon_mask(points, (40, 40))
        monkeypatch.setattr(shapes, "MIN_CROSSINGS", 7)
        assert 0 < whole.sum() < whole.size
        np.testing.assert_array_equal(polygon_mask(points, (40, 40)), whole)
