import gc
import json
import pickle
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from yoso.categories import Categories, Category
from yoso.data import coco_panoptic
from yoso.data.coco_panoptic import ImageRecord, PanopticWriter, read_annotations
from yoso.data.dataset import PanopticDataset
from yoso.data.id_maps import measure
from yoso.data.samples import training_sample
from yoso.data.spec import Split
from yoso.errors import DatasetError, ImageError, OutputError
from yoso.files import id_to_rgb, read_json, write_id_map

CATEGORIES = Categories(
    [Category(2, "cow", True, (1, 2, 3)), Category(90, "grass", False, (4, 5, 6)), Category(7, "tree", True, (7, 8, 9))]
)


def split_in(folder):
    return Split(Path(folder) / "images", Path(folder) / "masks", Path(folder) / "panoptic.json")


def write(folder, id_map, segments, image_id=5, name="field/a.png"):
    """Write a data set of one image of noise; return its split."""
    split = split_in(folder)
    writer = PanopticWriter(split.annotations, split.masks, CATEGORIES)
    writer.add(ImageRecord(image_id, name, name, *id_map.shape), id_map, segments)
    writer.close()
    path = split.images / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*id_map.shape, 3), dtype=np.uint8)).save(path)
    return split


def edited(split, change):
    content = read_json(split.annotations)
    change(content)
    split.annotations.write_text(json.dumps(content))
    return split


@st.composite
def truths(draw):
    """Return a map and its segments, in any order, some of them crowds, some without a pixel."""
    ids = draw(st.lists(st.integers(1, 2**24 - 1), unique=True, max_size=6))
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=9))
    id_map = draw(arrays(np.int32, shape, elements=st.sampled_from([0, *ids])))
    category_ids = st.sampled_from([category.id for category in CATEGORIES])
    segments = [{"id": i, "category_id": draw(category_ids), "iscrowd": int(draw(st.booleans()))} for i in ids]
    return id_map, segments


@settings(max_examples=60, deadline=None)
@given(truths(), st.one_of(st.integers(), st.text(st.characters(codec="utf-8"), max_size=8)))
def test_what_is_written_is_read(truth, image_id):
    id_map, segments = truth
    with tempfile.TemporaryDirectory() as folder:
        split = write(folder, id_map, segments, image_id)
        dataset = PanopticDataset(split)
        example, sample = dataset.example(0), training_sample(dataset, 0)
        info = read_json(split.annotations)["annotations"][0]["segments_info"]
    present = [segment for segment in segments if (id_map == segment["id"]).any()]
    assert dataset.categories == CATEGORIES
    assert example.record == ImageRecord(image_id, "field/a.png", "field/a.png", *id_map.shape)
    np.testing.assert_array_equal(example.id_map, id_map)
    assert example.segments == present
    assert {entry["id"]: (entry["area"], entry["bbox"]) for entry in info} == measure(id_map)
    targets = [segment for segment in present if not segment["iscrowd"]]
    assert sample.labels.tolist() == [CATEGORIES.index_of(segment["category_id"]) for segment in targets]
    assert sample.image.shape == (3, *id_map.shape)
    expected = np.zeros_like(id_map)
    for number, segment in enumerate(targets, 1):
        expected[id_map == segment["id"]] = number
    np.testing.assert_array_equal(sample.segment_map.numpy(), expected)
    assert sample.segment_map.dtype == torch.int32


def test_crowd_void_and_unknown_pixels_become_void_and_empty_segments_stay(tmp_path):
    id_map = np.array([[0, 9, 9], [8, 2**24 - 1, 4]], np.int32)
    segments = [
        {"id": 4, "category_id": 7},
        {"id": 8, "category_id": 2, "iscrowd": 1},
        {"id": 9, "category_id": 90},
        {"id": 2**24 - 1, "category_id": 2},
    ]
    split = write(tmp_path, id_map, segments)

    def change(content):
        info = content["annotations"][0]["segments_info"]
        info.pop(2)
        info.insert(0, {"id": 77, "category_id": 90, "iscrowd": 0})

    sample = training_sample(PanopticDataset(edited(split, change)), 0)
    assert sample.labels.tolist() == [1, 2, 0]
    assert sample.segment_map.tolist() == [[0, 0, 0], [0, 3, 2]]
    assert sample.name == "field/a.png"


@pytest.mark.parametrize("value", [1, True, "1", "true"])
def test_a_crowd_may_be_written_as_a_number_a_truth_value_or_text(tmp_path, value):
    split = write(tmp_path, np.ones((2, 2), np.int32), [{"id": 1, "category_id": 2, "iscrowd": value}])
    assert PanopticDataset(split).example(0).segments == [{"id": 1, "category_id": 2, "iscrowd": 1}]


@pytest.mark.parametrize("is_thing", [True, False])
def test_class_sets_of_things_only_and_of_stuff_only(tmp_path, is_thing):
    split = write(tmp_path, np.full((2, 2), 3, np.int32), [{"id": 3, "category_id": 7}])

    def change(content):
        for category in content["categories"]:
            category["isthing"] = int(is_thing)

    dataset = PanopticDataset(edited(split, change))
    assert set(dataset.categories.is_thing) == {is_thing}
    assert training_sample(dataset, 0).labels.tolist() == [2]


def test_filter_empty_leaves_out_images_without_anything_to_learn(tmp_path):
    writer = PanopticWriter(tmp_path / "p.json", tmp_path / "m", CATEGORIES)
    empty, full = np.zeros((2, 2), np.int32), np.ones((2, 2), np.int32)
    writer.add(ImageRecord(1, "1.png", "1.png", 2, 2), empty, [])
    writer.add(ImageRecord(2, "2.png", "2.png", 2, 2), full, [{"id": 1, "category_id": 2, "iscrowd": 1}])
    writer.add(ImageRecord(3, "3.png", "3.png", 2, 2), full, [{"id": 1, "category_id": 2}])
    split = Split(tmp_path, tmp_path / "m", writer.close())
    assert len(PanopticDataset(split)) == 3
    dataset = PanopticDataset(split, filter_empty=True)
    assert [dataset.record(index).image_id for index in range(len(dataset))] == [3]
    edited(split, lambda content: content["annotations"].pop())
    with pytest.raises(DatasetError, match="no image with a segment to learn"):
        PanopticDataset(split, filter_empty=True)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([], "it holds a list"),
        ({"images": [], "categories": []}, "no list 'annotations'"),
        ({"images": {}, "annotations": [], "categories": []}, "no list 'images'"),
        ({"images": [], "annotations": []}, "no list 'categories'"),
        ({"images": [], "annotations": [], "categories": []}, "at least one category"),
        (
            {"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}], "categories": []},
            "as COCO detection files have",
        ),
    ],
)
def test_files_that_are_something_else(tmp_path, content, match):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=match) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)


def _set(*keys, value):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def _double(*keys):
    def change(content):
        for key in keys:
            content = content[key]
        content.append(content[0])

    return change


ANNOTATION, IMAGE = ("annotations", 0), ("images", 0)
SEGMENTS = (*ANNOTATION, "segments_info")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_set(*IMAGE, value=3), "an image has no 'id'"),
        (_set(*IMAGE, "id", value=[1]), "an image has no 'id'"),
        (_set(*IMAGE, "id", value=True), "an image has no 'id'"),
        (_set(*IMAGE, "file_name", value=None), "image 5 has no 'file_name'"),
        (_double("images"), "two images have the id 5"),
        (_set(*ANNOTATION, value="x"), "an annotation has no 'image_id'"),
        (_set(*ANNOTATION, "image_id", value="5"), "of image '5', unknown or annotated twice .there is 5; write both"),
        (_double("annotations"), "of image 5, unknown or annotated twice"),
        (_set(*ANNOTATION, "file_name", value=7), "the annotation of image 5 has no 'file_name'"),
        (_set(*SEGMENTS, value=None), "the annotation of image 5 has no 'segments_info'"),
        (_set(*SEGMENTS, 0, value=[]), "not an object with id and category_id"),
        (_set(*SEGMENTS, 0, "id", value=1.5), "whole numbers, not text"),
        (_set(*SEGMENTS, 0, "id", value=True), "whole numbers, not text"),
        (_set(*SEGMENTS, 0, "id", value="1"), "with id '1' and category_id 2; both must be whole numbers, not text"),
        (_set(*SEGMENTS, 0, "category_id", value="2"), "category_id '2'; both must be whole numbers, not text"),
        (_set(*SEGMENTS, 0, "iscrowd", value=None), "image 5: segment 1 has iscrowd None, neither 0 nor 1"),
        (_set(*SEGMENTS, 0, "iscrowd", value="yes"), "image 5: segment 1 has iscrowd 'yes', neither 0 nor 1"),
        (_set(*SEGMENTS, 0, "id", value=0), "a segment of id 0"),
        (_set(*SEGMENTS, 0, "id", value=2**24), "a segment of id 16777216"),
        (_set(*SEGMENTS, 0, "category_id", value=3), "of category 3, which is not among"),
        (_double(*SEGMENTS), "two segments of one id"),
        (_set("categories", 0, "id", value=2**31), "category number 0 has id 2147483648; a whole number from 0 to"),
        (_set("annotations", value=[]), "no image with an annotation"),
    ],
)
def test_faulty_entries(tmp_path, change, match):
    split = edited(write(tmp_path, np.ones((2, 2), np.int32), [{"id": 1, "category_id": 2}]), change)
    with pytest.raises(DatasetError, match=match) as caught:
        PanopticDataset(split)
    assert str(split.annotations) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        _set(*IMAGE, "height", value="?"),
        _set(*IMAGE, "width", value=-1),
        _set(*IMAGE, "id", value=5.0),
        _set(*SEGMENTS, 0, "id", value=1.0),
        _set(*SEGMENTS, 0, "iscrowd", value="0"),
        _set(*SEGMENTS, 0, "iscrowd", value=False),
    ],
)
def test_oddities_that_do_no_harm(tmp_path, change):
    split = edited(write(tmp_path, np.ones((2, 2), np.int32), [{"id": 1, "category_id": 2}]), change)
    assert training_sample(PanopticDataset(split), 0).segment_map.tolist() == [[1, 1], [1, 1]]


def test_json_that_is_damaged_or_missing(tmp_path):
    (tmp_path / "x.json").write_text('{"images": [')
    for name in ("x.json", "y.json"):
        with pytest.raises(DatasetError, match=name):
            read_annotations(tmp_path / name)


def test_files_that_do_not_fit(tmp_path):
    split = write(tmp_path, np.ones((4, 6), np.int32), [{"id": 1, "category_id": 2}])
    write_id_map(split.masks / "field/a.png", np.ones((6, 4), np.int32))
    with pytest.raises(DatasetError, match=re.escape(f"{split.masks / 'field/a.png'}: is 4x6, its image")) as caught:
        training_sample(PanopticDataset(split), 0)
    assert f"{split.images / 'field/a.png'} is 6x4" in str(caught.value)
    (split.masks / "field/a.png").unlink()
    with pytest.raises(DatasetError, match="no such file"):
        training_sample(PanopticDataset(split), 0)
    (split.images / "field/a.png").write_bytes(b"")
    with pytest.raises(ImageError, match="is empty"):
        training_sample(PanopticDataset(split), 0)


@pytest.mark.parametrize(
    ("id_map", "segments", "match"),
    [
        ([[1, 3]], [{"id": 1, "category_id": 2}], "pixels have the ids 3"),
        ([[1, -1]], [{"id": 1, "category_id": 2}], "pixels have the ids -1"),
        ([[2**24]], [{"id": 2**24, "category_id": 2}], "ids are 1 to 16777215"),
        ([[1]], [{"id": 1, "category_id": 3}], "category 3"),
        ([[1]], [{"id": 1, "category_id": 2}] * 2, "two segments have the id 1"),
    ],
)
def test_the_writer_refuses_contradictions(tmp_path, id_map, segments, match):
    writer = PanopticWriter(tmp_path / "p.json", tmp_path / "m", CATEGORIES)
    with pytest.raises(DatasetError, match=match):
        writer.add(ImageRecord(1, "a.jpg", "a.png", 1, 2), np.array(id_map, np.int32), segments)
    assert len(writer) == 0
    assert not (tmp_path / "m").exists()


def test_the_writer_takes_an_image_once_and_keeps_scores(tmp_path):
    writer = PanopticWriter(tmp_path / "p.json", tmp_path / "m", CATEGORIES)
    id_map, segments = np.array([[0, 1]], np.int32), [{"id": np.int64(1), "category_id": 2, "score": 0.5, "area": 99}]
    writer.add(ImageRecord(1, "a.jpg", "a.png", 1, 2), id_map, segments)
    for record in (ImageRecord(2, "b.jpg", "a.png", 1, 2), ImageRecord(1, "b.jpg", "b.png", 1, 2)):
        with pytest.raises(DatasetError, match="added before"):
            writer.add(record, id_map, segments)
    info = read_json(writer.close())["annotations"][0]["segments_info"]
    assert info == [{"id": 1, "category_id": 2, "iscrowd": 0, "score": 0.5, "area": 1, "bbox": [1, 0, 1, 1]}]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "m/a.png")), id_to_rgb(id_map))


def test_the_writer_leaves_no_half_written_file(tmp_path):
    (tmp_path / "m").write_text("a file where the folder should be")
    writer = PanopticWriter(tmp_path / "p.json", tmp_path / "m", CATEGORIES)
    with pytest.raises(OutputError):
        writer.add(ImageRecord(1, "a.jpg", "a.png", 1, 1), np.ones((1, 1), np.int32), [{"id": 1, "category_id": 2}])
    assert len(writer) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_annotations_are_compact_and_cheap_to_send_to_workers(tmp_path):
    number, per_image = 20_000, 3
    segments = [{"id": n + 1, "category_id": 2, "area": 5, "bbox": [0, 0, 9, 9]} for n in range(per_image)]
    content = {
        "images": [{"id": n, "file_name": f"{n:012}.jpg", "height": 480, "width": 640} for n in range(number)],
        "annotations": [{"image_id": n, "file_name": f"{n:012}.png", "segments_info": segments} for n in range(number)],
        "categories": CATEGORIES.to_json(),
    }
    (tmp_path / "p.json").write_text(json.dumps(content))
    del content
    gc.collect()
    before = len(gc.get_objects())
    dataset = PanopticDataset(Split(tmp_path, tmp_path, tmp_path / "p.json"), filter_empty=True)
    gc.collect()
    assert len(gc.get_objects()) - before < 500
    pickled = pickle.dumps(dataset)
    # Per segment 12 bytes; per image names of about 37 and offsets of 44.
    assert len(pickled) < number * (12 * per_image + 90)
    copy = pickle.loads(pickled)
    assert len(copy) == number
    assert copy.record(19_999) == ImageRecord(19_999, "000000019999.jpg", "000000019999.png", 480, 640)
    assert len(copy.annotations.segments_of(0)) == per_image


@pytest.mark.data
def test_official_coco_sample(shared):
    folder = shared / "data" / "coco_sample"
    dataset = PanopticDataset(Split(folder / "images", folder / "panoptic", folder / "panoptic_examples.json"))
    entries = read_json(folder / "panoptic_examples.json")["annotations"]
    assert (len(dataset), len(dataset.categories), sum(dataset.categories.is_thing)) == (2, 133, 80)
    for index, entry in enumerate(entries):
        example, sample = dataset.example(index), training_sample(dataset, index)
        assert example.record.image_id == entry["image_id"]
        assert measure(example.id_map) == {s["id"]: (s["area"], s["bbox"]) for s in entry["segments_info"]}
        targets = [segment for segment in entry["segments_info"] if not segment["iscrowd"]]
        areas = torch.bincount(sample.segment_map.flatten().long(), minlength=len(targets) + 1)
        assert areas[1:].tolist() == [segment["area"] for segment in targets]
        assert sample.labels.tolist() == [dataset.categories.index_of(segment["category_id"]) for segment in targets]
    assert any(segment["iscrowd"] for entry in entries for segment in entry["segments_info"])


def test_the_writer_s_memory_does_not_grow_with_its_images(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_panoptic, "MAX_SPOOL_BYTES", 1000)
    writer = PanopticWriter(tmp_path / "p.json", tmp_path / "m", CATEGORIES, {"description": "test"})
    segments = [{"id": 1, "category_id": 2, "note": "x" * 1000}]
    for number in range(20):
        writer.add(ImageRecord(number, f"ü{number}.jpg", f"{number}.png", 1, 2), np.ones((1, 2), np.int32), segments)
        if number == 10:
            writer.close()
    assert writer.entry(7)["file_name"] == "7.png"
    content = read_json(writer.close())
    assert list(content) == ["info", "images", "annotations", "categories"]
    assert [image["file_name"] for image in content["images"]] == [f"ü{number}.jpg" for number in range(20)]
    assert [entry["image_id"] for entry in content["annotations"]] == list(range(20))
    assert content["annotations"][19]["segments_info"][0]["note"] == "x" * 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "p.json"]
