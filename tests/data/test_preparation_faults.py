"""Every reader, given its tree with one fault: one line with file and remedy, and nothing half-written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from broken_disks import FULL, READ_ONLY, assert_nothing_half_written, broken, fills_up
from yoso.apps.cli import main

COCO_JSON = "annotations/panoptic_{}2017.json"
CITY = "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png"
CITY_PHOTO = "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
ADE = "ADEChallengeData2016/annotations/training/ADE_train_00000001.png"
ADE_OBJECTS = "annotations_instance/training/ADE_train_00000001.png"
ADE_PHOTO = "ADEChallengeData2016/images/training/ADE_train_00000001.jpg"
VISTAS = "training/instances/a000_-Qxyyyyyyyyyyyyyyyy.png"
VISTAS_JSON = "training/panoptic/panoptic_2018.json"
VISTAS_PHOTO = "training/images/a000_-Qxyyyyyyyyyyyyyyyy.jpg"
VISTAS_V2 = "training/v2.0/instances/a000_-Qxyyyyyyyyyyyyyyyy.png"


def remove(name):
    def fault(root):
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return fault


def cut(name, share=0.5):
    def fault(root):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(len(data) * share)])

    return fault


def copy(source, target):
    return lambda root: shutil.copyfile(root / source, root / target)


def swap(one, other):
    def fault(root):
        (root / one).rename(root / "between")
        (root / other).rename(root / one)
        (root / "between").rename(root / other)

    return fault


def paint(name, value, place=slice(0, 3), dtype=None):
    """Set some pixels of a label map, or bring all of it to another type."""

    def fault(root):
        array = np.array(Image.open(root / name))
        array[place, :3] = value
        Image.fromarray(array if dtype is None else array.astype(dtype)).save(root / name)

    return fault


def shrink(name):
    def fault(root):
        with Image.open(root / name) as image:
            smaller = image.resize((20, 10), Image.Resampling.NEAREST)
        smaller.save(root / name)

    return fault


def mode(name, wanted):
    def fault(root):
        with Image.open(root / name) as image:
            other = image.convert(wanted)
        other.save(root / name)

    return fault


def edit(name, change):
    def fault(root):
        content = json.loads((root / name).read_text())
        change(content)
        (root / name).write_text(json.dumps(content))

    return fault


def both(*faults):
    def fault(root):
        for one in faults:
            one(root)

    return fault


def flip_bytes(name):
    """Damage the first member of an archive, not its table of contents."""

    def fault(root):
        data = bytearray((root / name).read_bytes())
        start = data.index(b"\xff\xd8") if b"\xff\xd8" in data else 200
        for place in range(start + 100, start + 200):
            data[place] ^= 255
        (root / name).write_bytes(data)

    return fault


def unknown_category(content):
    content["annotations"][0]["segments_info"][0]["category_id"] = 999


def another_kind(content):
    content["categories"][0]["isthing"] = 0


def one_class_more(content):
    content["categories"].append({"id": 777, "name": "unicorn", "isthing": 1})


INSTANCES_ONLY = both(remove("training/panoptic"), remove("validation/panoptic"))

FAULTS = {
    "coco": [
        (remove("train2017"), ["train2017", "put train2017.zip there"]),
        (remove("val2017"), ["val2017", "put val2017.zip there"]),
        (remove("train2017/000000000139.jpg"), ["1 of 3", "000000000139.jpg", "unpack"]),
        (remove("annotations/panoptic_val2017/000000001139.png"), ["1 of 2", "000000001139.png", "unpack"]),
        (remove("annotations/panoptic_train2017"), ["panoptic_train2017", "panoptic_annotations_trainval2017.zip"]),
        (remove(COCO_JSON.format("train")), ["panoptic_train2017.json", "panoptic_annotations_trainval2017.zip"]),
        (cut(COCO_JSON.format("train")), ["panoptic_train2017.json", "is not a JSON file"]),
        (edit(COCO_JSON.format("val"), lambda c: c.pop("categories")), ["panoptic_val2017.json", "'categories'"]),
        (edit(COCO_JSON.format("train"), unknown_category), ["panoptic_train2017.json", "category 999"]),
        (edit(COCO_JSON.format("train"), another_kind), ["another data set", "'person'", "official archive"]),
        (edit(COCO_JSON.format("train"), lambda c: c["categories"].pop(0)), ["panoptic_train2017.json", "category 1"]),
        (edit(COCO_JSON.format("val"), one_class_more), ["another data set", "777"]),
        (copy(COCO_JSON.format("val"), COCO_JSON.format("train")), ["panoptic_train2017.json", "swapped"]),
        (swap("train2017", "val2017"), ["panoptic_train2017.json", "swapped"]),
        (cut("annotations/panoptic_train2017/000000000139.png"), ["000000000139.png", "damaged", "replace"]),
        (cut("train2017/000000000139.jpg"), ["000000000139.jpg", "damaged", "replace"]),
        (cut("train2017/000000000139.jpg", 0), ["000000000139.jpg", "is empty", "replace"]),
        (mode("annotations/panoptic_val2017/000000001139.png", "L"), ["000000001139.png", "is RGB", "this one is L"]),
        (shrink("annotations/panoptic_train2017/000000000139.png"), ["000000000139.png", "20x10", "64x48", "unpack"]),
        (shrink("train2017/000000000146.jpg"), ["000000000146.jpg", "20x10", "unpack"]),
    ],
    "coco zipped": [
        (cut("train2017.zip"), ["train2017.zip is damaged", "download it again"]),
        (flip_bytes("val2017.zip"), ["val2017.zip/val2017/000000001139.jpg", "damaged", "download it again"]),
        (remove("val2017.zip"), ["val2017", "put val2017.zip there"]),
        (remove("panoptic_annotations_trainval2017.zip"), ["put panoptic_annotations_trainval2017.zip there"]),
        (cut("panoptic_annotations_trainval2017.zip"), ["panoptic_annotations_trainval2017.zip is damaged"]),
    ],
    "cityscapes": [
        (remove("gtFine"), ["gtFine/train", "put gtFine_trainvaltest.zip there"]),
        (remove("leftImg8bit/val"), ["leftImg8bit/val", "put leftImg8bit_trainvaltest.zip there"]),
        (remove(CITY), [CITY_PHOTO, "no labels", "unpack gtFine"]),
        (remove(CITY_PHOTO), [CITY, "no image", "unpack"]),
        (both(swap("gtFine/train", "gtFine/val"), swap("leftImg8bit/train", "leftImg8bit/val")), ["swapped", "unpack"]),
        (swap("gtFine/train", "gtFine/val"), ["frankfurt", "swapped"]),
        (cut(CITY), [CITY, "damaged", "replace"]),
        (cut(CITY_PHOTO), [CITY_PHOTO, "damaged", "replace"]),
        (copy(CITY.replace("instanceIds", "labelIds"), CITY), [CITY, "16-bit", "use the file"]),
        (copy(CITY.replace("instanceIds", "color"), CITY), [CITY, "16-bit", "use the file"]),
        (paint(CITY, 60_000), [CITY, "60000", "not a Cityscapes label"]),
        (paint(CITY, 255), [CITY, "255", "not a Cityscapes label"]),
        (shrink(CITY), [CITY, "20x10", "64x48"]),
    ],
    "cityscapes zipped": [
        (cut("gtFine_trainvaltest.zip"), ["gtFine_trainvaltest.zip is damaged", "download it again"]),
        (cut("leftImg8bit_trainvaltest.zip", 0), ["leftImg8bit_trainvaltest.zip is damaged"]),
    ],
    "ade20k": [
        (remove("annotations_instance"), ["annotations_instance/training", "put annotations_instance.tar"]),
        (remove("ADEChallengeData2016/images"), ["images/training", "put ADEChallengeData2016.zip there"]),
        (remove("ADEChallengeData2016/annotations"), ["annotations/training", "put ADEChallengeData2016.zip there"]),
        (remove(ADE), [ADE_PHOTO, "no labels", "unpack ADEChallengeData2016.zip"]),
        (remove(ADE_OBJECTS), [ADE_PHOTO, "no labels", "unpack annotations_instance.tar"]),
        (remove(ADE_PHOTO), ["ADE_train_00000001.png", "no image", "unpack"]),
        (swap("annotations_instance/training", "annotations_instance/validation"), ["ADE_val_", "not a file of train"]),
        (paint(ADE, 200), [ADE, "200", "150 classes"]),
        (paint(ADE_OBJECTS, [120, 3, 0]), [ADE_OBJECTS, "red 120", "100 thing classes"]),
        (paint(ADE_OBJECTS, [0, 3, 0]), [ADE_OBJECTS, "red 0", "100 thing classes"]),
        (mode(ADE_OBJECTS, "L"), [ADE_OBJECTS, "red and green", "use the file"]),
        (mode(ADE, "RGB"), [ADE, "8-bit", "use the file"]),
        (mode(ADE, "1"), [ADE, "mode 1", "use the original file"]),
        (shrink(ADE), [ADE_OBJECTS, "64x48", "20x10", "unpack"]),
        (shrink(ADE_PHOTO), [ADE_PHOTO, "20x10", "unpack"]),
        (cut(ADE), [ADE, "damaged", "replace"]),
        (cut(ADE_PHOTO, 0.8), [ADE_PHOTO, "damaged", "replace"]),
    ],
    "ade20k zipped": [(cut("ADEChallengeData2016.zip"), ["ADEChallengeData2016.zip is damaged", "download it again"])],
    "mapillary": [
        (remove("training/images"), ["training/images", "put the archive"]),
        (both(INSTANCES_ONLY, remove("training/instances")), ["training has neither", "put the archive"]),
        (cut(VISTAS_JSON), [VISTAS_JSON, "is not a JSON file"]),
        (edit(VISTAS_JSON, another_kind), [VISTAS_JSON, "another data set", "'Bird'"]),
        (edit(VISTAS_JSON, unknown_category), [VISTAS_JSON, "category 999"]),
        (copy(VISTAS_JSON.replace("training", "validation"), VISTAS_JSON), [VISTAS_JSON, "swapped"]),
        (remove(VISTAS.replace("instances", "panoptic")), [VISTAS_JSON, "1 of 3", "panoptic PNG"]),
        (both(INSTANCES_ONLY, mode(VISTAS, "L")), [VISTAS, "16-bit", "not of labels/"]),
        (both(INSTANCES_ONLY, paint(VISTAS, 66 * 256)), [VISTAS, "label 66", "this version"]),
        (both(INSTANCES_ONLY, cut(VISTAS)), [VISTAS, "damaged", "replace"]),
        (both(INSTANCES_ONLY, remove(VISTAS)), ["a000_", "no labels", "unpack"]),
        (shrink(VISTAS.replace("instances", "panoptic")), ["panoptic/a000_", "20x10", "64x48", "unpack"]),
        (shrink(VISTAS_PHOTO), [VISTAS_PHOTO, "20x10", "64x48", "unpack"]),
        (both(INSTANCES_ONLY, shrink(VISTAS)), [VISTAS, "20x10", "64x48", "unpack"]),
        (edit("config.json", lambda c: c["labels"].pop(3)), ["config.json", "65 classes", "version 2.0"]),
        (edit("config.json", lambda c: c.pop("labels")), ["config.json", "not a configuration", "unpack"]),
        (cut("config.json"), ["config.json", "is not a JSON file"]),
    ],
    "mapillary zipped": [(cut("vistas.zip"), ["vistas.zip is damaged", "download it again"])],
    "mapillary_v2": [
        (lambda root: None, ["config_v2.0.json", "put the archive of Mapillary Vistas 2.0 there"]),
        (lambda root: (root / "config_v2.0.json").write_text("[]"), ["config_v2.0.json", "not a configuration"]),
    ],
    "mapillary_v2 2.0": [
        (cut("config_v2.0.json"), ["config_v2.0.json", "is not a JSON file"]),
        (remove("training/images"), ["training/images", "put the archive"]),
        (remove("training/v2.0"), ["training has neither", "put the archive"]),
        (remove(VISTAS_V2), [VISTAS_PHOTO, "no labels", "unpack"]),
        (remove(VISTAS_PHOTO), [VISTAS_V2, "no image", "unpack"]),
        (cut(VISTAS_V2), [VISTAS_V2, "damaged", "replace"]),
        (mode(VISTAS_V2, "L"), [VISTAS_V2, "16-bit", "not of labels/"]),
        (paint(VISTAS_V2, 124 * 256), [VISTAS_V2, "label 124", "not one of the 124", "this version"]),
        (shrink(VISTAS_V2), [VISTAS_V2, "20x10", "64x48", "unpack"]),
        (copy("config_v1.2.json", "config_v2.0.json"), ["v2.0/instances", "not one of the 66", "this version"]),
    ],
    "mapillary 2.0": [
        (copy("config_v2.0.json", "config_v1.2.json"), ["config_v1.2.json", "65 classes", "version 2.0"]),
        (cut("training/v1.2/panoptic/panoptic_2018.json"), ["panoptic_2018.json", "is not a JSON file"]),
    ],
}
CASES = [
    pytest.param(kind, fault, words, id=f"{kind}-{number}")
    for kind, faults in FAULTS.items()
    for number, (fault, words) in enumerate(faults)
]


@pytest.fixture(scope="module")
def trees(plant, tmp_path_factory):
    """Return a function that copies a tree without fault; each is made once."""
    made = {}

    def fresh(kind, target):
        if kind not in made:
            name, _, form = kind.partition(" ")
            made[kind] = tmp_path_factory.mktemp("tree") / "root"
            options = {"layout": form} if form == "2.0" else {"zipped": form == "zipped"}
            plant(name.removesuffix("_v2"), made[kind], **options)
        return shutil.copytree(made[kind], target)

    return fresh


def run(name, root, output, capsys):
    status = main(["data", "prepare", name, "--root", str(root), "--output", str(output), "--threads", "1"])
    return status, capsys.readouterr().err.splitlines()


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_are_many():
    assert len(CASES) >= 80


@pytest.mark.parametrize(("kind", "fault", "words"), CASES)
def test_one_fault(trees, tmp_path, capsys, kind, fault, words):
    root = trees(kind, tmp_path / "root")
    fault(root)
    before = files_of(root)
    status, err = run(kind.split()[0], root, tmp_path / "out", capsys)
    assert status == 2
    assert len(err) == 1
    assert all(word in err[0] for word in words), err[0]
    assert files_of(root) == before
    assert_nothing_half_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "owner", "method", "error", "when", "words"),
    [
        ("cityscapes", Image.Image, "save", FULL, lambda p, a: "panoptic" in str(p), ["disk is full", "make room"]),
        ("cityscapes", Path, "write_text", FULL, lambda p, a: "journal" in p.name, ["disk is full", "make room"]),
        ("cityscapes", Path, "open", FULL, lambda p, a: p.name.startswith(".panoptic_train"), ["disk is full"]),
        ("cityscapes", Path, "write_text", FULL, lambda p, a: p.suffix == ".yaml", ["cityscapes.yaml", "disk is full"]),
        ("cityscapes", Path, "mkdir", READ_ONLY, lambda p, a: "out" in p.parts, ["read-only", "write elsewhere"]),
        ("cityscapes zipped", Path, "write_bytes", FULL, lambda p, a: True, ["leftImg8bit.png", "disk is full"]),
        ("ade20k", Image.Image, "save", FULL, lambda p, a: "panoptic" in str(p), ["ADE_train_", "disk is full"]),
        ("ade20k", Path, "open", FULL, lambda p, a: p.name.startswith(".panoptic_val"), ["disk is full", "make room"]),
        ("ade20k zipped", Path, "write_bytes", FULL, lambda p, a: True, ["ADE_train_", ".jpg", "disk is full"]),
        ("ade20k", Path, "mkdir", READ_ONLY, lambda p, a: "out" in p.parts, ["read-only", "write elsewhere"]),
        ("coco", Path, "mkdir", READ_ONLY, lambda p, a: "out" in p.parts, ["read-only", "write elsewhere"]),
        ("coco", Path, "write_text", FULL, lambda p, a: "journal" in p.name, [".train.journal", "disk is full"]),
        ("coco", Path, "write_text", FULL, lambda p, a: p.suffix == ".yaml", ["coco.yaml", "disk is full"]),
        ("coco zipped", Path, "mkdir", READ_ONLY, lambda p, a: "out" in p.parts, ["read-only", "write elsewhere"]),
        ("coco zipped", Path, "write_text", FULL, lambda p, a: p.suffix == ".json", ["disk is full", "make room"]),
        ("mapillary", Path, "open", READ_ONLY, lambda p, a: a[:1] == ("xb",), ["read-only", "write elsewhere"]),
        ("mapillary", Path, "write_text", FULL, lambda p, a: p.name.startswith(".prepared"), ["disk is full"]),
        ("mapillary zipped", Path, "write_bytes", FULL, lambda p, a: "val" in p.parts, ["images/val", "disk is full"]),
        ("mapillary_v2 2.0", Image.Image, "save", FULL, lambda p, a: "panoptic" in str(p), ["a000_", "disk is full"]),
        ("mapillary_v2 2.0", Path, "mkdir", READ_ONLY, lambda p, a: "out" in p.parts, ["read-only", "write elsewhere"]),
    ],
)
def test_a_target_that_cannot_be_written(trees, tmp_path, capsys, monkeypatch, kind, owner, method, error, when, words):
    root = trees(kind, tmp_path / "root")
    before = files_of(root)
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, broken(getattr(owner, method), error, when))
        status, err = run(kind.split()[0], root, tmp_path / "out", capsys)
    assert status == 2
    assert len(err) == 1
    assert all(word in err[0] for word in words), err[0]
    assert files_of(root) == before
    assert_nothing_half_written(tmp_path / "out")
    status, err = run(kind.split()[0], root, tmp_path / "out", capsys)
    assert (status, [line for line in err if not line.startswith("warning")]) == (0, [])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("cityscapes", ".train.journal"),
        ("coco", ".val.journal"),
        ("ade20k", "panoptic_train"),
        ("mapillary", ".train.journal"),
        ("coco zipped", "annotations-panoptic_train2017"),
    ],
)
def test_a_disk_that_fills_up_while_a_file_is_written(trees, tmp_path, capsys, monkeypatch, kind, name):
    root = trees(kind, tmp_path / "root")
    with monkeypatch.context() as patch:
        fills_up(patch, lambda path: "out" in path.parts and path.name.lstrip(".").startswith(name.lstrip(".")))
        status, err = run(kind.split()[0], root, tmp_path / "out", capsys)
    assert status == 2
    assert len(err) == 1
    assert all(word in err[0] for word in (name, "disk is full", "make room")), err[0]
    assert_nothing_half_written(tmp_path / "out")
    assert run(kind.split()[0], root, tmp_path / "out", capsys)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cocoa", "--root", "R"], "Did you mean 'coco'?"),
        (["coco", "--root", "nowhere"], "--root nowhere: is not a folder"),
        (["coco", "--root", "R/config.json"], "is not a folder"),
        (["mapillary"], "--root"),
        (["mapillary", "--root", "R", "--threads", "-1"], "--threads -1"),
        (["mapillary", "--root", "R", "--split", "test"], "--split"),
        (["mapillary", "--root", "R", "--output", "R/config.json"], "config.json"),
    ],
)
def test_slips(trees, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    trees("mapillary", tmp_path / "R")
    assert main(["data", "prepare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["R"]
