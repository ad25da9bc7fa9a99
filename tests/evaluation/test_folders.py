"""Saved predictions against saved ground truth: hotcoco, published figures, and every way files can be wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest

from panoptic_pairs import CATEGORIES, edit_json, hotcoco_results, random_pair, segment, write_folder
from yoso.errors import DatasetError
from yoso.evaluation.folders import count_folders, score_folders
from yoso.evaluation.quality import image_quality
from yoso.files import read_id_map, write_id_map


@pytest.fixture
def saved(tmp_path):
    """Four images, both sides written; (gt JSON, gt folder, pred JSON, pred folder)."""
    drawn = {number: random_pair(np.random.default_rng(10 + number)) for number in (3, 1, 22, 4)}
    gt = write_folder(tmp_path, "gt", {number: pair[:2] for number, pair in drawn.items()})
    pred = write_folder(tmp_path, "pred", {number: pair[2:] for number, pair in drawn.items()})
    return *gt, *pred


@pytest.mark.parametrize("seed", range(3))
def test_equals_hotcoco(tmp_path, seed):
    drawn = {number: random_pair(np.random.default_rng([seed, number])) for number in range(1, 9)}
    gt = write_folder(tmp_path, "gt", {number: pair[:2] for number, pair in drawn.items()})
    pred = write_folder(tmp_path, "pred", {number: pair[2:] for number, pair in drawn.items()})
    expected, result = hotcoco_results(gt, pred), score_folders(*gt, *pred)
    for ours, name in ((result.all, "All"), (result.things, "Things"), (result.stuff, "Stuff")):
        assert ours.n == expected[name]["n"]
        np.testing.assert_allclose(ours[:3], [expected[name][key] for key in ("pq", "sq", "rq")], rtol=0, atol=1e-10)
    assert 0 < result.all.pq < 1
    for category, row in zip(CATEGORIES, result.per_class, strict=True):
        theirs = expected["per_class"][category.id]
        assert (row.true_positive, row.false_positive, row.false_negative) == (theirs["tp"], theirs["fp"], theirs["fn"])
        np.testing.assert_allclose((row.iou_sum, row.pq), (theirs["iou"], theirs["pq"]), rtol=0, atol=1e-10)


@pytest.mark.data
def test_fixture_equals_hotcoco(shared):
    folder = shared / "data" / "pq_fixture"
    gt, pred = (folder / "gt.json", folder / "gt"), (folder / "pred.json", folder / "pred")
    expected, result = hotcoco_results(gt, pred), score_folders(*gt, *pred)
    np.testing.assert_allclose(result.all[:3], [expected["All"][k] for k in ("pq", "sq", "rq")], rtol=0, atol=1e-10)
    assert result.all.n == expected["All"]["n"]


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*no prediction for 1 of .* images")
@pytest.mark.parametrize("ground_truth", ["gt", "gt_missing"])
def test_fixture_equals_the_published_figures(shared, tmp_path, ground_truth):
    """The toolkit that published them keeps void in the union, where panopticapi and hotcoco leave it out.

    Six pixels of the ground truth are void. Given an id that no segment has, they stay in the union here too.
    """
    folder = shared / "data" / "pq_fixture"
    for png in (folder / ground_truth).iterdir():
        id_map = read_id_map(png)
        write_id_map(tmp_path / png.name, np.where(id_map == 0, 1 << 23, id_map))
    result = score_folders(folder / f"{ground_truth}.json", tmp_path, folder / "pred.json", folder / "pred")
    published = json.loads((folder / "expected.json").read_text())[f"{ground_truth}.json vs pred.json"]
    figures = [100 * value for value in result.all[:3]]
    np.testing.assert_allclose(figures, [published[key] for key in ("PQ", "SQ", "RQ")], rtol=0, atol=1e-10)
    assert result.all.n == published["N"]


@pytest.mark.data
def test_fixture_without_a_prediction_for_an_image(shared):
    """The six void pixels move the sixth digit; the rest is as published."""
    folder = shared / "data" / "pq_fixture"
    args = (folder / "gt_missing.json", folder / "gt_missing", folder / "pred.json", folder / "pred")
    published = json.loads((folder / "expected.json").read_text())["gt_missing.json vs pred.json"]
    with pytest.warns(UserWarning, match="pred.json: no prediction for 1 of "):
        result = score_folders(*args)
    assert 100 * result.all.rq == pytest.approx(published["RQ"], abs=1e-10)
    assert 100 * result.all.pq == pytest.approx(published["PQ"], abs=1e-3)


def test_a_perfect_prediction_scores_one(tmp_path):
    images = {1: (np.array([[1, 1, 2, 0]]), [segment(1, 7), segment(2, 2)])}
    gt, pred = write_folder(tmp_path, "gt", images), write_folder(tmp_path, "pred", images)
    assert score_folders(*gt, *pred).all == (1.0, 1.0, 1.0, 2)


def test_images_keep_their_order_and_their_figures(saved):
    counted = count_folders(*saved)
    assert [image.image_id for image in counted.images] == [3, 1, 22, 4]
    assert [image.file_name for image in counted.images] == ["3.png", "1.png", "22.png", "4.png"]
    assert len({image_quality(image.counts).pq for image in counted.images}) == 4
    assert counted.categories == CATEGORIES


def test_the_number_of_threads_changes_nothing(saved):
    assert score_folders(*saved, num_threads=1) == score_folders(*saved, num_threads=3) == score_folders(*saved)


def test_an_image_without_a_prediction_is_all_false_negatives(saved):
    edit_json(saved[2], lambda content: content["annotations"].pop())
    with pytest.warns(UserWarning, match=r"pred.json: no prediction for 1 of 4 images of .*gt.json \(4.jpg\)"):
        last = count_folders(*saved).images[-1].counts
    ordinary = [s for s in json.loads(saved[0].read_text())["annotations"][-1]["segments_info"] if not s["iscrowd"]]
    assert last.false_negative.sum() == len(ordinary) > 0
    assert last.true_positive.sum() == last.false_positive.sum() == 0


def test_no_predictions_at_all_score_zero(saved):
    edit_json(saved[2], lambda content: content["annotations"].clear())
    with pytest.warns(UserWarning, match=r"no prediction for 4 of 4 images .*\(3.jpg, 1.jpg, 22.jpg, \.\.\.\)"):
        result = score_folders(*saved)
    assert result.all[:3] == (0, 0, 0)
    assert result.all.n == 4


def test_an_image_predicted_empty_is_all_misses(saved):
    edit_json(saved[2], lambda content: content["annotations"][0]["segments_info"].clear())
    write_id_map(saved[3] / "3.png", np.zeros((48, 64), np.int32))
    first = count_folders(*saved).images[0].counts
    assert first.false_negative.sum() > 0
    assert first.false_positive.sum() == 0


def test_predictions_for_other_images_are_left_out_with_a_warning(saved):
    expected = score_folders(*saved)
    edit_json(saved[2], lambda c: c["annotations"].append({**c["annotations"][0], "image_id": 99}))
    with pytest.warns(UserWarning, match=r"pred.json: 1 of 5 predictions left out.*gt.json \(image 99\)"):
        assert score_folders(*saved) == expected


def renumber(content):
    """Give the images the ids that a program invents which does not know the ground truth's: 1, 2, 3, ..."""
    ids = {image["id"]: number for number, image in enumerate(content["images"], start=1)}
    for image in content["images"]:
        image["id"] = ids[image["id"]]
    for entry in content["annotations"]:
        entry["image_id"] = ids[entry["image_id"]]


def test_images_are_paired_by_file_name_where_ids_are_invented(saved):
    expected = score_folders(*saved)
    edit_json(saved[2], renumber)
    edit_json(saved[2], lambda c: [i.update(file_name=f"photos/val/{i['file_name'][:-4]}.png") for i in c["images"]])
    assert {i["id"] for i in json.loads(saved[2].read_text())["images"]} & {3, 1, 22, 4} == {1, 3, 4}
    assert score_folders(*saved) == expected


def test_predictions_for_other_images_are_refused_though_their_ids_are_the_same(saved):
    expected = score_folders(*saved)
    edit_json(saved[2], lambda c: [image.update(file_name=f"other{image['id']}.jpg") for image in c["images"]])
    with pytest.raises(DatasetError, match=r"pred.json: image 3 is other3.jpg, but 3.jpg in .*gt.json, and no file"):
        score_folders(*saved)
    edit_json(saved[2], lambda content: content.pop("images"))
    assert score_folders(*saved) == expected


def test_classes_of_other_names_are_warned_of(saved):
    expected = score_folders(*saved)
    edit_json(saved[2], lambda content: content["categories"][2].update(name="boat"))
    with pytest.warns(UserWarning, match=r"pred.json: category 90 is 'boat', but 'car' in .*gt.json"):
        assert score_folders(*saved) == expected


def test_predictions_need_no_categories(saved):
    expected = score_folders(*saved)
    edit_json(saved[2], lambda content: content.pop("categories"))
    assert score_folders(*saved) == expected


def test_flags_may_be_text_and_numbers_may_be_floats(saved):
    expected = score_folders(*saved)

    def change(content):
        for category in content["categories"]:
            category["isthing"] = str(category["isthing"])
        for annotation in content["annotations"]:
            annotation["image_id"] = float(annotation["image_id"])
            for entry in annotation["segments_info"]:
                entry.update(iscrowd=str(entry["iscrowd"]), id=float(entry["id"]))

    edit_json(saved[0], change)
    assert score_folders(*saved) == expected


def first(content: dict, key: str, value: object) -> None:
    content["annotations"][0][key] = value


FAULTS = [
    (0, lambda c: c.pop("annotations"), "gt.json: is not a COCO panoptic file"),
    (0, lambda c: c.pop("categories"), "gt.json: 'categories' must be a list"),
    (0, lambda c: c["categories"].clear(), "at least one category"),
    (0, lambda c: c["categories"][0].pop("isthing"), "gt.json: category number 0 has no 'isthing'"),
    (0, lambda c: c["categories"][0].update(isthing=None), "gt.json: category number 0 .* has isthing None"),
    (0, lambda c: c["annotations"].clear(), "gt.json: its list 'annotations' is empty"),
    (2, lambda c: c["annotations"][1].pop("file_name"), "pred.json: annotation number 1 has no usable 'file_name'"),
    (2, lambda c: first(c, "image_id", 1.5), "annotation number 0 has no usable 'image_id'"),
    (2, lambda c: first(c, "segments_info", None), "annotation number 0 has no usable 'segments_info'"),
    (2, lambda c: first(c, "segments_info", [5]), "annotation number 0 has no usable 'segments_info'"),
    (2, lambda c: c["annotations"].insert(0, None), "annotation number 0 has no usable 'image_id'"),
    (2, lambda c: first(c, "image_id", 4), "pred.json: image_id 4 is annotated twice"),
    (
        2,
        lambda c: [a.update(image_id=str(a["image_id"])) for a in c["annotations"]],
        "'3'.*there is 3; write both",
    ),
    (2, lambda c: first(c, "file_name", "absent.png"), "absent.png: no such file"),
    (2, lambda c: first(c, "segments_info", []), "3.png against .*3.png: the prediction's id map has ids"),
    (2, lambda c: c["annotations"][0]["segments_info"][0].update(category_id=5), "prediction: .* category_id 5"),
    (0, lambda c: c["annotations"][0]["segments_info"][0].update(category_id=5), "ground truth: .* category_id 5"),
    (0, lambda c: c["annotations"][0]["segments_info"][0].update(id="5"), "ground truth: .* whole numbers, not text"),
    (0, lambda c: c["annotations"][0]["segments_info"][0].update(iscrowd=None), "ground truth: .* has iscrowd None"),
]


@pytest.mark.parametrize(("which", "change", "message"), FAULTS)
def test_faults_in_the_files_are_named(saved, which, change, message):
    edit_json(saved[which], change)
    with pytest.raises(DatasetError, match=message) as caught:
        score_folders(*saved)
    assert "\n" not in str(caught.value)


def test_faults_on_the_disk_are_named(saved):
    gt_json, gt_folder, pred_json, pred_folder = saved
    with pytest.raises(DatasetError, match=r"absent\.json: no such file; check the name"):
        score_folders(gt_folder / "absent.json", gt_folder, pred_json, pred_folder)
    with pytest.raises(DatasetError, match=r"absent: no such folder; it should hold the PNGs of .*pred.json"):
        score_folders(gt_json, gt_folder, pred_json, pred_folder / "absent")
    with pytest.raises(DatasetError, match=r"3\.png: is not a JSON file"):
        score_folders(gt_folder / "3.png", gt_folder, pred_json, pred_folder)
    pred_json.write_text("[]")
    with pytest.raises(DatasetError, match=r"pred\.json: is not a COCO panoptic file"):
        score_folders(*saved)


def test_a_damaged_or_resized_png_is_named(saved):
    (saved[3] / "22.png").write_bytes((saved[3] / "22.png").read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"22\.png: .*cannot be read as a panoptic PNG"):
        score_folders(*saved)
    write_id_map(saved[3] / "22.png", np.zeros((24, 32), np.int32))
    with pytest.raises(DatasetError, match=r"22\.png against .*: the prediction is 32x24 pixels but"):
        score_folders(*saved)


def test_scoring_saved_files_does_without_torch():
    code = "import sys, yoso.evaluation.folders, yoso.evaluation.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
