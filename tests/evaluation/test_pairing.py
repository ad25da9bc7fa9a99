"""Which prediction belongs to which image of the ground truth."""

import pytest

from yoso.errors import DatasetError
from yoso.evaluation.pairing import Listing, file_names, pair_images


def paired(gt, pred):
    return pair_images(Listing("gt.json", gt), Listing("pred.json", pred))


@pytest.mark.parametrize(
    ("gt", "pred", "expected"),
    [
        ({7: "a.jpg", 9: "b.jpg"}, {9: "b.png", 7: "out/a.png"}, {7: 7, 9: 9}),
        ({7: None, 9: None}, {9: "x.png", 7: None}, {7: 7, 9: 9}),
        ({7: "a.jpg", 9: "b.jpg"}, {9: None}, {9: 9}),
        ({1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}, {1: "b.jpg", 2: "c.jpg"}, {2: 1, 3: 2}),
        ({139: "a.jpg", 285: "b.jpg"}, {1: "val/b.jpg", 2: "val/a.jpg"}, {139: 2, 285: 1}),
        ({1: "a.jpg", 2: "b.jpg"}, {1: "a.jpg", 5: "b.jpg"}, {1: 1, 2: 5}),
        ({"x": "a.jpg"}, {1: "a.jpg"}, {"x": 1}),
        ({4: "v1.2.jpg", 5: "v1.3.jpg"}, {1: "v1.3.png", 2: "v1.2.png"}, {4: 2, 5: 1}),
        ({4: r"x\a.jpg"}, {1: "x/a.png"}, {4: 1}),
        ({7: "a.jpg"}, {}, {}),
    ],
    ids=["ids", "no names", "part", "others have the ids", "none", "most", "text", "dots", "backslash", "empty"],
)
def test_ids_count_unless_file_names_say_otherwise(gt, pred, expected):
    assert paired(gt, pred) == expected


def test_as_much_of_a_path_counts_as_tells_the_images_apart():
    gt = {5: "day/0001.jpg", 6: "night/0001.jpg", 7: "night/0002.jpg"}
    assert paired(gt, {1: "/data/night/0001.png", 2: "/data/day/0001.png"}) == {6: 1, 5: 2}
    with pytest.raises(DatasetError, match="no file names fit"):
        paired({5: "0001.jpg"}, {1: "/data/night/0001.png", 2: "/data/day/0001.png"})


@pytest.mark.parametrize(
    ("gt", "pred", "message"),
    [
        ({7: "a.jpg"}, {8: "b.jpg"}, r"pred.json: none of its 1 image_ids \(the first is 8\) is in gt.json"),
        ({7: None}, {8: None}, "the first there is 7"),
        ({7: "a.jpg", 8: "b.jpg"}, {8: "c.jpg"}, "pred.json: image 8 is c.jpg, but b.jpg in gt.json"),
        ({7: "a.jpg", 8: "a.jpg"}, {8: "c.jpg"}, "pred.json: image 8 is c.jpg, but a.jpg in gt.json"),
    ],
)
def test_what_does_not_fit_is_refused(gt, pred, message):
    with pytest.raises(DatasetError, match=message) as caught:
        paired(gt, pred)
    assert "\n" not in str(caught.value)


def test_file_names_are_read_as_far_as_there_are_any():
    images = [
        {"id": 1, "file_name": "a.jpg"},
        {"id": 2},
        {"file_name": "c.jpg"},
        None,
        {"id": [3], "file_name": "d.jpg"},
    ]
    assert file_names(images) == {1: "a.jpg"}
    assert file_names(None) == {}
