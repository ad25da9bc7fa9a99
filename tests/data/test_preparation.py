"""Benchmarks from their downloads to COCO panoptic: every pixel, every way the files may lie."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import yaml
from miniature_trees import COUNTS, WORDS

from yoso.data.dataset import PanopticDataset
from yoso.data.doctor import check_split
from yoso.data.formats.archive import open_tree
from yoso.data.formats.benchmarks import BENCHMARKS, plan_benchmark
from yoso.data.formats.preparation import STAMP, OutputLayout, write_dataset
from yoso.data.spec import load_spec
from yoso.errors import OutputError
from yoso.files import read_json

NAMES = ("coco", "cityscapes", "ade20k", "mapillary")


def prepared(name, root, output, splits=("train", "val"), **options):
    layout = OutputLayout(output / f"{name}.yaml", output / f"{name}_prepared")
    with open_tree(root, output / ".unpacked") as tree:
        return write_dataset(plan_benchmark(name, tree, list(splits)), layout, threads=2, **options)


def assert_true(dataset, split, truths, void):
    """Every region of the truth is one segment: its pixels, its class, its crowd; nothing else is there."""
    assert len(dataset) == COUNTS[split]
    for index in range(len(dataset)):
        example = dataset.example(index)
        stem = example.record.file_name.split("/")[-1].split(".")[0].removesuffix("_leftImg8bit")
        truth = truths[split, stem]
        expected = np.zeros(example.id_map.shape, bool)
        segments = {segment["id"]: segment for segment in example.segments}
        for place, region in enumerate(truth.regions):
            mask = truth.owner == place
            if region.label == void or not mask.any():
                continue
            expected |= mask
            (segment_id,) = np.unique(example.id_map[mask])
            assert ((example.id_map == segment_id) == mask).all()
            segment = segments.pop(int(segment_id))
            assert dataset.categories[dataset.categories.index_of(segment["category_id"])].name == region.label
            assert segment["iscrowd"] == (region.number < 0)
        assert segments == {}
        assert ((example.id_map > 0) == expected).all()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_pixel(plant, tmp_path, name, zipped):
    truths = plant(name, tmp_path / "root", zipped)
    before = {path: path.read_bytes() for path in (tmp_path / "root").rglob("*") if path.is_file()}
    parts = prepared(name, tmp_path / "root", tmp_path / "out")
    assert [(part.name, part.images, part.made) for part in parts] == [("train", 3, 3), ("val", 2, 2)]
    assert {path: path.read_bytes() for path in (tmp_path / "root").rglob("*") if path.is_file()} == before
    spec = load_spec(tmp_path / "out" / f"{name}.yaml")
    for split in COUNTS:
        assert_true(PanopticDataset(spec.split(split)), split, truths, WORDS[name].void)
        report = check_split(spec.split(split))
        assert report.findings == []
        assert sum(row.segments for row in report.classes) == sum(row.segments for row in parts[split == "val"].classes)
    assert not list(tmp_path.rglob(".unpacked"))
    if not zipped:
        assert not (tmp_path / "out" / f"{name}_prepared" / "images").exists()


def test_mapillary_from_instances(plant, tmp_path):
    truths = plant("mapillary", tmp_path / "root")
    for split in ("training", "validation"):
        shutil.rmtree(tmp_path / "root" / split / "panoptic")
    prepared("mapillary", tmp_path / "root", tmp_path / "out")
    spec = load_spec(tmp_path / "out/mapillary.yaml")
    for split in COUNTS:
        dataset = PanopticDataset(spec.split(split))
        assert sum(dataset.categories.is_thing) == 37
        assert_true(dataset, split, truths, "Unlabeled")


@pytest.mark.parametrize("name", ["mapillary", "mapillary_v2"])
def test_mapillary_as_the_later_archive_has_it(plant, tmp_path, name):
    truths = plant("mapillary", tmp_path / "root", layout="2.0")
    prepared(name, tmp_path / "root", tmp_path / "out")
    spec = load_spec(tmp_path / "out" / f"{name}.yaml")
    dataset = PanopticDataset(spec.split("val"))
    things = sum(dataset.categories.is_thing)
    assert (things, len(dataset.categories) - things) == ((37, 28) if name == "mapillary" else (70, 46))
    assert_true(dataset, "val", truths, "Unlabeled")


def test_mapillary_json_with_other_names_and_a_void_class_is_written_anew(plant, tmp_path):
    truths = plant("mapillary", tmp_path / "root")
    path = tmp_path / "root/validation/panoptic/panoptic_2018.json"
    content = read_json(path)
    for category in content["categories"]:
        category["name"] = f"some--{category['name'].lower()}"
    content["categories"].append({"id": 66, "name": "void--unlabeled", "isthing": 0, "color": [0, 0, 0]})
    path.write_text(json.dumps(content))
    prepared("mapillary", tmp_path / "root", tmp_path / "out", ["val"])
    split = load_spec(tmp_path / "out/mapillary.yaml").split("val")
    assert split.annotations.resolve() == tmp_path / "out/mapillary_prepared/panoptic_val.json"
    dataset = PanopticDataset(split)
    assert dataset.categories.names[0] == "Bird"
    assert_true(dataset, "val", truths, "Unlabeled")


def test_where_folders_may_lie(plant, tmp_path):
    """ADE20K unpacked with the instances beside it or in it; one's root or the folder above; COCO's outer zip only."""
    truths = plant("ade20k", tmp_path / "root")
    shutil.move(tmp_path / "root/annotations_instance", tmp_path / "root/ADEChallengeData2016/annotations_instance")
    for number, root in enumerate((tmp_path / "root", tmp_path / "root/ADEChallengeData2016")):
        prepared("ade20k", root, tmp_path / str(number), ["val"])
        dataset = PanopticDataset(load_spec(tmp_path / str(number) / "ade20k.yaml").split("val"))
        assert_true(dataset, "val", truths, "")
    truths = plant("coco", tmp_path / "coco", zipped=True)
    shutil.unpack_archive(tmp_path / "coco/panoptic_annotations_trainval2017.zip", tmp_path / "coco")
    (tmp_path / "coco/panoptic_annotations_trainval2017.zip").unlink()
    prepared("coco", tmp_path / "coco", tmp_path / "2", ["val"])
    assert_true(PanopticDataset(load_spec(tmp_path / "2/coco.yaml").split("val")), "val", truths, "")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_again_does_nothing_and_a_changed_file_is_done_again(plant, tmp_path, name, zipped):
    plant(name, tmp_path / "root", zipped)
    prepared(name, tmp_path / "root", tmp_path / "out")
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    times = {path: path.stat().st_mtime_ns for path in files if path.suffix in {".jpg", ".png"}}
    parts = prepared(name, tmp_path / "root", tmp_path / "out")
    assert [part.made for part in parts] == [0, 0]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files
    assert {path: path.read_bytes() for path in files} == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    if zipped:
        change_a_member(tmp_path / "root" / PHOTOGRAPHS_OF_VAL[name])
    else:
        photograph = next(
            path
            for path in files
            if ("root" in path.parts and "val" in str(path) and path.suffix == ".jpg")
            or (path.name.startswith("frankfurt") and path.name.endswith("leftImg8bit.png"))
        )
        photograph.write_bytes(photograph.read_bytes() + b"\0")
    assert [part.made for part in prepared(name, tmp_path / "root", tmp_path / "out")] == [0, 1]


PHOTOGRAPHS_OF_VAL = {
    "coco": "val2017.zip",
    "cityscapes": "leftImg8bit_trainvaltest.zip",
    "ade20k": "ADEChallengeData2016.zip",
    "mapillary": "vistas.zip",
}


def change_a_member(archive):
    """Write an archive anew with one photograph of val that is a byte longer."""
    with zipfile.ZipFile(archive) as source:
        members = {info: source.read(info) for info in source.infolist()}
    endings = ("leftImg8bit.png", ".jpg")
    members[next(i for i in members if "val" in i.filename and i.filename.endswith(endings))] += b"\0"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for info, content in members.items():
            target.writestr(info, content)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_interrupted_run_goes_on_where_it_stopped(plant, tmp_path, zipped):
    truths = plant("cityscapes", tmp_path / "root", zipped)

    def stop(split, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared("cityscapes", tmp_path / "root", tmp_path / "out", on_progress=stop)
    assert not (tmp_path / "out/cityscapes.yaml").exists()
    journal = tmp_path / "out/cityscapes_prepared/.train.journal"
    journal.write_text(journal.read_text() + '["aachen/torn')
    train, val = prepared("cityscapes", tmp_path / "root", tmp_path / "out")
    assert (train.images, val.images) == (3, 2)
    assert (train.made, val.made) == (1, 2)
    dataset = PanopticDataset(load_spec(tmp_path / "out/cityscapes.yaml").split("train"))
    assert_true(dataset, "train", truths, "ego vehicle")


def test_splits_one_after_the_other(plant, tmp_path):
    plant("ade20k", tmp_path / "root")
    prepared("ade20k", tmp_path / "root", tmp_path / "out", ["val"])
    assert list(load_spec(tmp_path / "out/ade20k.yaml").splits) == ["val"]
    prepared("ade20k", tmp_path / "root", tmp_path / "out", ["train"])
    assert list(load_spec(tmp_path / "out/ade20k.yaml").splits) == ["train", "val"]


def test_what_lies_in_the_output_can_move_with_it(plant, tmp_path):
    truths = plant("cityscapes", tmp_path / "root", zipped=True)
    prepared("cityscapes", tmp_path / "root", tmp_path / "out")
    content = yaml.safe_load((tmp_path / "out/cityscapes.yaml").read_text())
    assert content["val"]["images"] == "cityscapes_prepared/images/val"
    shutil.rmtree(tmp_path / "root")
    (tmp_path / "out").rename(tmp_path / "moved")
    dataset = PanopticDataset(load_spec(tmp_path / "moved/cityscapes.yaml").split("val"))
    assert_true(dataset, "val", truths, "ego vehicle")


def test_nobody_else_s_files_are_overwritten(plant, tmp_path):
    plant("cityscapes", tmp_path / "root")
    mine = tmp_path / "out/cityscapes.yaml"
    mine.parent.mkdir()
    mine.write_text("name: mine\n")
    with pytest.raises(OutputError, match=r"cityscapes\.yaml: was not written by"):
        prepared("cityscapes", tmp_path / "root", tmp_path / "out")
    assert mine.read_text() == "name: mine\n"
    mine.unlink()
    mine = tmp_path / "out/cityscapes_prepared/notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(OutputError, match="holds files that"):
        prepared("cityscapes", tmp_path / "root", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["notes.txt"]
    mine.unlink()
    mine.parent.rmdir()
    mine.parent.write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        prepared("cityscapes", tmp_path / "root", tmp_path / "out")


def test_official_counts():
    counts = {name: tuple(BENCHMARKS[name].expected.values()) for name in NAMES}
    assert counts == {
        "coco": (118_287, 5_000),
        "cityscapes": (2_975, 500),
        "ade20k": (20_210, 2_000),
        "mapillary": (18_000, 2_000),
    }


def test_the_stamp_says_what_it_is(plant, tmp_path):
    plant("ade20k", tmp_path / "root")
    prepared("ade20k", tmp_path / "root", tmp_path / "out", ["val"])
    stamp = read_json(tmp_path / "out/ade20k_prepared" / STAMP)
    assert stamp["name"] == "ade20k"
    assert list(stamp["splits"]) == ["val"]
