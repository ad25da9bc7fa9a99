"""`yoso eval --tasks` and `--tune`: one pass for all scores, odd data sets, and the search for thresholds."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from yoso.apps.cli import main
from yoso.categories import Categories, Category
from yoso.data.coco_panoptic import ImageRecord, PanopticWriter
from yoso.files import read_image

ALL = "panoptic,instance,semantic"


@pytest.fixture(autouse=True)
def one_thread():
    """The network is too small to share among threads, which then mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def evaluate(tiny_model, tiny_dataset, tmp_path, capsys):
    def run(*arguments, data=tiny_dataset, model=tiny_model):
        words = ["eval", "--model", model, "--data", data, "--output", tmp_path / "out", *arguments]
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def measured(evaluate):
    def run(*arguments, **options):
        status, out, err = evaluate(*arguments, "--json", **options)
        assert (status, err) == (0, [])
        return json.loads(out)

    return run


def test_all_tasks_run_the_network_once_per_image(measured, tmp_path, monkeypatch):
    from yoso.inference.predictor import Predictor

    calls = []

    def outputs(self, image, **options):
        calls.append(image.shape)
        return original(self, image, **options)

    original = Predictor.outputs
    alone = measured("--limit", "4")
    assert calls == []
    monkeypatch.setattr(Predictor, "outputs", outputs)
    monkeypatch.setattr(Predictor, "timed", None)
    together = measured("--tasks", ALL, "--limit", "4")
    assert calls == [(96, 128, 3)] * 4
    timeless = {key: value for key, value in alone.items() if key != "median_seconds"}
    assert {key: together[key] for key in timeless} == timeless
    assert set(together) - set(alone) == {"instance", "semantic"}
    assert together == json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_scores_are_those_of_the_network_s_logits(measured, tiny_model, tiny_dataset, tmp_path):
    """Counted anew from the logits, mask by mask and pixel by pixel."""
    import hotcoco

    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec
    from yoso.inference.loading import load
    from yoso.postprocess import semantic

    metrics = measured("--tasks", "semantic,instance", "--device", "cpu", "--limit", "4")
    assert "all" not in metrics
    assert not (tmp_path / "out" / "panoptic.json").exists()
    dataset, predictor = PanopticDataset(load_spec(tiny_dataset).split("val")), load(tiny_model, "cpu")
    matrix, truth = np.zeros((3, 3), np.int64), []
    for index in range(4):
        example = dataset.example(index)
        with torch.no_grad():
            predicted = semantic(*predictor.outputs(example.image)).argmax(0).numpy()
        for part in example.segments:
            inside = example.id_map == part["id"]
            true_class = dataset.categories.index_of(part["category_id"])
            matrix[true_class] += np.bincount(predicted[inside], minlength=3)
            if true_class == 0:
                rle = hotcoco.mask.encode(np.asfortranarray(inside.astype(np.uint8)))
                rle = {"size": list(inside.shape), "counts": rle["counts"].decode()}
                truth.append({"id": len(truth) + 1, "image_id": index, "category_id": 3, "segmentation": rle})
                truth[-1] |= {"area": int(inside.sum()), "iscrowd": part["iscrowd"], "bbox": [0, 0, 1, 1]}
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    assert metrics["semantic"]["miou"] == pytest.approx((matrix.diagonal() / union).mean(), abs=1e-12)
    assert metrics["semantic"]["pixel_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum(), abs=1e-12)
    images = [{"id": index, "height": 96, "width": 128} for index in range(4)]
    gt = hotcoco.COCO({"images": images, "annotations": truth, "categories": [{"id": 3, "name": "square"}]})
    evaluation = hotcoco.COCOeval(gt, gt.load_res(str(tmp_path / "out" / "instances.json")), "segm")
    evaluation.run()
    expected = [None if value < 0 else pytest.approx(value, abs=1e-12) for value in evaluation.stats[:6]]
    keys = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    assert [metrics["instance"][key] for key in keys] == expected


def test_the_tables_and_the_pictures(evaluate, tmp_path):
    status, out, err = evaluate("--tasks", ALL, "--limit", "2")
    assert (status, err) == (0, [])
    for word in (
        "Panoptic quality",
        "Things by size",
        "Most confused classes",
        "mask AP",
        "mIoU",
        "confusion.png",
        "instances.json",
    ):
        assert word in out
    picture = read_image(tmp_path / "out" / "confusion.png")
    assert picture.shape[1] > 2 * 4 * 48
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("instances", "Did you mean 'instance'?"),
        ("panoptic,boxes", "unknown task 'boxes'"),
        (",", "give at least one task"),
    ],
)
def test_an_unknown_task(evaluate, value, hint):
    status, out, err = evaluate("--tasks", value)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert hint in err[0]


def test_a_missing_package_is_named_before_any_work(evaluate, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    status, out, err = evaluate("--tasks", ALL)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert err == ['error: mask AP needs faster-coco-eval; run: pip install "yoso-panoptic[eval]"']
    assert not (tmp_path / "out").exists()
    assert evaluate("--tasks", "panoptic,semantic", "--limit", "1")[0] == 0


CLASSES = Categories(
    [
        Category(3, "square", True, (220, 40, 40)),
        Category(7, "sky", False, (80, 140, 240)),
        Category(9, "ground", False, (90, 160, 60)),
    ]
)


def odd_dataset(folder, kind):
    """Write a split of two photographs: without a segment, with a crowd alone, or with one class alone."""
    writer = PanopticWriter(
        folder / "annotations" / "panoptic_val.json", folder / "annotations" / "panoptic_val", CLASSES
    )
    (folder / "val").mkdir(parents=True)
    for index in range(2):
        id_map = np.zeros((48, 64), np.int32)
        segments = []
        if kind != "void":
            id_map[:20] = 5
            segments = [{"id": 5, "category_id": 3 if kind == "crowd" else 7, "iscrowd": int(kind == "crowd")}]
        Image.fromarray(np.full((48, 64, 3), 99, np.uint8)).save(folder / "val" / f"{index}.png")
        writer.add(ImageRecord(index, f"{index}.png", f"{index}.png", 48, 64), id_map, segments)
    writer.close()
    return folder


@pytest.mark.parametrize("kind", ["void", "crowd", "one class"])
def test_what_does_not_occur_is_absent_not_0(measured, tmp_path, kind):
    options = ["--object-mask-threshold", "1", "--tasks", ALL]
    metrics = measured(*options, data=odd_dataset(tmp_path / "odd", kind))
    assert metrics["instance"]["ap"] is None
    assert metrics["instance"]["n"] == 0
    assert metrics["things"]["pq"] is None
    assert all(figures["pq"] is None for figures in metrics["by_size"].values())
    confusion = metrics["confusion"]
    assert np.sum(confusion["pixels"]) == 2 * 48 * 64
    assert np.sum(confusion["pixels"], axis=1)[-1] == (2 * 48 * 64 if kind == "void" else 2 * 28 * 64)
    assert np.sum(confusion["segments"]) == (2 if kind == "one class" else 0)
    ious = [row["iou"] for row in metrics["semantic"]["per_class"]]
    there = {"void": [], "crowd": [0], "one class": [1]}[kind]
    assert [index for index, value in enumerate(ious) if value is not None] == there
    assert metrics["semantic"]["n"] == len(there)
    if kind == "void":
        assert metrics["semantic"]["miou"] is None
        assert metrics["all"]["pq"] is None
    if kind == "one class":
        assert metrics["all"]["pq"] == 0


def test_a_thing_that_is_never_found_scores_0(measured, monkeypatch):
    monkeypatch.setattr("yoso.postprocess.instance_masks", lambda *_: iter(()))
    metrics = measured("--tasks", "instance", "--limit", "1")
    assert metrics["instance"]["n"] == 1
    assert metrics["instance"]["ap"] == metrics["instance"]["ap50"] == 0


@pytest.fixture
def own_model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "own")


def test_tuning_equals_evaluating_at_the_best_pair(measured, own_model, tmp_path):
    before = json.loads((own_model / "config.json").read_text())
    found = measured("--tune", "--write", "--limit", "3", model=own_model)
    assert found == json.loads((tmp_path / "out" / "tuning.json").read_text())
    best = found["best"]
    flat = [value for row in found["pq"] for value in row]
    assert best["pq"] == max(flat) > min(flat)
    after = json.loads((own_model / "config.json").read_text())
    pair = {name: best[name] for name in ("object_mask_threshold", "overlap_threshold")}
    assert after == {**before, "inference": {**before["inference"], **pair}}
    assert found["inference"] == after["inference"]
    assert measured("--limit", "3", model=own_model)["all"]["pq"] == best["pq"]
    rows, columns = found["object_mask_thresholds"], found["overlap_thresholds"]
    assert rows == columns == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    at = ("--object-mask-threshold", "0.4", "--overlap-threshold", "0.2", "--limit", "3")
    assert measured(*at)["all"]["pq"] == found["pq"][4][2]


def test_the_network_runs_once_per_image_of_the_search(evaluate, monkeypatch):
    from yoso.model.yoso import YOSO

    calls = []

    def forward(self, images):
        calls.append(len(images))
        return original(self, images)

    original = YOSO.forward
    monkeypatch.setattr(YOSO, "forward", forward)
    status, out, _ = evaluate("--tune", "--limit", "3", "--overlap-threshold", "0.35")
    assert status == 0
    assert calls == [1, 1, 1]
    for word in (
        "PQ (x100)",
        "0.35",
        "best: PQ",
        '"object_mask_threshold": ',
        '"overlap_threshold": 0.35',
        "tuning.json",
    ):
        assert word in out


def test_the_model_s_own_thresholds_are_on_the_grid(measured, own_model):
    content = json.loads((own_model / "config.json").read_text())
    content["inference"] |= {"object_mask_threshold": 0.25, "overlap_threshold": 0.8}
    (own_model / "config.json").write_text(json.dumps(content))
    found = measured("--tune", "--limit", "1", "--input-size", "32", model=own_model)
    assert 0.25 in found["object_mask_thresholds"]
    assert len(found["overlap_thresholds"]) == 10
    assert found["inference"]["input_size"] == [32, 10**9]
    assert json.loads((own_model / "config.json").read_text()) == content


@pytest.mark.parametrize("kind", ["bundled", "read-only", "void", "tasks", "no --tune"])
def test_a_search_that_cannot_be(evaluate, own_model, tmp_path, monkeypatch, kind):
    arguments, options, hint = ["--tune", "--write"], {"model": own_model}, ""
    before = (own_model / "config.json").read_bytes()
    if kind == "bundled":
        options, hint = {"model": "facades-mnv2"}, "comes with the package"
    elif kind == "read-only":
        # Nothing is read-only to the superuser, as whom tests may run.
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        hint = "config.json: cannot be written (permission denied)"
    elif kind == "void":
        options["data"], hint = odd_dataset(tmp_path / "odd", "void"), "there is no PQ"
        arguments += ["--object-mask-threshold", "1"]
    elif kind == "tasks":
        arguments, hint = ["--tune", "--tasks", "semantic"], "leave --tasks out"
    else:
        arguments, hint = ["--write"], "give both"
    status, out, err = evaluate(*arguments, **options)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert hint in err[0]
    assert (own_model / "config.json").read_bytes() == before
    assert not (tmp_path / "out" / "tuning.json").exists()


def test_an_empty_split_is_refused(evaluate, tmp_path):
    data = odd_dataset(tmp_path / "odd", "void")
    path = data / "annotations" / "panoptic_val.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    status, out, err = evaluate("--tune", data=data)
    assert (status, out) == (2, "")
    assert "has no image with an annotation" in err[0]


def test_pq_of_saved_files_draws_its_confusion(evaluate, tiny_dataset, tmp_path, capsys):
    assert evaluate("--limit", "8")[0] == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    truth = tiny_dataset / "annotations" / "panoptic_val.json"
    files = (truth, truth.with_suffix(""), tmp_path / "out" / "panoptic.json", tmp_path / "out" / "panoptic")
    words = ["pq", *map(str, files), "--confusion", str(tmp_path / "own.png")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {key: metrics[key] for key in found} == found
    assert {"by_size", "confusion"} <= found.keys()
    np.testing.assert_array_equal(read_image(tmp_path / "own.png"), read_image(tmp_path / "out" / "confusion.png"))
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "Things by size" in out
    assert "Most confused classes" in out


@pytest.mark.parametrize(
    ("name", "reason"),
    [("truth.json", "the picture is a PNG; give a name that ends in .png"), ("truth/1.png", "is a folder of inputs")],
)
def test_pq_never_draws_over_its_inputs(name, reason, tmp_path, capsys):
    (tmp_path / "truth").mkdir()
    for file in ("truth.json", "truth/1.png"):
        (tmp_path / file).write_text("{}")
    words = [str(tmp_path / part) for part in ("truth.json", "truth", "pred.json", "pred")]
    assert main(["pq", *words, "--confusion", str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert (tmp_path / name).read_text() == "{}"
