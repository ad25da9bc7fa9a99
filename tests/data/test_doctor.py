import json
import shutil

import numpy as np
import pytest
from PIL import Image

from yoso.data.dataset import PanopticDataset
from yoso.data.doctor import check_dataset, check_split, repair
from yoso.data.findings import REMEDIES, WARNINGS
from yoso.data.samples import training_sample
from yoso.data.spec import Split, load_spec
from yoso.errors import DatasetError, ImageError, OutputError
from yoso.files import read_id_map, read_json, write_id_map


@pytest.fixture
def split(tiny_dataset, tmp_path):
    """Return the `val` of a data set that may be harmed: eight images, 0.png to 7.png, 0_mask.png to 7_mask.png."""
    return load_spec(shutil.copytree(tiny_dataset, tmp_path / "tiny")).split("val")


def harm_json(change):
    def harm(split):
        content = read_json(split.annotations)
        change(content)
        split.annotations.write_text(json.dumps(content))

    return harm


def segment(**values):
    """Change the first segment of the second image."""
    return harm_json(lambda content: content["annotations"][1]["segments_info"][0].update(values))


def add_segment(entry):
    return harm_json(lambda content: content["annotations"][1]["segments_info"].append(entry))


def image(**values):
    return harm_json(lambda content: content["images"][1].update(values))


def annotation(**values):
    return harm_json(lambda content: content["annotations"][1].update(values))


def repeat(key, **changes):
    return harm_json(lambda content: content[key].append({**content[key][1], **changes}))


def remove(key):
    return harm_json(lambda content: content[key].pop(1))


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def repaint(split):
    path = split.masks / "1_mask.png"
    id_map = read_id_map(path)
    write_id_map(path, np.where(id_map == 300, 301, id_map))


def category(index, **values):
    return harm_json(lambda content: content["categories"][index].update(values))


def split_sky(split):
    """Give a part of the sky an id of its own in the second image."""
    path = split.masks / "1_mask.png"
    id_map = read_id_map(path)
    id_map[:10][id_map[:10] == 70000] = 70001
    write_id_map(path, id_map)
    add_segment({"id": 70001, "category_id": 7, "iscrowd": 0})(split)


# What is done to the data set; the findings it must give; whether the repaired JSON is without errors.
FAULTS = {
    "image missing": (lambda s: (s.images / "1.png").unlink(), ["missing-image"], True),
    "image cut off": (lambda s: cut(s.images / "1.png"), ["unreadable-image"], True),
    "image no image": (lambda s: (s.images / "1.png").write_text("hello"), ["unreadable-image"], True),
    "image too small": (
        lambda s: Image.new("RGB", (64, 96)).save(s.images / "1.png"),
        ["size-mismatch"],
        True,
    ),
    "PNG missing": (lambda s: (s.masks / "1_mask.png").unlink(), ["missing-mask"], True),
    "PNG cut off": (lambda s: cut(s.masks / "1_mask.png"), ["unreadable-mask"], True),
    "PNG in grayscale": (lambda s: Image.new("L", (128, 96)).save(s.masks / "1_mask.png"), ["unreadable-mask"], True),
    "pixels repainted": (repaint, ["id-only-in-json", "id-only-in-png"], False),
    "width wrong in JSON": (image(width=5), ["wrong-size-in-json"], True),
    "height not in JSON": (image(height=None), ["wrong-size-in-json"], True),
    "area wrong": (segment(area=1), ["wrong-area"], True),
    "area a text": (segment(area="1"), ["wrong-area"], True),
    "bbox wrong": (segment(bbox=[0, 0, 1, 1]), ["wrong-bbox"], True),
    "bbox a number": (segment(bbox=7), ["wrong-bbox"], True),
    "category unknown": (segment(category_id=4), ["unknown-category"], False),
    "segment twice": (add_segment({"id": 300, "category_id": 9}), ["duplicate-segment-id"], True),
    "segment of void": (add_segment({"id": 0, "category_id": 9}), ["bad-segment"], True),
    "segment id too large": (add_segment({"id": 2**24, "category_id": 9}), ["bad-segment"], True),
    "segment without category": (add_segment({"id": 5}), ["bad-segment"], True),
    "segment id a text": (add_segment({"id": "5", "category_id": 9}), ["bad-segment"], True),
    "category id a text": (add_segment({"id": 5, "category_id": "9"}), ["bad-segment"], True),
    "iscrowd nothing": (segment(iscrowd=None), ["bad-iscrowd"], False),
    "iscrowd a word": (segment(iscrowd="maybe"), ["bad-iscrowd"], False),
    "segment no object": (add_segment(7), ["bad-segment"], True),
    "segment id a list": (add_segment({"id": [5], "category_id": 9}), ["bad-segment"], True),
    "segment without pixel": (add_segment({"id": 5, "category_id": 9}), ["id-only-in-json"], True),
    "no segments": (
        lambda s: [
            annotation(segments_info=[])(s),
            write_id_map(s.masks / "1_mask.png", np.zeros((96, 128), np.int32)),
        ],
        ["no-segments"],
        True,
    ),
    "image twice": (repeat("images"), ["duplicate-image-id"], True),
    "image file twice": (
        lambda s: [repeat("images", id=50)(s), repeat("annotations", image_id=50, file_name="x_mask.png")(s)],
        ["duplicate-file-name"],
        True,
    ),
    "PNG twice": (
        lambda s: [
            repeat("images", id=50, file_name="x.png")(s),
            repeat("annotations", image_id=50)(s),
            shutil.copy(s.images / "1.png", s.images / "x.png"),
        ],
        ["duplicate-file-name"],
        True,
    ),
    "annotation twice": (repeat("annotations"), ["duplicate-annotation"], True),
    "annotation gone": (remove("annotations"), ["image-without-annotation", "unlisted-file"], True),
    "image gone": (remove("images"), ["annotation-without-image", "unlisted-file"], True),
    "image without name": (repeat("images", id=50, file_name=None), ["bad-entry"], True),
    "image id a list": (repeat("images", id=[]), ["bad-entry"], True),
    "annotation without segments": (repeat("annotations", image_id=50, segments_info=None), ["bad-entry"], True),
    "annotation no object": (harm_json(lambda content: content["annotations"].append(None)), ["bad-entry"], True),
    "stuff in two parts": (split_sky, ["stuff-in-parts", "wrong-area", "wrong-area", "wrong-bbox", "wrong-bbox"], True),
    "two categories of one name": (category(2, name=" Sky"), ["duplicate-category-name"], True),
    "image not listed": (
        lambda s: shutil.copy(s.images / "1.png", s.images / "more.JPG"),
        ["unlisted-file"],
        True,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_alone(split, tmp_path, name):
    harm, kinds, is_repaired = FAULTS[name]
    harm(split)
    report = check_split(split)
    assert sorted(finding.kind for finding in report.findings) == sorted(kinds)
    for finding in report.findings:
        assert finding.severity == ("warning" if finding.kind in WARNINGS else "error")
        assert finding.remedy == REMEDIES[finding.kind]
        assert finding.message
        assert "\n" not in finding.message
    before = split.annotations.read_bytes()
    repair(report, tmp_path / "fixed.json")
    assert split.annotations.read_bytes() == before
    fixed = Split(split.images, split.masks, tmp_path / "fixed.json")
    again = check_split(fixed)
    # What the JSON cannot repair is pixels of an id that it does not list; they are void to a reader.
    assert {finding.kind for finding in again.errors} == (set() if is_repaired else {"id-only-in-png"})
    stays = {"id-only-in-png", "no-segments", "unlisted-file", "stuff-in-parts", "duplicate-category-name"}
    assert {finding.kind for finding in again.findings} <= stays
    dataset = PanopticDataset(fixed)
    assert len(dataset) in (7, 8)
    for index in range(len(dataset)):
        assert training_sample(dataset, index).name


def test_every_kind_is_tried():
    tried = {kind for _, kinds, _ in FAULTS.values() for kind in kinds}
    assert tried | {"nothing-to-learn", "different-classes"} == set(REMEDIES)


@pytest.mark.parametrize(
    ("harm", "file", "message"),
    [
        (lambda s: (s.images / "1.png").unlink(), "val/1.png", "no such file"),
        (
            lambda s: Image.new("RGB", (64, 96)).save(s.images / "1.png"),
            "1_mask.png",
            "is 128x96, its image is 64x96",
        ),
        (image(width=5), "1_mask.png", "is 128x96, the JSON says 5x96"),
        (repaint, "1_mask.png", "are not in the JSON: 301"),
        (segment(area=1), "1_mask.png", "the JSON says 1"),
        (repeat("images"), "panoptic_val.json", "id 1 is taken, 1.png has it too"),
    ],
)
def test_findings_name_the_file_and_the_fault(split, harm, file, message):
    harm(split)
    assert any(finding.file.endswith(file) and message in finding.message for finding in check_split(split).findings)


def test_a_clean_split(split):
    seen = []
    report = check_split(split, on_progress=lambda done, total: seen.append((done, total)))
    assert report.findings == []
    assert seen == [(number, 8) for number in range(1, 9)]
    assert report.images == 8
    maps = [read_id_map(split.masks / f"{number}_mask.png") for number in range(8)]
    square, sky, ground = report.classes
    assert (sky.name, sky.is_thing, sky.segments, sky.crowds, sky.images) == ("sky", False, 8, 0, 8)
    assert sky.pixels == sum(int((id_map == 70000).sum()) for id_map in maps)
    assert ground.pixels == sum(int((id_map == 300).sum()) for id_map in maps)
    assert square.segments == sum(len(np.unique(m[(m >= 1000) & (m < 1003)])) for m in maps)
    assert square.crowds == sum(int((m == 1003).any()) for m in maps)
    assert report.repaired == read_json(split.annotations)


def test_report_as_json(split):
    segment(area=1)(split)
    (split.images / "2.png").unlink()
    document = json.loads(json.dumps(check_split(split).to_json()))
    assert (document["images"], document["errors"], len(document["findings"])) == (8, 1, 2)
    assert set(document["findings"][0]) == {"file", "kind", "message", "severity", "remedy"}
    assert [entry["name"] for entry in document["classes"]] == ["square", "sky", "ground"]


def test_repair_keeps_what_it_does_not_know(split, tmp_path):
    def change(content):
        content["info"] = {"year": 1}
        content["images"][0]["license"] = 3
        content["annotations"][0]["segments_info"][0].update(area=1, note="kept")

    harm_json(change)(split)
    repair(check_split(split), tmp_path / "fixed.json")
    fixed = read_json(tmp_path / "fixed.json")
    assert fixed["info"] == {"year": 1}
    assert fixed["images"][0]["license"] == 3
    assert fixed["annotations"][0]["segments_info"][0]["note"] == "kept"
    assert fixed["annotations"][0]["segments_info"][0]["area"] > 1


def test_repair_writes_flags_and_ids_as_numbers(split, tmp_path):
    def change(content):
        content["categories"][0].update(isthing="1", supercategory="shape")
        content["categories"][1].update(isthing=False)
        content["annotations"][0]["segments_info"][0].update(id=70000.0, iscrowd="0")

    harm_json(change)(split)
    report = check_split(split)
    assert report.findings == []
    repair(report, tmp_path / "fixed.json")
    text = (tmp_path / "fixed.json").read_text()
    fixed = json.loads(text)
    assert fixed["categories"][0] == {
        "id": 3, "name": "square", "supercategory": "shape", "isthing": 1, "color": [220, 40, 40]
    }  # fmt: skip
    assert [type(entry["isthing"]) for entry in fixed["categories"]] == [int] * 3
    assert '"iscrowd": "0"' not in text
    assert "70000.0" not in text


@pytest.mark.parametrize("keep", ["nothing", "crowds"])
def test_a_split_with_nothing_to_learn_is_an_error(split, keep):
    def change(content):
        if keep == "nothing":
            content.update(images=[], annotations=[])
        for annotation in content["annotations"]:
            for entry in annotation["segments_info"]:
                entry["iscrowd"] = 1

    harm_json(change)(split)
    assert [finding.kind for finding in check_split(split).errors] == ["nothing-to-learn"]
    with pytest.raises(DatasetError, match="no image with"):
        PanopticDataset(split, filter_empty=True)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (category(0, name="circle"), "category 3 is 'square' (thing) in train and 'circle' (thing) in val"),
        (category(1, isthing=1), "category 7 is 'sky' (stuff) in train and 'sky' (thing) in val"),
        (
            harm_json(lambda content: content["categories"].append({"id": 1, "name": "x", "isthing": 1})),
            "category 1 is missing in train and 'x' (thing) in val",
        ),
    ],
)
def test_train_and_val_must_have_the_same_classes(split, harm, words):
    spec = load_spec(split.images.parent)
    assert all(report.findings == [] for report in check_dataset(spec).values())
    harm(split)
    seen = []
    reports = check_dataset(spec, on_progress=lambda *progress: seen.append(progress))
    assert reports["train"].findings == []
    (finding,) = reports["val"].findings
    assert (finding.kind, finding.severity, finding.file) == ("different-classes", "error", str(split.annotations))
    assert words in finding.message
    assert seen == [(name, number, 8) for name in ("train", "val") for number in range(1, 9)]
    assert check_dataset(spec, ["val"])["val"].findings == []


def refused(split):
    """Say whether training cannot read a split."""
    try:
        dataset = PanopticDataset(split, filter_empty=True)
        for index in range(len(dataset)):
            dataset.example(index)
    except (DatasetError, ImageError):
        return True
    return False


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_reader_refuses_is_an_error_to_the_doctor(split, name):
    FAULTS[name][0](split)
    assert check_split(split).errors or not refused(split)


def test_many_faults_at_once(split):
    for harm, _, _ in (FAULTS[name] for name in ("PNG missing", "image twice", "annotation no object")):
        harm(split)
    kinds = [finding.kind for finding in check_split(split).findings]
    assert sorted(kinds) == ["bad-entry", "duplicate-image-id", "missing-mask"]


@pytest.mark.parametrize("name", [".1.png", "._1.png", ".cache/1.png", "notes.txt"])
def test_hidden_files_and_files_of_other_kinds_are_not_reported(split, name):
    (split.images / name).parent.mkdir(exist_ok=True)
    shutil.copy(split.images / "1.png", split.images / name)
    assert check_split(split).findings == []


def test_masks_in_the_folder_of_the_images_are_not_reported(split, tmp_path):
    for path in split.images.iterdir():
        shutil.copy(path, split.masks)
    assert check_split(Split(split.masks, split.masks, split.annotations)).findings == []


@pytest.mark.parametrize("content", [[], {"images": [], "annotations": []}])
def test_json_that_is_not_coco_panoptic(split, content):
    split.annotations.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="not COCO panoptic"):
        check_split(split)


def test_a_repaired_file_that_cannot_be_written(split):
    with pytest.raises(OutputError):
        repair(check_split(split), split.annotations / "fixed.json")


@pytest.mark.data
def test_real_images_check_clean(shared):
    report = check_split(load_spec(shared / "data" / "facades").split("val"), threads=2)
    assert report.findings == []
    assert report.images == 60
    assert sum(entry.segments for entry in report.classes) == 2136


@pytest.mark.data
def test_official_sample_checks_clean(shared):
    folder = shared / "data" / "coco_sample"
    report = check_split(Split(folder / "images", folder / "panoptic", folder / "panoptic_examples.json"))
    assert report.findings == []
    assert sum(entry.crowds for entry in report.classes) > 0


@pytest.mark.data
@pytest.mark.slow
def test_all_real_images_check_clean(shared):
    assert check_split(load_spec(shared / "data" / "facades").split("train"), threads=2).findings == []
