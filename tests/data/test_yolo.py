"""YOLO segmentation as tools export it and people edit it."""

import os
import subprocess
import sys

import pytest
import yaml

from small_exports import Conversion, image, write, yolo

POLYGON = "0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n"
"""A rectangle of 15 x 10 pixels of class 0."""


@pytest.fixture
def convert(tmp_path, capsys):
    """Convert tmp_path/farm."""
    return lambda *options: Conversion("yolo", tmp_path / "farm", tmp_path / "out", options, capsys)


def export(root, content, labels, images=("images/train/a.jpg",)):
    """Write a YAML, given as a mapping, text files and images."""
    write(root / "data.yaml", content if isinstance(content, str) else yaml.safe_dump(content))
    for name in images:
        image(root / name)
    for name, text in labels.items():
        write(root / name, text)


ONE = {"train": "images/train", "names": ["cat"]}


def test_a_mapping_of_names_goes_by_its_keys(tmp_path, convert):
    export(tmp_path / "farm", ONE | {"names": {1: "dog", 0: "cat"}}, {"labels/train/a.txt": POLYGON})
    assert convert().segments() == {"images/train/a.jpg": [("cat", 150, 0)]}


def test_a_gap_in_the_names_is_reported_and_no_class_moves(tmp_path, convert):
    names = {"1": "cat", "3": "dog"}
    export(tmp_path / "farm", ONE | {"names": names}, {"labels/train/a.txt": "3" + POLYGON[1:] + POLYGON + POLYGON})
    result = convert()
    assert result.segments() == {"images/train/a.jpg": [("dog", 150, 0)]}
    assert result.reasons() == {"class number not in 'names'": 2}
    assert "'names' has no class 0 (2 numbers are missing)" in result.warnings[0]


@pytest.mark.parametrize(
    "names", [{"cat": 0}, {0.5: "cat"}, {-1: "cat"}, {2**31: "cat"}, {0: "cat", "0": "dog"}, {}, "cat", None]
)
def test_names_that_are_no_classes(names, tmp_path, convert):
    export(tmp_path / "farm", ONE | {"names": names}, {"labels/train/a.txt": POLYGON})
    result = convert()
    assert result.status == 2
    assert "'names'" in result.error


@pytest.mark.parametrize("scale", [60, 100])
def test_coordinates_in_pixels_or_per_cent_are_an_error(scale, tmp_path, convert):
    values = " ".join(f"{float(word) * scale:g}" for word in POLYGON.split()[1:])
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": f"0 {values}\n"})
    result = convert()
    assert result.status == 2
    assert "1 of 1 annotations cannot be used: coordinates not between 0 and 1" in result.error
    assert "a.txt, line 1" in result.error
    assert not (tmp_path / "out/dataset.yaml").exists()


def test_a_polygon_a_little_outside_is_clipped_and_one_far_outside_is_dropped(tmp_path, convert):
    lines = ["0 -0.05 0 0.5 0 0.5 1.05 -0.05 1.05", "0 0.75 0 1.5 0 1.5 1 0.75 1", "0 0.5 0 0.75 0 0.75 1 0.5 1"]
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": "\n".join(lines)})
    result = convert()
    assert result.segments() == {"images/train/a.jpg": [("cat", 600, 0), ("cat", 1200, 0)]}
    assert result.reasons() == {"coordinates not between 0 and 1": 1}


def test_no_label_file_for_any_image_is_an_error(tmp_path, convert):
    export(tmp_path / "farm", ONE, {"images/train/a.txt": POLYGON})
    result = convert()
    assert result.status == 2
    assert "none of the 1 images of train has a label file" in result.error
    assert os.path.join("farm", "labels", "train", "a.txt") in result.error
    assert not (tmp_path / "out").exists()


def test_images_without_label_file_and_label_files_without_image_are_counted(tmp_path, convert):
    images = [f"images/train/{name}.jpg" for name in "abc"]
    labels = {"labels/train/a.txt": POLYGON, "labels/train/z.txt": POLYGON, "labels/train/classes.txt": "cat"}
    export(tmp_path / "farm", ONE, labels, images)
    result = convert()
    assert result.status == 0
    assert any(line.startswith("train: 2 of 3 images have no label file (first: ") for line in result.warnings)
    assert any(line.startswith("1 label files belong to no image of train or val") for line in result.warnings)
    assert any(line.startswith("train: 2 images without annotations (first: ") for line in result.warnings)
    assert result.splits["train"]["images_without_annotations"] == 2
    assert convert("--strict").status == 0


@pytest.mark.parametrize("name", ["._a.jpg", ".hidden/a.jpg", "__MACOSX/a.jpg", ".DS_Store"])
def test_hidden_files_are_skipped(name, tmp_path, convert):
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": POLYGON})
    write(tmp_path / "farm/images/train" / name, "not an image")
    assert convert().counts() == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("content", "folder"),
    [
        ({"train": "../train/images"}, "train"),
        ({"train": "..\\train\\images"}, "train"),
        ({"train": "train\\images"}, "train"),
        ({"train": "./train/images", "path": "../another/machine"}, "train"),
        ({"train": ["train/images"]}, "train"),
        ({"train": "images", "path": "sub"}, "sub"),
        ({"train": "sub\\images", "path": ".\\"}, "sub"),
    ],
)
def test_paths_as_ultralytics_reads_them(content, folder, tmp_path, convert):
    root = tmp_path / "farm"
    export(root, content | {"names": ["cat"]}, {f"{folder}/labels/a.txt": POLYGON}, [f"{folder}/images/a.JPG"])
    assert convert().counts() == (1, 1, 0, 0)


def test_absolute_paths_outside_the_folder_of_the_yaml(tmp_path, convert):
    content = {"train": str(tmp_path / "elsewhere/images"), "names": ["cat"]}
    export(tmp_path / "farm", content, {"../elsewhere/labels/a.txt": POLYGON}, ["../elsewhere/images/a.jpg"])
    assert convert().segments() == {"elsewhere/images/a.jpg": [("cat", 150, 0)]}


@pytest.mark.parametrize("key", ["val", "valid", "validation"])
def test_the_validation_split_has_three_names(key, tmp_path, convert):
    export(tmp_path / "farm", {key: "images", "names": ["cat"]}, {"labels/a.txt": POLYGON}, ["images/a.jpg"])
    assert convert().counts("val") == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "line", ["images/train/a.jpg", "./images/train/a.jpg", "images\\train\\a.jpg", "data/images/train/a.jpg"]
)
def test_lists_of_files(line, tmp_path, convert):
    export(tmp_path / "farm", ONE | {"train": "lists/train.txt"}, {"labels/train/a.txt": POLYGON})
    write(tmp_path / "farm/lists/train.txt", f"\ufeff{line}\r\n\r\n")
    assert convert().counts() == (1, 1, 0, 0)


def test_a_list_relative_to_itself(tmp_path, convert):
    export(
        tmp_path / "farm", ONE | {"train": "lists/train.txt"}, {"lists/labels/a.txt": POLYGON}, ["lists/images/a.jpg"]
    )
    write(tmp_path / "farm/lists/train.txt", "./images/a.jpg\n")
    assert convert().counts() == (1, 1, 0, 0)


def test_listed_images_that_are_missing(tmp_path, convert):
    export(
        tmp_path / "farm",
        ONE | {"train": "train.txt"},
        {"labels/a.txt": POLYGON, "labels/b.txt": POLYGON},
        ["images/a.jpg"],
    )
    write(tmp_path / "farm/train.txt", "images/a.jpg\nimages/b.jpg\n")
    assert "1 of 2 images cannot be used: missing image" in convert().error
    for name in "cd":
        image(tmp_path / f"farm/images/{name}.jpg")
        write(tmp_path / f"farm/labels/{name}.txt", POLYGON)
    write(tmp_path / "farm/train.txt", "".join(f"images/{name}.jpg\n" for name in "abcd"))
    result = convert("--strict")
    assert (result.status, result.counts(), result.reasons()) == (1, (4, 3, 0, 1), {"missing image": 1})


BAD_LINES = {
    "box instead of a polygon": "0 0.5 0.5 0.1 0.1",
    "class number not in 'names'": "7 0 0 0 1 1 1",
    "no class number with coordinates": "cat 0 0 0 1 1 1",
    "fewer than three points": "0 0 0",
    "coordinates that are not pairs of finite numbers": "0 0 0 0 1 1 1 0.9",
    "no pixel inside, thinner than a pixel": "0 0.1 0.1 0.101 0.1 0.101 0.101",
    "outside the image": "0 -0.09 0 -0.01 0 -0.01 1",
}


@pytest.mark.parametrize("reason", BAD_LINES)
def test_a_bad_line_is_dropped_and_the_others_stay(reason, tmp_path, convert):
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": f"{POLYGON}\n{BAD_LINES[reason]}\n"})
    result = convert()
    assert result.counts() == (2, 1, 0, 1)
    (loss,) = result.splits["train"]["counts"]["dropped"]
    assert (loss["reason"], loss["count"]) == (reason, 1)
    assert "a.txt, line 3" in loss["first"]
    assert convert("--strict").status == 1
    assert (tmp_path / "out/dataset.yaml").is_file()


@pytest.mark.parametrize(
    "line", ["nan 0 0 0 1 1 1", "inf 0 0 0 1 1 1", "0 nan 0 0 1 1 1", "0 0 0 0 1e999 1 1", "\ufffd 0 0 0"]
)
def test_numbers_that_are_none(line, tmp_path, convert):
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": f"{POLYGON}{line}\n{POLYGON}"})
    assert convert().counts() == (3, 1, 1, 1)


def test_a_detection_data_set_is_an_error(tmp_path, convert):
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": "0 0.5 0.5 0.1 0.1\n0 0.2 0.2 0.1 0.1\n"})
    assert "2 of 2 annotations cannot be used: box instead of a polygon" in convert().error


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_files_with_a_byte_order_mark(encoding, tmp_path, convert):
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": POLYGON})
    (tmp_path / "farm/labels/train/a.txt").write_bytes(POLYGON.encode(encoding))
    assert convert().counts() == (1, 1, 0, 0)


def test_a_label_file_that_cannot_be_read_is_skipped_and_reported(tmp_path, convert):
    names = "abc"
    labels = {f"labels/train/{name}.txt": POLYGON for name in names}
    export(tmp_path / "farm", ONE, labels, [f"images/train/{name}.jpg" for name in names])
    (tmp_path / "farm/labels/train/b.txt").write_bytes(b"0 \xff\xfe\n")
    result = convert()
    assert result.counts() == (2, 2, 0, 0)
    (skipped,) = result.splits["train"]["skipped_files"]
    assert "b.txt: is not a text file in UTF-8" in skipped["first"]


SCRIPT = """
import sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module=r"yoso\\.data\\.formats|yoso\\.apps\\.data_convert")
from yoso.apps.cli import main
sys.exit(main(["data", "convert", "yolo", "farm", "out", "--threads", "1"]))
"""


def test_no_file_is_read_in_the_encoding_of_the_locale(tmp_path):
    content = yaml.safe_dump({"train": "Bilder/train.txt", "names": ["Kühe", "山"]}, allow_unicode=True)
    export(tmp_path / "farm", "\ufeff" + content, {"labels/Grün.txt": POLYGON}, ["images/Grün.jpg"])
    write(tmp_path / "farm/Bilder/train.txt", "images/Grün.jpg\n")
    command = [sys.executable, "-X", "warn_default_encoding", "-W", "ignore", "-c", SCRIPT]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert "K\\u00fche" in (tmp_path / "out/panoptic_train.json").read_text(encoding="utf-8")


def test_an_output_inside_the_source_is_not_read_again(tmp_path, capsys):
    root = tmp_path / "farm"
    export(root, {"train": ".", "names": ["cat"]}, {"labels/a.txt": POLYGON}, ["images/a.jpg"])
    for _ in range(2):
        result = Conversion("yolo", root, root / "out", [], capsys)
        assert result.splits["train"]["images"] == 1


def test_one_image_with_two_endings_is_an_error(tmp_path, convert):
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": POLYGON}, ["images/train/a.jpg", "images/train/a.png"])
    result = convert()
    assert "data.yaml: two images of train are called images/train/a (images/train/a.jpg and" in result.error
    assert not (tmp_path / "out").exists()


def test_a_symbolic_link_to_an_image_is_followed(tmp_path, convert):
    export(tmp_path / "farm", ONE, {"labels/train/a.txt": POLYGON}, ["../store/1.jpg"])
    (tmp_path / "farm/images/train").mkdir(parents=True)
    (tmp_path / "farm/images/train/a.jpg").symlink_to(tmp_path / "store/1.jpg")
    assert convert().segments() == {"images/train/a.jpg": [("cat", 150, 0)]}


def test_two_classes_of_one_name_are_reported(tmp_path, convert):
    export(tmp_path / "farm", ONE | {"names": ["cat", "cat"]}, {"labels/train/a.txt": POLYGON})
    assert "2 classes are called 'cat'" in convert().warnings


def test_the_folder_holds_no_yaml(tmp_path, convert):
    yolo(tmp_path / "farm")
    (tmp_path / "farm/data.yaml").unlink()
    write(tmp_path / "farm/.hidden.yaml", "names: [cat]")
    assert "holds 0 YAML files" in convert().error
