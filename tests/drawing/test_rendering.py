import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects

from yoso.categories import default_color
from yoso.drawing import labels, rendering
from yoso.drawing.rendering import contact_sheet, render
from yoso.errors import ImageError


def entry(number, label_id=0, *, label=None, is_thing=True, **more):
    return {"id": number, "label_id": label_id, "label": label or f"class {label_id}", "is_thing": is_thing, **more}


def photograph(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def result_of(segmentation, *entries):
    return {"segmentation": np.asarray(segmentation, np.int32), "segments_info": list(entries)}


def squares(side=40, count=4):
    """A grid of count x count segments, ids from 1, with the first one void."""
    grid = np.arange(count * count).reshape(count, count)
    return np.kron(grid, np.ones((side, side), int)).astype(np.int32)


def interior(segmentation, number):
    mask = np.pad(segmentation == number, 1, constant_values=True)
    return ~binary_dilation(~mask)[1:-1, 1:-1]


@pytest.fixture
def plates(monkeypatch):
    """The plates that are drawn, in order."""
    drawn = []
    original = labels._draw
    monkeypatch.setattr(labels, "_draw", lambda canvas, plate: (drawn.append(plate), original(canvas, plate)))
    return drawn


class TestFill:
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
    def test_pixels_are_a_blend_of_photograph_and_colour(self, alpha):
        image, segmentation = photograph(160, 160), squares()
        color = (250, 7, 130)
        entries = [entry(n, n, color=color) for n in range(1, 16)]
        drawn = render(image, result_of(segmentation, *entries), alpha=alpha, labels=False)
        inside = interior(segmentation, 6)
        assert inside.sum() > 1000
        expected = image[inside] * (1 - alpha) + np.array(color) * alpha
        assert np.abs(drawn[inside] - expected).max() <= 1

    def test_void_is_left_as_it_is(self):
        image, segmentation = photograph(160, 160), squares()
        drawn = render(image, result_of(segmentation, *[entry(n, n) for n in range(1, 16)]), labels=False)
        np.testing.assert_array_equal(drawn[segmentation == 0], image[segmentation == 0])
        assert (drawn[segmentation > 0] != image[segmentation > 0]).any(-1).mean() > 0.98

    def test_the_photograph_is_not_changed(self):
        image = photograph(80, 80)
        before = image.copy()
        render(image, result_of(squares(20), *[entry(n) for n in range(1, 16)]))
        np.testing.assert_array_equal(image, before)

    def test_nothing_found(self):
        image = photograph(30, 20)
        drawn = render(image, result_of(np.zeros((30, 20))))
        np.testing.assert_array_equal(drawn, image)
        assert drawn is not image

    @pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (2, 2)])
    @pytest.mark.parametrize("number", [0, 1])
    def test_tiny_images(self, size, number):
        drawn = render(photograph(*size), result_of(np.full(size, number), entry(1)))
        assert drawn.shape == (*size, 3)
        assert drawn.dtype == np.uint8

    def test_default_colours(self):
        image = np.zeros((60, 60, 3), np.uint8)
        drawn = render(image, result_of(np.ones((60, 60)), entry(1, 5)), alpha=1.0, labels=False)
        assert (drawn == default_color(5)).all()

    def test_objects_of_one_class_differ_and_stuff_does_not(self):
        image, segmentation = np.zeros((160, 160, 3), np.uint8), squares()
        for is_thing, least in ((True, 15), (False, 1)):
            entries = [entry(n, 2, is_thing=is_thing) for n in range(1, 16)]
            drawn = render(image, result_of(segmentation, *entries), alpha=1.0, labels=False)
            seen = {tuple(drawn[interior(segmentation, n)][0].tolist()) for n in range(1, 16)}
            assert len(seen) == least
            if not is_thing:
                assert seen == {default_color(2)}

    def test_neighbouring_ranks_are_easy_to_tell_apart(self):
        for index in range(20):
            shades = np.array([rendering._shade(default_color(index), rank) for rank in range(6)])
            assert np.abs(np.diff(shades, axis=0)).sum(1).min() > 40

    def test_tensors_large_ids_and_unknown_ids(self):
        image = photograph(60, 90)
        plain = np.repeat(np.array([[1, 2, 3]]), 30, axis=1).repeat(60, axis=0)
        expected = render(image, result_of(np.where(plain == 3, 0, plain), entry(1, 1), entry(2, 2)))
        unknown = result_of(plain, entry(1, 1), entry(2, 2))
        np.testing.assert_array_equal(render(image, unknown), expected)
        tensor = {**unknown, "segmentation": torch.from_numpy(plain).int()}
        np.testing.assert_array_equal(render(image, tensor), expected)
        large = np.array([0, 16_777_215, 70_000, -5])[plain]
        np.testing.assert_array_equal(render(image, result_of(large, entry(16_777_215, 1), entry(70_000, 2))), expected)
        negative = np.where(plain == 3, -5, plain)
        np.testing.assert_array_equal(render(image, result_of(negative, entry(1, 1), entry(2, 2))), expected)
        unsigned = {**unknown, "segmentation": plain.astype(np.uint64)}
        np.testing.assert_array_equal(render(image, unsigned), expected)


class TestOutlines:
    def test_both_sides_of_a_border_are_dark_and_crisp(self):
        segmentation = np.repeat(np.array([[1, 2]]), 20, axis=1).repeat(30, axis=0)
        image = np.full((30, 40, 3), 255, np.uint8)
        drawn = render(image, result_of(segmentation, entry(1, 0), entry(2, 1)), labels=False).sum(-1)[15]
        assert drawn[19] < drawn[5] - 100
        assert drawn[20] < drawn[30] - 100
        assert len(set(drawn[:19])) == len(set(drawn[21:])) == 1

    def test_wider_on_larger_images(self):
        segmentation = np.repeat(np.array([[1, 0]]), 650, axis=1).repeat(1280, axis=0)
        drawn = render(np.full((1280, 1300, 3), 255, np.uint8), result_of(segmentation, entry(1)), labels=False)
        row = drawn[600].sum(-1)
        assert (row[640:650] < row[0] - 100).sum() == 2
        assert (row[650:] == 3 * 255).all()

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 25), st.integers(1, 25), st.integers(0, 12), st.integers(0, 99))
    def test_widening_is_a_dilation(self, height, width, reach, seed):
        edges = np.random.default_rng(seed).random((height, width)) < 0.05
        square = np.ones((2 * reach + 1,) * 2, bool)
        expected = binary_dilation(edges, square) if reach else edges
        np.testing.assert_array_equal(rendering._widened(edges.copy(), reach), expected)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 900), st.integers(1, 5), st.integers(0, 99))
    def test_strips_equal_the_whole(self, height, width, pixels, thickness, seed):
        segmentation = np.random.default_rng(seed).integers(0, 3, (height, width))
        slots = rendering._Slots.of([1, 2])
        whole = list(rendering._strips(segmentation, slots, thickness))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rendering, "STRIP_PIXELS", pixels)
            strips = list(rendering._strips(segmentation, slots, thickness))
        for part in (1, 2):
            np.testing.assert_array_equal(np.concatenate([strip[part] for strip in strips]), whole[0][part])
        assert [strip[0].stop for strip in strips][-1] == height


class TestNames:
    def test_largest_first_without_touching_and_inside_the_picture(self, plates):
        segmentation = np.zeros((400, 600), np.int32)
        segmentation[:, :300] = 1
        segmentation[:200, 300:] = 2
        segmentation[200:, 300:450] = 3
        segmentation[200:204, 450:] = 4
        entries = [entry(n, n, label=name) for n, name in enumerate(("wall", "sky", "street", "wire"), start=1)]
        render(photograph(400, 600), result_of(segmentation, *entries))
        assert [plate.name.text for plate in plates] == ["wall", "sky", "street"]
        for index, plate in enumerate(plates):
            assert 0 <= plate.left < plate.left + plate.width <= 600
            assert 0 <= plate.top < plate.top + plate.height <= 400
            assert not any(plate.touches(other) for other in plates[:index])
            middle = plate.top + plate.height // 2, plate.left + plate.width // 2
            assert segmentation[middle] == plate.name.slot

    def test_a_name_stands_inside_a_bent_segment(self, plates):
        segmentation = np.ones((500, 500), np.int32)
        segmentation[60:440, 60:] = 2
        segmentation[70:430, 100:] = 0
        render(photograph(500, 500), result_of(segmentation, entry(1, label="frame"), entry(2, label="thin")))
        assert plates[0].name.text == "frame"
        for plate in plates:
            covered = segmentation[plate.top : plate.top + plate.height, plate.left : plate.left + plate.width]
            assert (covered == plate.name.slot).mean() > 0.95

    def test_a_name_stands_in_the_middle_of_a_plain_segment(self, plates):
        for height, width in ((300, 300), (300, 900), (900, 300)):
            render(photograph(height, width), result_of(np.ones((height, width)), entry(1)))
            plate = plates[-1]
            assert abs(plate.left + plate.width / 2 - width / 2) < 6
            assert abs(plate.top + plate.height / 2 - height / 2) < 6

    def test_text_is_light_on_a_dark_plate_and_grows_with_the_picture(self, plates):
        for side in (300, 1200):
            white = np.full((side, side, 3), 255, np.uint8)
            drawn = render(white, result_of(np.ones((side, side)), entry(1, label="window")))
            plate = plates[-1]
            inside = drawn[plate.top : plate.top + plate.height, plate.left : plate.left + plate.width]
            assert (inside.max(-1) < 100).mean() > 0.4
            assert (inside.min(-1) > 230).mean() > 0.03
        assert plates[1].font_size > 2 * plates[0].font_size

    def test_a_smaller_text_where_the_usual_does_not_fit(self, plates):
        segmentation = np.zeros((640, 640), np.int32)
        segmentation[300:314, 100:200] = 1
        render(photograph(640, 640), result_of(segmentation, entry(1, label="window")))
        assert [plate.font_size for plate in plates] == [12]

    def test_without_names(self, plates):
        render(photograph(300, 300), result_of(np.ones((300, 300)), entry(1)), labels=False)
        assert plates == []

    def test_no_label_long_labels_and_line_breaks(self, plates):
        segmentation = np.repeat(np.array([[1, 2]]), 500, axis=1).repeat(600, axis=0)
        entries = [{"id": 1, "label_id": 17}, entry(2, label="a very long label\nthat nobody would want to read")]
        render(photograph(600, 1000), result_of(segmentation, *entries))
        assert sorted(plate.name.text for plate in plates) == ["17", "a very long label that nobo…"]


class TestArguments:
    def test_a_path_or_a_pil_image(self, tmp_path):
        image = photograph(50, 40)
        result = result_of(np.ones((50, 40)), entry(1))
        Image.fromarray(image).save(tmp_path / "a.png")
        expected = render(image, result)
        for picture in (str(tmp_path / "a.png"), Path(tmp_path / "a.png"), Image.fromarray(image)):
            np.testing.assert_array_equal(render(picture, result), expected)
        with pytest.raises(ImageError, match="no such file"):
            render(tmp_path / "none.png", result)

    def test_the_photograph_takes_the_size_of_the_result(self):
        image = np.full((20, 30, 3), 77, np.uint8)
        assert (render(image, result_of(np.zeros((40, 90)))) == np.full((40, 90, 3), 77)).all()

    @pytest.mark.parametrize(
        ("image", "segmentation", "alpha", "match"),
        [
            (np.zeros((4, 4), np.uint8), np.ones((4, 4), int), 0.5, "uint8 RGB array"),
            (np.zeros((4, 4, 3)), np.ones((4, 4), int), 0.5, "float64"),
            (np.zeros((4, 4, 3), np.uint8), np.ones((1, 4, 4), int), 0.5, "integer map"),
            (np.zeros((4, 4, 3), np.uint8), np.ones((4, 4)), 0.5, "integer map"),
            (np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), int), 1.5, "alpha is 1.5"),
        ],
    )
    def test_wrong_arguments(self, image, segmentation, alpha, match):
        with pytest.raises(ValueError, match=match):
            render(image, {"segmentation": segmentation, "segments_info": []}, alpha=alpha)


@pytest.mark.parametrize("column_width", [1.0, 0.3, 0.04])
def test_distances_are_scipy_s(column_width):
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (3, 40), (70, 90), (256, 256)):
        coarse = Image.fromarray(random.integers(0, 256, (5, 5), np.uint8)).resize((width, height))
        for mask in (np.asarray(coarse) > 110, np.ones((height, width), bool)):
            mask = np.pad(mask, 1)
            expected = distance_transform_edt(mask, sampling=(1.0, column_width))
            np.testing.assert_array_equal(labels._distance(mask, column_width), expected)


def test_boxes_are_scipy_s():
    slots = (
        np.random.default_rng(0).choice([0, 1, 3, 9, 700], (30, 50), p=[0.9, 0.07, 0.01, 0.01, 0.01]).astype(np.int32)
    )
    expected = {slot: box for slot, box in enumerate(find_objects(slots), 1) if box is not None}
    assert labels._boxes(slots) == expected
    assert labels._boxes(np.zeros((4, 4), np.int32)) == {}


def test_memory_stays_near_the_picture_itself():
    segmentation = squares(500, 8)
    image = np.zeros((4000, 4000, 3), np.uint8)
    result = result_of(segmentation, *[entry(n, n) for n in range(1, 64)])
    render(image[:500, :500], result_of(segmentation[:500, :500], entry(1)))
    tracemalloc.start()
    try:
        render(image, result)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < image.nbytes + 80e6


class TestContactSheet:
    def test_tiles_lie_in_rows_and_keep_their_shape(self):
        colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
        sizes = [(300, 400), (400, 300), (50, 100), (1, 1), (700, 90)]
        tiles = [(np.full((*size, 3), color, np.uint8), "a") for size, color in zip(sizes, colors, strict=True)]
        sheet = contact_sheet(tiles, 3, tile_side=120)
        assert sheet.dtype == np.uint8
        corners = []
        for color, (height, width) in zip(colors, sizes, strict=True):
            rows, columns = np.nonzero((sheet == color).all(-1))
            assert max(np.ptp(rows), np.ptp(columns)) + 1 == 120
            assert abs((np.ptp(rows) + 1) / (np.ptp(columns) + 1) - height / width) < 0.1 * max(1, height / width)
            corners.append((rows.min(), columns.min()))
        assert corners[0][0] == corners[1][0] == corners[2][0] < corners[3][0] == corners[4][0]
        assert corners[0][1] < corners[1][1] < corners[2][1]

    def test_long_titles_are_cut(self):
        tile = np.zeros((40, 40, 3), np.uint8)
        sheet = contact_sheet([(tile, "a title that is much too long for its picture")], 4, tile_side=100)
        assert sheet.shape[1] < 130
        assert rendering._cut("short", 11, 100) == "short"
        cut = rendering._cut("a title that is much too long for its picture", 11, 100)
        assert cut.endswith("…")
        assert labels.font(11).getlength(cut) <= 100
        assert (sheet[:20] < 100).any()

    def test_an_empty_sheet_is_refused(self):
        with pytest.raises(ValueError, match="needs a picture"):
            contact_sheet([])
        with pytest.raises(ValueError, match="and a column"):
            contact_sheet([(np.zeros((4, 4, 3), np.uint8), "")], 0)


@pytest.mark.data
def test_a_real_photograph(shared):
    from yoso.files import read_id_map, read_image, read_json

    folder = shared / "data" / "facades"
    truth = read_json(folder / "annotations" / "panoptic_val.json")
    annotation = truth["annotations"][0]
    categories = {c["id"]: (index, c) for index, c in enumerate(truth["categories"])}
    segments = []
    for segment in annotation["segments_info"]:
        index, category = categories[segment["category_id"]]
        segments.append(entry(segment["id"], index, label=category["name"], is_thing=bool(category["isthing"])))
    name = next(image["file_name"] for image in truth["images"] if image["id"] == annotation["image_id"])
    image = read_image(folder / "val" / name)
    segmentation = read_id_map(folder / "annotations" / "panoptic_val" / annotation["file_name"])
    drawn = render(image, {"segmentation": segmentation, "segments_info": segments}, labels=False)
    changed = (drawn != image).any(-1)
    assert not changed[segmentation == 0].any()
    assert changed[segmentation > 0].mean() > 0.9
