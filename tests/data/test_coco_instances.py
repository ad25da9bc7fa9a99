"""COCO instances as annotation tools export them."""

import json

import pytest

from small_exports import HEIGHT, SQUARE, WIDTH, Conversion, coco_annotation, coco_document, image, write

CAT, DOG = {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}
TRAIN = "annotations/instances_train.json"


@pytest.fixture
def convert(tmp_path, capsys):
    """Convert tmp_path/farm."""
    return lambda *options: Conversion("coco", tmp_path / "farm", tmp_path / "out", options, capsys)


def entry(image_id=1, file_name="a.jpg", height=HEIGHT, width=WIDTH):
    return {"id": image_id, "file_name": file_name, "height": height, "width": width}


def square(annotation_id=1, image_id=1, **fields):
    return coco_annotation(annotation_id, image_id, [SQUARE]) | fields


def export(root, annotations, images=None, categories=(CAT, DOG), path=TRAIN, folder="train"):
    """Write a JSON and the images that it names."""
    images = images or [entry()]
    write(root / path, coco_document(images, annotations, list(categories)))
    for one in images:
        if isinstance(one.get("file_name"), str):
            image(root / folder / one["file_name"])


UNUSABLE = {
    "fewer than three points": {"segmentation": [[1, 1, 5, 5]]},
    "no 'segmentation', only a box": {"segmentation": []},
    "coordinates that are not pairs of finite numbers": {"segmentation": [[1, 1, 5, 5, None, 3]]},
    "malformed run-length mask": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [1]}},
    "mask size differs from the image": {"segmentation": {"size": [1, 2], "counts": [1, 1]}},
    "outside the image": {"segmentation": [[100, 1, 105, 5, 100, 9]]},
    "no pixel inside, thinner than a pixel": {"segmentation": [[1, 1, 30, 1.2, 1, 1.3]]},
    "category_id not in 'categories'": {"category_id": 9},
    "image_id not in 'images'": {"image_id": 9},
    "'iscrowd' is neither 0 nor 1": {"iscrowd": "maybe"},
    "no JSON object with image_id and category_id": {"category_id": None},
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_an_annotation_that_cannot_be_used_is_dropped_and_the_others_stay(reason, tmp_path, convert):
    export(
        tmp_path / "farm", [square(1), square(2, segmentation=[[40, 1, 50, 1, 50, 9]]), square(3) | UNUSABLE[reason]]
    )
    result = convert()
    assert (result.status, result.counts()) == (0, (3, 2, 0, 1))
    (loss,) = result.splits["train"]["counts"]["dropped"]
    assert (loss["reason"], loss["count"]) == (reason, 1)
    assert "instances_train.json: annotation 3" in loss["first"]
    assert convert("--strict").status == 1
    assert len(result.segments()["a.jpg"]) == 2


@pytest.mark.parametrize("rubbish", [None, 7, "text", [], {}, {"id": [], "image_id": {}, "category_id": []}])
def test_an_annotation_that_is_rubbish_is_dropped(rubbish, tmp_path, convert):
    export(tmp_path / "farm", [square(), rubbish, square(2, segmentation=[[40, 1, 50, 1, 50, 9]])])
    result = convert()
    assert result.counts() == (3, 2, 0, 1)
    assert "annotation number 1" in result.splits["train"]["counts"]["dropped"][0]["first"]


def test_a_report_groups_by_reason_and_a_second_run_says_the_same(tmp_path, convert):
    bad = [square(number, segmentation=[]) for number in (2, 3)] + [square(4, segmentation=[[1, 1, 5, 5]])]
    export(tmp_path / "farm", [square(), *bad])
    first, second = convert(), convert()
    assert first.reasons() == {"no 'segmentation', only a box": 2, "fewer than three points": 1}
    assert second.splits["train"] | {"made": 1} == first.splits["train"]
    assert second.splits["train"]["made"] == 0


def test_no_usable_annotation_at_all_is_an_error(tmp_path, convert):
    export(tmp_path / "farm", [square(segmentation=[]), square(2, segmentation=[])])
    result = convert()
    assert result.status == 2
    assert (
        "instances_train.json: train: 2 of 2 annotations cannot be used: no 'segmentation', only a box" in result.error
    )
    assert not (tmp_path / "out/dataset.yaml").exists()
    assert not (tmp_path / "out/panoptic_train.json").exists()


def test_parts_without_area_do_not_spoil_the_others(tmp_path, convert):
    export(tmp_path / "farm", [square(segmentation=[SQUARE, [1, 1], [1, 1, 2, 2]])])
    assert convert().segments() == {"a.jpg": [("cat", 400, 0)]}


def test_a_covered_object_and_stuff_in_pieces_are_merged(tmp_path, convert):
    pieces = [
        square(number, category_id=2, segmentation=[[0, top, 60, top, 60, top + 2, 0, top + 2]])
        for number, top in ((3, 0), (4, 36))
    ]
    hidden = square(5, category_id=3, segmentation=[[12, 12, 20, 12, 20, 20]])
    export(tmp_path / "farm", [square(1), square(2), *pieces, hidden], categories=[CAT, DOG, {"id": 3, "name": "mud"}])
    result = convert("--stuff", "dog,mud")
    assert result.counts() == (5, 2, 3, 0)
    merged = result.splits["train"]["counts"]["merged"]
    assert merged == {"covered by other annotations": 2, "stuff of one class in one image": 1}


@pytest.mark.parametrize(("first", "second"), [("1", 1), (1, "1")])
def test_ids_that_are_text_in_one_place_and_numbers_in_another_are_an_error(first, second, tmp_path, convert):
    export(tmp_path / "farm", [square(1, second), square(2, second)], [entry(first)])
    result = convert()
    assert f"the image_id of 2 annotations is not listed (first: {second!r}, but {first!r} is listed)" in result.error
    assert "instances_train.json" in result.error
    assert not (tmp_path / "out").exists()


def test_a_category_id_that_is_text_is_an_error(tmp_path, convert):
    export(tmp_path / "farm", [square(category_id="1")])
    assert "the category_id of 1 annotations is not listed (first: '1', but 1 is listed)" in convert().error


def test_ids_that_are_text_everywhere_and_ids_written_as_fractions(tmp_path, convert):
    images = [entry("x"), entry(7.0, "b.jpg")]
    export(tmp_path / "farm", [square(1, "x"), square(2, 7, category_id=1.0)], images)
    result = convert()
    assert result.segments() == {"a.jpg": [("cat", 400, 0)], "b.jpg": [("cat", 400, 0)]}
    assert json.loads((tmp_path / "out/panoptic_train.json").read_text())["images"][1]["id"] == 7


def test_annotations_of_images_that_are_not_listed(tmp_path, convert):
    export(tmp_path / "farm", [square(1), square(2, 9)])
    result = convert()
    assert "instances_train.json: 1 of 2 annotations cannot be used: image_id not in 'images'" in result.error
    assert not (tmp_path / "out").exists()


DUPLICATES = {
    "two entries of 'images' have the id 1": ([square()], [entry(), entry(file_name="b.jpg")], [CAT]),
    "two entries of 'images' have the file_name 'a.jpg'": ([square()], [entry(), entry(2)], [CAT]),
    "two entries of 'annotations' have the id 1": ([square(), square()], None, [CAT]),
    "two entries of 'categories' have the id 1": ([square()], None, [CAT, DOG | {"id": 1}]),
    "two images of train are called a": ([square()], [entry(), entry(2, "./a.jpg")], [CAT]),
}


@pytest.mark.parametrize("message", DUPLICATES)
def test_duplicates_are_an_error_before_any_work(message, tmp_path, convert):
    export(tmp_path / "farm", *DUPLICATES[message])
    result = convert()
    assert result.status == 2
    assert f"instances_train.json: {message}" in result.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([{"id": 1}], "entry 0 of 'images' lacks one of"),
        ([{"id": None, "file_name": "a.jpg"}], "entry 0 of 'images' has id None"),
        ([{"id": [1], "file_name": "a.jpg"}], "entry 0 of 'images' has id [1]"),
        ([{"id": 1, "file_name": 7}], "file_name 7"),
    ],
)
def test_images_that_are_not_described(images, words, tmp_path, convert):
    export(tmp_path / "farm", [square()], images)
    assert words in convert().error


def test_a_size_in_the_json_that_is_not_the_image_s(tmp_path, convert):
    images = [entry(number, f"{number}.jpg") for number in range(5)]
    images[0] |= {"width": 10 * WIDTH, "height": 10 * HEIGHT}
    images[1] |= {"width": HEIGHT, "height": WIDTH}
    images[2] |= {"width": None, "height": "?"}
    export(tmp_path / "farm", [square(number, number) for number in range(5)], images)
    result = convert("--strict")
    assert (result.status, result.counts()) == (1, (5, 3, 0, 2))
    assert result.reasons() == {"image size differs from the annotation file": 2}
    assert list(result.segments()) == ["2.jpg", "3.jpg", "4.jpg"]
    (skipped,) = result.splits["train"]["skipped_files"]
    assert skipped["count"] == 2
    assert "600x400" in skipped["first"]
    assert "60x40" in skipped["first"]
    export(tmp_path / "farm", [square(number, number) for number in range(4)], images[:4])
    assert "2 of 4 images cannot be used: image size differs from the annotation file" in convert().error


@pytest.mark.parametrize(
    ("isthing", "options", "stuff"),
    [
        (("0", "true"), [], ["cat"]),
        ((False, 1.0), [], ["cat"]),
        ((0, 1), [], ["cat"]),
        ((0, 1), ["--stuff", "dog"], ["cat", "dog"]),
        ((None, None), [], []),
    ],
)
def test_isthing_of_the_file_is_kept(isthing, options, stuff, tmp_path, convert):
    categories = [
        category | ({"isthing": kind} if kind is not None else {})
        for category, kind in zip((CAT, DOG), isthing, strict=True)
    ]
    export(tmp_path / "farm", [square()], categories=categories)
    table = convert(*options).dataset().categories
    assert [category.name for category in table if not category.is_thing] == stuff


@pytest.mark.parametrize("isthing", ["maybe", 2, [], "", None])
def test_isthing_that_says_neither_is_an_error(isthing, tmp_path, convert):
    export(tmp_path / "farm", [square()], categories=[CAT | {"isthing": isthing}])
    result = convert()
    assert "instances_train.json: category number 0" in result.error
    assert "isthing" in result.error
    assert not (tmp_path / "out").exists()


def test_iscrowd_is_read_as_a_number_or_a_text(tmp_path, convert):
    boxes = [[[x, 1, x + 4, 1, x + 4, 9, x, 9]] for x in range(0, 56, 8)]
    flags = [0, 1, "0", "1", False, True, None]
    export(
        tmp_path / "farm",
        [
            square(number, segmentation=box, iscrowd=flag)
            for number, (box, flag) in enumerate(zip(boxes, flags, strict=True))
        ],
    )
    assert [crowd for _, _, crowd in convert().segments()["a.jpg"]] == [0, 0, 0, 0, 1, 1, 1]


def test_colors_that_are_not_three_numbers_are_replaced(tmp_path, convert):
    export(tmp_path / "farm", [square()], categories=[CAT | {"color": "#2080c0"}, DOG | {"color": [1, 2, 3]}])
    table = convert().dataset().categories
    assert table[1].color == (1, 2, 3)
    assert table[0].color != (1, 2, 3)


LAYOUTS = {
    "COCO": ("annotations/instances_train2017.json", "train2017", "a.jpg"),
    "COCO, images apart": ("annotations/instances_train2017.json", "images/train2017", "a.jpg"),
    "COCO, images in one folder": ("annotations/instances_train2017.json", "images", "a.jpg"),
    "COCO, names with the folder": ("annotations/instances_train2017.json", "train2017", "train2017/a.jpg"),
    "CVAT": ("annotations/instances_default.json", "images", "a.jpg"),
    "CVAT, images apart": ("annotations/instances_default.json", "images/default", "sub/a.jpg"),
    "CVAT, subset": ("annotations/instances_Train.json", "images/Train", "a.jpg"),
    "Roboflow": ("train/_annotations.coco.json", "train", "a_jpg.rf.0123.jpg"),
    "Label Studio": ("result.json", "images", "images/a.jpg"),
    "Label Studio on Windows": ("result.json", "images", "images\\a.jpg"),
    "Label Studio, other machine": ("result.json", "images", "../../media/upload/1/a.jpg"),
    "FiftyOne": ("labels.json", "data", "a.jpg"),
    "absolute path of another machine": ("labels.json", "images", "/home/somebody/images/a.jpg"),
    "JSON beside the folders": ("train.json", "train", "a.jpg"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_exports(layout, tmp_path, convert):
    path, folder, file_name = LAYOUTS[layout]
    write(tmp_path / "farm" / path, coco_document([entry(file_name=file_name)], [square()], [CAT]))
    place = file_name if folder.endswith("sub") else file_name.replace("\\", "/").split("/")[-1]
    image(tmp_path / "farm" / folder / ("sub/a.jpg" if "sub/" in file_name else place))
    assert convert().counts() == (1, 1, 0, 0)


def test_roboflow_s_valid_is_val_and_test_is_left_out(tmp_path, convert):
    for name in ("train", "valid", "test"):
        export(tmp_path / "farm", [square()], path=f"{name}/_annotations.coco.json", folder=name)
    write(tmp_path / "farm/train/._annotations.coco.json", "not JSON")
    result = convert()
    assert list(result.splits) == ["train", "val"]
    (note,) = result.warnings
    assert "1 JSON files (test/_annotations.coco.json) belong to neither train nor val" in note


def test_json_and_images_can_be_named(tmp_path, convert):
    for name in ("one", "two"):
        export(tmp_path / "farm", [square()], path=f"json/{name}.json", folder=f"photos/{name}")
    options = ["--annotations", "train=json/one.json", "--annotations", f"val={tmp_path}/farm/json/two.json"]
    images = ["--images", "train=photos/one", "--images", "val=photos/two"]
    result = convert(*options, *images)
    assert [result.counts(split) for split in ("train", "val")] == [(1, 1, 0, 0), (1, 1, 0, 0)]
    result = convert("--annotations", "json/one.json", "--images", "photos/one")
    assert list(result.splits) == ["train"]
    assert "val" not in (tmp_path / "out/dataset.yaml").read_text()


def test_the_source_can_be_the_json(tmp_path, capsys):
    export(tmp_path / "farm", [square()], path="any.json", folder="images")
    result = Conversion("coco", tmp_path / "farm/any.json", tmp_path / "out", [], capsys)
    assert result.counts() == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--annotations", "none.json"], "--annotations none.json: no such file or folder"),
        (["--images", "none"], "--images none: no such file or folder"),
        (["--annotations", "a.json", "--annotations", "train=b.json"], "train has a path already"),
        (["--images", "val=train", "--stuff", "mud"], "--stuff mud"),
    ],
)
def test_options_that_do_not_fit(options, words, tmp_path, convert):
    export(tmp_path / "farm", [square()])
    assert words in convert(*options).error


def test_two_candidates_for_one_split(tmp_path, convert):
    for name in ("a", "b"):
        export(tmp_path / "farm", [square()], path=f"annotations/train_{name}.json")
    assert "holds 2 JSON files (annotations/train_a.json, annotations/train_b.json) for train" in convert().error


def test_images_that_are_nowhere(tmp_path, convert):
    write(tmp_path / "farm" / TRAIN, coco_document([entry()], [square()], [CAT]))
    result = convert()
    assert "none of its 1 images was found (first: a.jpg; looked in" in result.error
    assert "--images train=FOLDER" in result.error


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/{root}/secret.jpg", "..\\secret.jpg", "a\0.jpg", "n" * 300 + ".jpg", "", ".."]
)
def test_no_name_leads_out_of_the_image_folder(name, tmp_path, convert):
    image(tmp_path / "secret.jpg")
    name = name.replace("/{root}", str(tmp_path))
    images = [entry(), entry(2, "b.jpg"), entry(3, name)]
    write(tmp_path / "farm" / TRAIN, coco_document(images, [square(1, 1), square(2, 2), square(3, 3)], [CAT]))
    for file_name in ("a.jpg", "b.jpg"):
        image(tmp_path / "farm/train" / file_name)
    result = convert()
    assert result.reasons() == {"missing image": 1}
    assert list(result.segments()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("name", ["con.jpg", "sub/NUL.jpg", "c:a.jpg"])
def test_a_name_that_is_not_safe_to_write_is_an_error(name, tmp_path, convert):
    export(tmp_path / "farm", [square()], [entry(file_name=name)])
    result = convert()
    assert result.status == 2
    assert "is not safe to write" in result.error
    assert not list((tmp_path / "out").rglob("*.png"))


def test_an_unreadable_image_is_skipped_with_its_annotations(tmp_path, convert):
    images = [entry(number, f"{number}.jpg") for number in range(3)]
    export(tmp_path / "farm", [square(number, number) for number in range(3)], images)
    (tmp_path / "farm/train/1.jpg").write_bytes(b"")
    result = convert()
    assert result.counts() == (3, 2, 0, 1)
    (skipped,) = result.splits["train"]["skipped_files"]
    assert "1.jpg: is empty" in skipped["first"]
    image(tmp_path / "farm/train/1.jpg")
    assert convert().counts() == (3, 3, 0, 0)


def test_images_without_annotations_are_reported(tmp_path, convert):
    export(tmp_path / "farm", [square()], [entry(), entry(2, "b.jpg")])
    result = convert()
    (warning,) = result.warnings
    assert warning.startswith("train: 1 images without annotations (first: ")
    assert warning.endswith("b.jpg)")


def test_splits_with_classes_of_their_own_share_one_list(tmp_path, convert):
    export(tmp_path / "farm", [square()], categories=[CAT])
    val = {"path": "annotations/instances_val.json", "folder": "val"}
    export(tmp_path / "farm", [square(category_id=2)], categories=[DOG, CAT], **val)
    result = convert()
    assert [result.dataset(split).categories.names for split in ("train", "val")] == [("cat", "dog")] * 2
    export(tmp_path / "farm", [square()], categories=[DOG | {"id": 1}], **val)
    assert "category 1 of val is 'dog', thing, which contradicts train" in convert().error
    export(tmp_path / "farm", [square()], categories=[CAT | {"isthing": 0}], **val)
    assert "category 1 of val is 'cat', stuff, which contradicts train" in convert().error


def test_the_text_report_names_every_reason(tmp_path, capsys):
    from yoso.apps.cli import main

    export(tmp_path / "farm", [square(), square(2, segmentation=[])])
    assert main(["data", "convert", "coco", str(tmp_path / "farm"), str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "2 annotations read, 1 segments written, 0 merged, 1 dropped" in out
    assert "dropped 1: no 'segmentation', only a box (first: " in out
