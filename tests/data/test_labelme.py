"""JSON files of labelme, of its versions and of tools that write the same."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from small_exports import HEIGHT, WIDTH, Conversion, image, labelme_document, write

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


@pytest.fixture
def convert(tmp_path, capsys):
    """Convert tmp_path/farm."""
    return lambda *options: Conversion("labelme", tmp_path / "farm", tmp_path / "out", options, capsys)


def shape(**fields):
    return {"label": "cat", "points": SQUARE, "group_id": None, "shape_type": "polygon", "flags": {}} | fields


def export(root, shapes, name="a", image_path=None, image_file=None):
    write(root / f"{name}.json", labelme_document(f"{name}.jpg" if image_path is None else image_path, shapes))
    image(root / (image_file or f"{name}.jpg"))


def png(mask, mode=None):
    """Return a mask as labelme stores it: a PNG in base64."""
    stream = BytesIO()
    picture = Image.fromarray(mask)
    (picture.convert(mode) if mode else picture).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize("kind", [None, "", "polygon", "missing"])
def test_a_shape_without_type_is_a_polygon(kind, tmp_path, convert):
    one = shape(shape_type=kind)
    if kind == "missing":
        del one["shape_type"]
    export(tmp_path / "farm", [one])
    assert convert().segments() == {"a.jpg": [("cat", 400, 0)]}


@pytest.mark.parametrize(
    ("kind", "points", "area"),
    [
        ("rectangle", [[10, 10], [30, 30]], 400),
        ("rectangle", [[30, 30], [10, 10]], 400),
        ("rectangle", SQUARE, 400),
        ("circle", [[20, 20], [20, 26]], 112),
    ],
)
def test_shapes_with_an_area(kind, points, area, tmp_path, convert):
    export(tmp_path / "farm", [shape(shape_type=kind, points=points)])
    assert convert().segments() == {"a.jpg": [("cat", area, 0)]}


MASK = np.pad(np.ones((10, 12), bool), 5)


@pytest.mark.parametrize("mode", [None, "L", "P", "RGB"])
def test_a_mask_lies_at_its_box(mode, tmp_path, convert):
    export(tmp_path / "farm", [shape(shape_type="mask", points=[[8, 9], [29, 28]], mask=png(MASK, mode))])
    result = convert()
    id_map = result.dataset().example(0).id_map
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[14:24, 13:25] = True
    assert ((id_map > 0) == expected).all()


@pytest.mark.parametrize(
    ("left", "top", "area"), [(-10, -10, 5 * 7), (WIDTH - 10, 0, 10 * 5), (0, HEIGHT - 6, 1 * 12), (0.4, 0.6, 120)]
)
def test_a_mask_that_crosses_the_edge_is_clipped(left, top, area, tmp_path, convert):
    points = [[left, top], [left + 21, top + 19]]
    export(tmp_path / "farm", [shape(shape_type="mask", points=points, mask=png(MASK))])
    assert convert().segments() == {"a.jpg": [("cat", area, 0)]}


UNUSABLE = {
    "fewer than three points": shape(points=[[1, 1], [2, 2]]),
    "shape type 'point' has no area": shape(shape_type="point", points=[[1, 1]]),
    "shape type 'linestrip' has no area": shape(shape_type="linestrip"),
    "shape type '[]' has no area": shape(shape_type=[[]]) | {"shape_type": "[]"},
    "shape without a label": shape(label=None),
    "coordinates that are not pairs of finite numbers": shape(points=[[1, 2], [3, 4], [5, None]]),
    "circle without its two points": shape(shape_type="circle"),
    "outside the image": shape(points=[[100, 1], [110, 1], [110, 9]]),
    "no pixel inside, thinner than a pixel": shape(points=[[1, 1], [30, 1.2], [1, 1.3]]),
    "'mask' is not a PNG in base64": shape(shape_type="mask", points=[[1, 1], [3, 3]], mask="no base64!"),
    "mask size differs from its box": shape(shape_type="mask", points=[[1, 1], [5, 5]], mask=png(MASK)),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_a_shape_that_cannot_be_used_is_dropped_and_the_others_stay(reason, tmp_path, convert):
    export(tmp_path / "farm", [shape(), UNUSABLE[reason]])
    result = convert()
    assert (result.counts(), result.reasons()) == ((2, 1, 0, 1), {reason: 1})
    assert "a.json: shape number 1" in result.splits["train"]["counts"]["dropped"][0]["first"]
    assert convert("--strict").status == 1


@pytest.mark.parametrize(
    "rubbish",
    [
        None,
        7,
        [],
        {},
        {"label": "cat"},
        {"label": ["cat"], "points": SQUARE},
        {"label": "cat", "shape_type": "mask"},
        {"label": "cat", "shape_type": "mask", "points": [[float("nan")] * 2] * 2, "mask": png(MASK)},
        {"label": "cat", "shape_type": "mask", "points": [[1, 1], [3, 3]], "mask": base64.b64encode(b"x").decode()},
        {"label": "cat", "shape_type": {}, "points": [[1, 1], [3, 3]]},
        {"label": "cat", "shape_type": "circle", "points": 7},
    ],
)
def test_a_shape_that_is_rubbish_is_dropped(rubbish, tmp_path, convert):
    export(tmp_path / "farm", [rubbish, shape()])
    assert convert().counts() == (2, 1, 0, 1)


def test_parts_of_one_group_are_one_object_and_void_labels_are_no_annotations(tmp_path, convert):
    parts = [shape(group_id=4), shape(group_id=4, points=[[40, 1], [50, 1], [50, 9], [40, 9]])]
    export(
        tmp_path / "farm",
        [*parts, shape(label="dog", group_id=4), shape(label="__ignore__"), shape(label="_background_")],
    )
    result = convert()
    assert result.counts() == (3, 2, 1, 0)
    counts = result.splits["train"]["counts"]
    assert (counts["merged"], counts["void"]) == ({"parts of one object": 1}, 2)
    assert result.segments() == {"a.jpg": [("cat", 80, 0), ("dog", 400, 0)]}


def test_a_label_of_points_alone_is_no_class(tmp_path, convert):
    export(tmp_path / "farm", [shape(), shape(label="nose", shape_type="point", points=[[1, 1]])])
    assert convert().dataset().categories.names == ("cat",)


@pytest.mark.parametrize(
    ("image_path", "image_file"),
    [
        ("a.jpg", "a.jpg"),
        ("..\\images\\a.jpg", "../images/a.jpg"),
        ("../images/a.jpg", "../images/a.jpg"),
        ("C:\\Users\\me\\a.jpg", "a.jpg"),
        ("/home/me/photos/a.jpg", "a.jpg"),
        ("photos/a.jpg", "photos/a.jpg"),
        ("/home/me/photos/a.jpg", "../photos/a.jpg"),
        ("{source}/photos/a.jpg", "../photos/a.jpg"),
        ("", "a.jpg"),
        ("old name.jpg", "a.PNG"),
    ],
)
def test_where_the_image_may_be(image_path, image_file, tmp_path, convert):
    image_path = image_path.replace("{source}", str(tmp_path / "farm"))
    export(tmp_path / "farm/json", [shape()], image_path=image_path, image_file=image_file)
    result = convert()
    assert result.counts() == (1, 1, 0, 0)
    assert result.warnings == []


def test_an_image_outside_the_source_is_not_read(tmp_path, convert):
    export(tmp_path / "farm", [shape()], image_path="../secret.jpg", image_file="../secret.jpg")
    export(tmp_path / "farm", [shape()], "b", image_path=str(tmp_path / "secret.jpg"), image_file="../secret.jpg")
    for name in "cde":
        export(tmp_path / "farm", [shape()], name)
    result = convert()
    assert result.reasons() == {"missing image": 2}
    assert list(result.segments()) == ["c.jpg", "d.jpg", "e.jpg"]


@pytest.mark.parametrize("name", ["._a.json", ".hidden/a.json", "__MACOSX/a.json"])
def test_hidden_files_are_skipped(name, tmp_path, convert):
    export(tmp_path / "farm", [shape()])
    write(tmp_path / "farm" / name, "not JSON")
    result = convert("--strict")
    assert (result.status, result.counts(), result.warnings) == (0, (1, 1, 0, 0), [])


def test_files_that_are_not_labelme_s_are_skipped_and_reported(tmp_path, convert):
    for name in "abcd":
        export(tmp_path / "farm", [shape()], name)
    write(tmp_path / "farm/a.json", "{")
    result = convert()
    assert result.counts() == (3, 3, 0, 0)
    (skipped,) = result.splits["train"]["skipped_files"]
    assert skipped["count"] == 1
    assert "a.json: is not a JSON file" in skipped["first"]
    assert convert("--strict").status == 1
    write(tmp_path / "farm/b.json", {"shapes": None})
    assert "2 of 4 images cannot be used: unusable image or label file" in convert().error


def test_images_without_a_json_are_reported(tmp_path, convert):
    export(tmp_path / "farm/train", [shape()])
    image(tmp_path / "farm/train/b.jpg")
    (warning,) = convert().warnings
    assert warning.startswith("train: 1 images have no JSON and are left out (first: ")


def test_a_size_that_is_not_the_image_s(tmp_path, convert):
    for name in "abc":
        export(tmp_path / "farm", [shape(), shape()], name)
    image(tmp_path / "farm/a.jpg", (2 * WIDTH, HEIGHT))
    result = convert()
    assert result.counts() == (6, 2, 2, 2)
    (skipped,) = result.splits["train"]["skipped_files"]
    assert "a.json: 60x40, " in skipped["first"]
    assert "a.jpg: 120x40" in skipped["first"]


def test_two_files_for_one_image_are_an_error(tmp_path, convert):
    export(tmp_path / "farm", [shape()])
    export(tmp_path / "farm", [shape()], "copy", image_path="a.jpg")
    assert "two images of train are called a (a.jpg and a.jpg)" in convert().error
    assert not (tmp_path / "out").exists()


def test_no_shape_at_all_is_an_error(tmp_path, convert):
    export(tmp_path / "farm", [])
    assert "holds no JSON of labelme with a polygon, rectangle, circle or mask" in convert().error


def test_an_output_inside_the_source_is_not_read_again(tmp_path, capsys):
    export(tmp_path / "farm", [shape()])
    for _ in range(2):
        result = Conversion("labelme", tmp_path / "farm", tmp_path / "farm/out", [], capsys)
        assert (result.counts(), result.warnings) == ((1, 1, 0, 0), [])
        assert result.splits["train"]["skipped_files"] == []
