"""Data sets of one's own in the layout of Cityscapes."""

import numpy as np
import pytest
from PIL import Image

from small_exports import HEIGHT, WIDTH, Conversion, image, write

CLASSES = [{"id": 60, "name": "cow", "isthing": 1}, {"id": 90, "name": "sky", "isthing": 0}]


@pytest.fixture
def convert(tmp_path, capsys):
    """Convert tmp_path/farm with CLASSES."""
    write(tmp_path / "classes.json", CLASSES)
    options = ["--categories", tmp_path / "classes.json"]
    return lambda *more: Conversion("cityscapes", tmp_path / "farm", tmp_path / "out", [*options, *more], capsys)


def export(root, values, names=("a",)):
    """Write an image for each name, whose rows have the values in turn."""
    rows = np.resize(np.array(values, np.uint16), HEIGHT)
    for name in names:
        image(root / f"leftImg8bit/train/{name}_leftImg8bit.png")
        path = root / f"gtFine/train/{name}_gtFine_instanceIds.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(rows[:, None], WIDTH, axis=1)).save(path)


def test_labels_that_are_not_listed_are_void_and_the_balance_holds(tmp_path, convert):
    export(tmp_path / "farm", [0, 7, 60001, 60002, 90])
    result = convert("--strict")
    assert (result.status, result.counts()) == (0, (3, 3, 0, 0))
    assert result.splits["train"]["counts"]["void"] == 1
    area = HEIGHT // 5 * WIDTH
    assert list(result.segments().values()) == [[("cow", area, 0), ("cow", area, 0), ("sky", area, 0)]]


def test_an_object_class_without_number_is_a_crowd(tmp_path, convert):
    export(tmp_path / "farm", [60, 60001])
    assert [crowd for _, _, crowd in next(iter(convert().segments().values()))] == [0, 1]


def test_stuff_with_instance_numbers_is_one_segment(tmp_path, capsys):
    write(tmp_path / "classes.json", [{"id": 6, "name": "cow", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}])
    export(tmp_path / "farm", [9, 9001, 9002, 6001])
    options = ["--categories", tmp_path / "classes.json"]
    result = Conversion("cityscapes", tmp_path / "farm", tmp_path / "out", options, capsys)
    assert result.counts() == (4, 2, 2, 0)
    assert [name for name, _, _ in next(iter(result.segments().values()))] == ["cow", "sky"]


def test_files_without_partner_and_damaged_labels_are_skipped_and_reported(tmp_path, convert):
    root = tmp_path / "farm"
    export(root, [60001], ["a", "b", "c", "d", "e", "f", "g"])
    (root / "gtFine/train/a_gtFine_instanceIds.png").unlink()
    (root / "leftImg8bit/train/b_leftImg8bit.png").unlink()
    (root / "gtFine/train/c_gtFine_instanceIds.png").write_bytes(b"")
    result = convert()
    assert result.status == 0
    reasons = {loss["reason"]: loss["count"] for loss in result.splits["train"]["skipped_files"]}
    assert reasons == {"image without labels, or labels without an image": 2, "unusable image or label file": 1}
    assert len(result.segments()) == 4
    assert convert("--strict").status == 1


def test_the_void_label_cannot_be_a_class(tmp_path, capsys):
    export(tmp_path / "farm", [60001])
    write(tmp_path / "classes.json", [{"id": 0, "name": "sky", "isthing": 0}])
    options = ["--categories", tmp_path / "classes.json"]
    result = Conversion("cityscapes", tmp_path / "farm", tmp_path / "out", options, capsys)
    assert "classes.json: a category has id 0, the label of void pixels" in result.error
