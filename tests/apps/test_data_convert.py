"""Other formats to COCO panoptic, through the command line: every pixel, and one fault at a time."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from broken_disks import FULL, READ_ONLY, assert_nothing_half_written, broken, fills_up
from small_exports import BUILDERS, CALF, COW, HEIGHT, SKY, WIDTH, coco, image, labelme, write, yolo
from yoso.apps.cli import main
from yoso.apps.data_convert import FORMAT_NAMES
from yoso.data.dataset import PanopticDataset
from yoso.data.formats.conversion import FORMATS
from yoso.data.spec import load_spec


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
    assert err == []
    assert "2 images" in out
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


def test_yolo_lists_of_files_and_images_without_labels(tmp_path, capsys):
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
        (text("data.yaml", "- a"), ["data.yaml", "'names'"]),
        (text("data.yaml", "train: images/train\n"), ["data.yaml", "'names'"]),
        (text("data.yaml", "names: [sky]\n"), ["neither train nor val"]),
        (text("data.yaml", "names: [sky]\ntrain: pictures\n"), ["pictures", "does not exist", "correct"]),
        (remove("labels/train"), ["data.yaml", "none of the 2 images of train", "labels/train/0.txt"]),
        (
            lambda root: (root / "images/train/0.jpg").write_bytes(b""),
            ["data.yaml", "1 of 2 images", "0.jpg: is emp"],
        ),
        (lambda root: image(root / "images/train/0.png"), ["two images of train are called", "rename"]),
    ],
    "coco": [
        (remove("val2020"), [COCO, "none of its 2 images was found", "--images val=FOLDER"]),
        (remove("val2020/1.jpg"), [COCO, "1 of 2 images", "missing image", "1.jpg"]),
        (remove("annotations"), ["neither train nor val"]),
        (text(COCO, "{"), [COCO, "is not a JSON file"]),
        (text(COCO, "[]"), [COCO, "'images'"]),
        (text(COCO, '{"images": [{"id": 1, "file_name": "a"}]}'), [COCO, "'annotations'"]),
        (edit(COCO, lambda c: c.update(images=[])), [COCO, "its list 'images' is empty"]),
        (edit(COCO, lambda c: c["categories"].clear()), [COCO, "its list 'categories' is empty"]),
        (lambda root: shutil.copy(root / COCO, root / "annotations/instances_val.json"), ["2 JSON files", "for val"]),
        (edit(COCO, lambda c: c["images"][0].update(file_name="../../x.jpg")), [COCO, "1 of 2 images", "x.jpg"]),
    ],
    "cityscapes": [
        (remove("gtFine/val"), ["leftImg8bit/val", "2 of 2 images", "image without labels"]),
        (remove("classes.json"), ["classes.json", "no such file"]),
        (text("classes.json", '{"categories": [{"id": 1}]}'), ["classes.json", "'name'"]),
        (lambda root: image(root / "gtFine/val/farm/farm_0_gtFine_instanceIds.png"), ["farm_0", "16-bit"]),
    ],
    "labelme": [
        (text("train/0.json", "{"), ["1 of 2 images", "0.json: is not a JSON file"]),
        (text("train/0.json", "[]"), ["1 of 2 images", "0.json: is not a JSON of labelme"]),
        (edit("train/0.json", lambda c: c.update(imageWidth=99)), ["0.json", "99x40", "60x40"]),
        (remove("train/1.jpg"), ["1 of 2 images", "missing image", "1.jpg", "1.json"]),
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
    assert len(err) == 1
    assert all(word in err[0] for word in words), err[0]
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
        (["yolo", "farm", "out", "--images", "x"], "--images x: is for coco only"),
        (["labelme", "farm", "out", "--annotations", "x.json"], "--annotations x.json: is for coco only"),
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
