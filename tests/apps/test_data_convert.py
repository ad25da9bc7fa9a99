"""Customary formats to COCO panoptic, through the command line: every pixel, and one fault at a time."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from broken_disks import FULL, READ_ONLY, assert_nothing_half_written, broken, fills_up
from yoso.apps.cli import main
from yoso.apps.data_convert import FORMAT_NAMES
from yoso.data.dataset import PanopticDataset
from yoso.data.formats.custom import FORMATS
from yoso.data.spec import load_spec

HEIGHT, WIDTH = 40, 60
SKY, COW, CALF = (0, 0, 10, 60), (12, 4, 36, 40), (20, 8, 30, 20)  # top, left, bottom, right; the calf lies on the cow


def corners(box):
    top, left, bottom, right = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def photograph(path, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def yolo(root):
    for split in ("train", "val"):
        for number in range(2):
            photograph(root / f"images/{split}/{number}.jpg")
            lines = []
            for index, box in ((1, SKY), (0, COW), (0, CALF)):
                numbers = [f"{x / WIDTH:.9f} {y / HEIGHT:.9f}" for x, y in corners(box)]
                lines.append(f"{index} {' '.join(numbers)}")
            write(root / f"labels/{split}/{number}.txt", "\n".join(lines) + "\n")
    content = {"path": ".", "train": "images/train", "val": "images/val", "names": {0: "cow", 1: "sky"}}
    write(root / "data.yaml", yaml.safe_dump(content))
    return ["--stuff", "sky"]


def coco(root):
    for split in ("train", "val"):
        images = [{"id": 7 + n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in range(2)]
        annotations, stuff = [], []
        for image in images:
            photograph(root / f"{split}2020" / image["file_name"])
            polygons = [[value for point in corners(box) for value in point] for box in (COW, CALF)]
            annotations += [
                {"id": n, "image_id": image["id"], "category_id": 4, "iscrowd": 0, "segmentation": [polygon]}
                for n, polygon in enumerate(polygons)
            ]
            runs = [0, *[10, 30] * 59, 10, 30]  # ten rows of sky at the top of each of sixty columns
            segmentation = {"size": [HEIGHT, WIDTH], "counts": runs}
            stuff.append({"id": 1, "image_id": image["id"], "category_id": 157, "segmentation": segmentation})
            stuff.append({"id": 2, "image_id": image["id"], "category_id": 183, "segmentation": segmentation})
        names = [{"id": 4, "name": "cow", "supercategory": "animal"}]
        write(root / f"annotations/instances_{split}2020.json", document(images, annotations, names))
        names = [{"id": 157, "name": "sky"}, {"id": 183, "name": "other"}]
        write(root / f"annotations/stuff_{split}2020.json", document(images, stuff, names))
    return []


def document(images, annotations, categories):
    return {"images": images, "annotations": annotations, "categories": categories}


def cityscapes(root):
    for split in ("train", "val"):
        for number in range(2):
            stem = f"{split}/farm/farm_{number}"
            photograph(root / f"leftImg8bit/{stem}_leftImg8bit.png")
            values = np.zeros((HEIGHT, WIDTH), np.uint16)
            for value, (top, left, bottom, right) in ((90, SKY), (60001, COW), (60002, CALF)):
                values[top:bottom, left:right] = value
            path = root / f"gtFine/{stem}_gtFine_instanceIds.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    write(root / "classes.json", [{"id": 60, "name": "cow", "isthing": 1}, {"id": 90, "name": "sky", "isthing": 0}])
    return ["--categories", str(root / "classes.json")]


def labelme(root):
    for split in ("train", "val"):
        for number in range(2):
            photograph(root / f"{split}/{number}.jpg")
            (top, left, bottom, right), middle = COW, 20
            parts = [(top, left, middle, right), (middle, left, bottom, right)]
            shapes = [{"label": "sky", "points": [[0, 0], [WIDTH, 10]], "shape_type": "rectangle", "group_id": None}]
            shapes += [
                {"label": "cow", "points": corners(part), "shape_type": "polygon", "group_id": 3} for part in parts
            ]
            shapes += [{"label": "cow", "points": corners(CALF), "group_id": None}]
            shapes += [{"label": "__ignore__", "points": corners(COW), "shape_type": "polygon"}]
            shapes += [{"label": "cow", "points": [[1, 1]], "shape_type": "point"}]
            content = {"version": "5.4.1", "imagePath": f"{number}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
            write(root / f"{split}/{number}.json", content | {"shapes": shapes, "imageData": None})
    return ["--stuff", "sky"]


BUILDERS = {"yolo": yolo, "coco": coco, "cityscapes": cityscapes, "labelme": labelme}


def test_the_names_on_the_command_line_are_those_of_the_readers():
    assert set(FORMAT_NAMES) == set(FORMATS) == set(BUILDERS)


def run(kind, root, output, options, capsys):
    status = main(["data", "convert", kind, str(root), str(output), "--threads", "1", *options])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_pixel(kind, tmp_path, capsys):
    options = BUILDERS[kind](tmp_path / "farm")
    status, out, err = run(kind, tmp_path / "farm", tmp_path / "out", options, capsys)
    assert status == 0
    assert [line for line in err if "passed over" not in line] == []
    assert len(err) == (kind == "labelme")
    assert "2 photographs" in out
    expected = np.zeros((HEIGHT, WIDTH), int)
    for number, (top, left, bottom, right) in enumerate((SKY, COW, CALF), 1):
        expected[top:bottom, left:right] = number
    for split in ("train", "val"):
        dataset = PanopticDataset(load_spec(tmp_path / "out/dataset.yaml").split(split))
        assert sorted(zip(dataset.categories.names, dataset.categories.is_thing, strict=True)) == [
            ("cow", True),
            ("sky", False),
        ]
        for index in range(2):
            example = dataset.example(index)
            for number, name in ((1, "sky"), (2, "cow"), (3, "cow")):
                (segment_id,) = np.unique(example.id_map[expected == number])
                assert ((example.id_map == segment_id) == (expected == number)).all()
                (segment,) = (segment for segment in example.segments if segment["id"] == segment_id)
                assert dataset.categories[dataset.categories.index_of(segment["category_id"])].name == name
            assert (example.id_map[expected == 0] == 0).all()
    assert main(["data", "check", str(tmp_path / "out/dataset.yaml")]) == 0
    assert run(kind, tmp_path / "farm", tmp_path / "out", [*options, "--json"], capsys)[0] == 0


def test_again_does_nothing_and_other_classes_do_it_again(tmp_path, capsys):
    options = yolo(tmp_path / "farm")
    made = []
    for words in (options, options, []):
        _, out, _ = run("yolo", tmp_path / "farm", tmp_path / "out", [*words, "--json"], capsys)
        made.append(json.loads(out[out.index("{") :])["splits"]["train"]["made"])
    assert made == [2, 0, 2]


def test_flat_labelme_folder_is_a_training_set(tmp_path, capsys):
    labelme(tmp_path / "farm")
    shutil.rmtree(tmp_path / "farm/val")
    assert run("labelme", tmp_path / "farm/train", tmp_path / "out", [], capsys)[0] == 0
    assert list(load_spec(tmp_path / "out/dataset.yaml").splits) == ["train"]


def test_yolo_lists_of_files_and_photographs_without_labels(tmp_path, capsys):
    root = tmp_path / "farm"
    yolo(root)
    (root / "labels/val/0.txt").unlink()
    write(root / "val.txt", "images/val/0.jpg\nimages/val/1.jpg\n")
    content = yaml.safe_load((root / "data.yaml").read_text()) | {"val": "val.txt", "names": ["cow", "sky"]}
    write(root / "mine.yaml", yaml.safe_dump(content))
    assert run("yolo", root / "mine.yaml", tmp_path / "out", [], capsys)[0] == 0
    dataset = PanopticDataset(load_spec(tmp_path / "out/dataset.yaml").split("val"))
    assert [len(dataset.example(index).segments) for index in range(2)] == [0, 3]


def edit(name, change):
    def fault(root):
        content = json.loads((root / name).read_text())
        change(content)
        write(root / name, content)

    return fault


def text(name, content):
    return lambda root: write(root / name, content)


def remove(name):
    def fault(root):
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()

    return fault


COCO = "annotations/instances_val2020.json"
FAULTS = {
    "yolo": [
        (remove("data.yaml"), ["holds 0 YAML files"]),
        (text("data.yaml", "a: ["), ["data.yaml", "is not a YAML file"]),
        (text("data.yaml", "train: images/train\n"), ["data.yaml", "'names'"]),
        (text("data.yaml", "names: [sky]\n"), ["neither train nor val"]),
        (text("data.yaml", "names: [sky]\ntrain: pictures\n"), ["pictures", "no such folder", "correct it"]),
        (text("labels/train/0.txt", "0 0.5 0.5 0.1 0.1\n"), ["0.txt, line 1", "is a box", "segmentation"]),
        (text("labels/train/0.txt", "\n9 0 0 0 1 1 1\n"), ["0.txt, line 2", "class 9", "none of the 2"]),
        (text("labels/train/0.txt", "cow 0 0 0 1 1 1\n"), ["0.txt, line 1", "no class number"]),
        (text("labels/train/0.txt", "0 0 0 0 1 1\n"), ["0.txt, line 1", "no polygon"]),
        (remove("labels/train/0.txt"), None),
        (lambda root: (root / "images/train/0.jpg").write_bytes(b""), ["0.jpg", "is empty"]),
        (lambda root: photograph(root / "images/train/0.png"), ["two photographs are called", "rename"]),
    ],
    "coco": [
        (remove("val2020"), ["no folder val2020", "put it there"]),
        (remove("val2020/1.jpg"), ["1.jpg is missing", "put it there"]),
        (remove("annotations"), ["neither train nor val"]),
        (text(COCO, "{"), [COCO, "is not a JSON file"]),
        (text(COCO, '{"images": []}'), [COCO, "'annotations'"]),
        (edit(COCO, lambda c: c["annotations"][0].pop("segmentation")), [COCO, "annotation 0", "masks, not boxes"]),
        (edit(COCO, lambda c: c["annotations"][0].update(category_id=5)), ["category 5", "not listed"]),
        (edit(COCO, lambda c: c["annotations"][0].update(segmentation=[[1, 2]])), [COCO, "annotation 0", "no polygon"]),
        (
            edit(COCO.replace("instances", "stuff"), lambda c: c["annotations"][0]["segmentation"].update(size=[1, 2])),
            ["stuff_val2020.json: annotation 1", "[1, 2]"],
        ),
        (lambda root: shutil.copy(root / COCO, root / "annotations/instances_val.json"), ["2 files of val"]),
        (edit(COCO, lambda c: c["images"][0].update(file_name="../../x.jpg")), ["x.jpg", "lies outside"]),
    ],
    "cityscapes": [
        (remove("gtFine/val"), ["no labels"]),
        (remove("classes.json"), ["classes.json", "no such file"]),
        (text("classes.json", '{"categories": [{"id": 1}]}'), ["classes.json", "'name'"]),
        (lambda root: photograph(root / "gtFine/val/farm/farm_0_gtFine_instanceIds.png"), ["farm_0", "16-bit"]),
    ],
    "labelme": [
        (text("train/0.json", "{"), ["0.json", "is not a JSON file"]),
        (text("train/0.json", '{"shapes": [{}]}'), ["0.json", "is not labelme's"]),
        (
            edit("train/0.json", lambda c: c["shapes"][0].update(points=[[1, 2]])),
            ["0.json: shape number 0", "no polygon"],
        ),
        (edit("train/0.json", lambda c: c.update(imageWidth=99)), ["0.json", "99x40", "60x40"]),
        (remove("train/1.jpg"), ["1.jpg is missing"]),
    ],
}
CASES = [
    pytest.param(kind, fault, words, id=f"{kind}-{number}")
    for kind, faults in FAULTS.items()
    for number, (fault, words) in enumerate(faults)
]


@pytest.mark.parametrize(("kind", "fault", "words"), CASES)
def test_one_fault(kind, fault, words, tmp_path, capsys):
    options = BUILDERS[kind](tmp_path / "farm")
    fault(tmp_path / "farm")
    status, _, err = run(kind, tmp_path / "farm", tmp_path / "out", options, capsys)
    if words is None:
        assert status == 0
        return
    assert status == 2
    assert len(err) == 1
    assert all(word in err[0] for word in words), err[0]
    assert_nothing_half_written(tmp_path / "out")
    assert not [path for path in tmp_path.rglob(".*") if path.suffix != ".journal"]


def is_picture(path, arguments):
    return "out" in path.parts


DISKS = {
    "full, at a picture": (Image.Image, "save", FULL, is_picture, [".png: ", "disk is full", "make room"]),
    "full, at the JSON": (Path, "open", FULL, lambda p, a: p.name.startswith(".panoptic_train"), ["disk is full"]),
    "full, at the YAML": (Path, "write_text", FULL, lambda p, a: p.suffix == ".yaml", ["dataset.yaml", "disk is full"]),
    "read-only": (Path, "mkdir", READ_ONLY, lambda p, a: "out" in p.parts, ["read-only", "write elsewhere"]),
}


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("kind", BUILDERS)
def test_a_target_that_cannot_be_written(kind, disk, tmp_path, capsys, monkeypatch):
    owner, method, error, when, words = DISKS[disk]
    options = BUILDERS[kind](tmp_path / "farm")
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, broken(getattr(owner, method), error, when))
        status, _, err = run(kind, tmp_path / "farm", tmp_path / "out", options, capsys)
    refused_and_then_done(kind, options, status, err, words, tmp_path, capsys)


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_disk_that_fills_up_while_the_journal_is_written(kind, tmp_path, capsys, monkeypatch):
    options = BUILDERS[kind](tmp_path / "farm")
    with monkeypatch.context() as patch:
        fills_up(patch, lambda path: path.name == ".train.journal")
        status, _, err = run(kind, tmp_path / "farm", tmp_path / "out", options, capsys)
    refused_and_then_done(kind, options, status, err, [".train.journal", "disk is full"], tmp_path, capsys)


def refused_and_then_done(kind, options, status, err, words, folder, capsys):
    assert status == 2
    lines = [line for line in err if "passed over" not in line]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]
    assert_nothing_half_written(folder / "out")
    assert run(kind, folder / "farm", folder / "out", options, capsys)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["yolov8", "farm", "out"], "Did you mean 'yolo'?"),
        (["yolo", "frm", "out"], "frm: no such file or folder"),
        (["yolo", "farm"], "OUT"),
        (["yolo", "farm", "farm"], "holds files that"),
        (["yolo", "farm", "out", "--stuff", "sku"], "Did you mean 'sky'?"),
        (["yolo", "farm", "out", "--categories", "x.json"], "names its own classes"),
        (["cityscapes", "farm", "out", "--stuff", "sky"], "say what is stuff"),
        (["coco", "cows", "out", "--stuff", "grass"], "no such class"),
    ],
)
def test_slips(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yolo(tmp_path / "farm")
    coco(tmp_path / "cows")
    assert main(["data", "convert", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
