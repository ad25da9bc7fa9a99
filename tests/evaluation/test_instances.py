"""Mask AP: figures worked out by hand, saved files scored by hotcoco, and what the rule does with crowd and void."""

import json
import math
import sys

import numpy as np
import pytest
from hotcoco import COCO, COCOeval, mask

from panoptic_pairs import CATEGORIES, random_pair, segment
from yoso.errors import ConfigError, DatasetError
from yoso.evaluation.instances import ImageInstances, Instance, mask_ap, run_lengths, true_instances

PERSON, SKY, CAR = 7, 2, 90
SIZE = (40, 60)


def square(left, side=20, *, class_index=0, **fields):
    """Return an instance: a square at the top, so many pixels from the left."""
    drawn = np.zeros(SIZE, bool)
    drawn[:side, left : left + side] = True
    return Instance(class_index, run_lengths(drawn), side * side, **fields)


def scored(truth, detected):
    return mask_ap([ImageInstances("one", SIZE, truth, detected)], CATEGORIES)


def test_figures_worked_out_by_hand():
    """Of three detections the best and the third are right: precision 1 up to recall 0.5, then 2/3."""
    detected = [square(0, score=0.9), square(10, 8, score=0.8), square(30, score=0.7)]
    result = scored([square(0), square(30)], detected)
    assert result.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert (result.ap50, result.ap75, result.ap_small) == pytest.approx((result.ap, result.ap, result.ap))
    assert math.isnan(result.ap_medium)
    assert math.isnan(result.ap_large)
    assert result.n == 1
    person, car = result.per_class
    assert (person.ap, person.true_instances, person.detections) == (pytest.approx(result.ap), 2, 3)
    assert math.isnan(car.ap)


def test_an_iou_of_0_6_counts_at_three_of_ten_thresholds():
    result = scored([square(0)], [Instance(0, square(0).counts, 400), square(40, 4, score=0.5)])
    assert result.ap == 1
    part = np.zeros(SIZE, bool)
    part[:12, :20] = True
    result = scored([square(0)], [Instance(0, run_lengths(part), 240)])
    assert (result.ap50, result.ap75) == (1, 0)
    assert result.ap == pytest.approx(0.3)


def test_a_crowd_excuses_detections_of_its_class():
    truth = [square(0), square(30, is_crowd=True)]
    assert scored(truth, [square(30, score=0.9), square(0, score=0.5)]).ap == 1
    assert scored(truth, [square(30, score=0.9, class_index=2), square(0, score=0.5)]).per_class[0].ap == 1


def test_void_excuses_nothing():
    assert scored([square(0)], [square(30, score=0.9), square(0, score=0.5)]).ap == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("truth", "detected"),
    [([], []), ([], [square(0)]), ([square(0, is_crowd=True)], [square(0)]), ([square(0, is_crowd=True)], [])],
    ids=["nothing", "detections only", "crowd", "crowd, nothing found"],
)
def test_without_a_thing_there_is_no_figure(truth, detected):
    result = scored(truth, detected)
    assert result.n == 0
    assert all(math.isnan(value) for value in result[:6])


def test_what_is_not_found_is_0():
    assert scored([square(0)], []).ap == 0
    assert mask_ap([], CATEGORIES).n == 0


def test_stuff_has_no_part():
    result = scored([square(0)], [square(0, score=0.5), square(0, class_index=1, score=0.9)])
    assert result.ap == 1
    only_stuff = type(CATEGORIES)(category for category in CATEGORIES if not category.is_thing)
    assert mask_ap([ImageInstances("one", SIZE, [], [])], only_stuff).per_class == ()


def test_run_lengths_are_cocos():
    drawn = np.random.default_rng(0).random((37, 53)) < 0.3
    counts = run_lengths(drawn)
    assert isinstance(counts, str)
    np.testing.assert_array_equal(mask.decode({"size": [37, 53], "counts": counts}), drawn)


def test_the_truth_is_the_things_with_a_pixel():
    id_map = np.array([[1, 1, 2, 3, 0]])
    listed = [segment(1, PERSON), segment(2, SKY), segment(3, CAR, 1), segment(4, CAR)]
    found = true_instances(id_map, listed, CATEGORIES)
    assert [(f.class_index, f.area, f.is_crowd) for f in found] == [(0, 2, False), (2, 1, True)]
    np.testing.assert_array_equal(mask.decode({"size": [1, 5], "counts": found[0].counts}), [[1, 1, 0, 0, 0]])


def drawn_images():
    """Return images whose detections are the panoptic predictions with made-up scores, segments of up to 100 pixels."""
    rng = np.random.default_rng(5)
    images = []
    for number in range(6):
        gt_map, gt_segments, pred_map, pred_segments = random_pair(np.random.default_rng(number))
        gt_map, pred_map = (np.kron(m, np.ones((5, 5), np.int32)) for m in (gt_map, pred_map))
        detected = [f._replace(score=float(rng.random())) for f in true_instances(pred_map, pred_segments, CATEGORIES)]
        truth = true_instances(gt_map, gt_segments, CATEGORIES)
        images.append(ImageInstances(f"{number}.png", gt_map.shape, truth, detected))
    return images


def save_as_coco(folder, images):
    """Write COCO's two files, ground truth and results; return their paths."""
    truth, results = [], []
    for image_id, image in enumerate(images, start=1):
        for found, rows in ((image.truth, truth), (image.detected, results)):
            for instance in found:
                rle = {"size": list(image.size), "counts": instance.counts}
                category_id = CATEGORIES[instance.class_index].id
                rows.append({"image_id": image_id, "category_id": category_id, "segmentation": rle})
                if rows is truth:
                    rows[-1] |= {"id": len(rows), "area": instance.area, "iscrowd": int(instance.is_crowd)}
                    rows[-1] |= {"bbox": [0, 0, 1, 1]}
                else:
                    rows[-1] |= {"score": instance.score}
    sizes = [{"id": i, "height": image.size[0], "width": image.size[1]} for i, image in enumerate(images, start=1)]
    things = [{"id": c.id, "name": c.name} for c in CATEGORIES if c.is_thing]
    (folder / "truth.json").write_text(json.dumps({"images": sizes, "annotations": truth, "categories": things}))
    (folder / "results.json").write_text(json.dumps(results))
    return folder / "truth.json", folder / "results.json"


def test_equals_hotcoco_on_saved_files(tmp_path, capfd):
    images = drawn_images()
    truth, results = save_as_coco(tmp_path, images)
    gt = COCO(str(truth))
    evaluation = COCOeval(gt, gt.load_res(str(results)), "segm")
    evaluation.run()
    result = mask_ap(images, CATEGORIES)
    theirs = [value if value > -1 else math.nan for value in evaluation.stats[:6]]
    np.testing.assert_allclose(result[:6], theirs, rtol=0, atol=1e-12)
    assert 0.05 < result.ap < result.ap50 < 1
    assert not math.isnan(result.ap_medium)
    assert capfd.readouterr().err == ""


def test_it_does_not_depend_on_the_order_of_images():
    images = drawn_images()
    assert repr(mask_ap(images[::-1], CATEGORIES)) == repr(mask_ap(images, CATEGORIES))


def test_scoring_prints_nothing(capfd):
    mask_ap(drawn_images()[:2], CATEGORIES)
    assert capfd.readouterr() == ("", "")


def test_an_image_given_twice_is_refused():
    image = ImageInstances("a.png", SIZE, [], [])
    with pytest.raises(DatasetError, match=r"a\.png: occurs twice among the images to score"):
        mask_ap([image, image], CATEGORIES)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ConfigError, match=r'pip install "yoso-panoptic\[eval\]"'):
        run_lengths(np.zeros(SIZE, bool))


@pytest.mark.data
def test_the_truth_of_two_photographs_scores_1(shared):
    """Official annotations, crowds among them, handed in as detections."""
    from yoso.categories import Categories
    from yoso.files import read_id_map, read_json

    folder = shared / "data" / "coco_sample"
    categories = Categories.from_json(read_json(folder / "panoptic_coco_categories.json"))
    images, crowds = [], 0
    for entry in read_json(folder / "panoptic_examples.json")["annotations"]:
        id_map = read_id_map(folder / "panoptic" / entry["file_name"])
        truth = true_instances(id_map, entry["segments_info"], categories)
        listed = {
            s["id"]: s["area"]
            for s in entry["segments_info"]
            if categories[categories.index_of(s["category_id"])].is_thing
        }
        assert sorted(f.area for f in truth) == sorted(listed.values())
        crowds += sum(f.is_crowd for f in truth)
        images.append(
            ImageInstances(entry["file_name"], id_map.shape, truth, [f._replace(is_crowd=False) for f in truth])
        )
    assert crowds > 0
    result = mask_ap(images, categories)
    assert (result.ap, result.ap50, result.ap75) == (1, 1, 1)
    assert result.n > 2
