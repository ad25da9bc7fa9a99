import json
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from yoso.apps.cli import main
from yoso.evaluation.folders import count_folders
from yoso.evaluation.report import as_json
from yoso.files import read_image


@pytest.fixture
def evaluate(tiny_model, tmp_path, capsys):
    def run(data, *arguments, model=tiny_model, output=tmp_path / "out"):
        words = ["eval", "--model", model, "--data", data, "--output", output, *arguments]
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return run


def test_figures_are_those_of_the_saved_predictions(evaluate, tiny_dataset, tmp_path):
    status, out, err = evaluate(tiny_dataset, "--json")
    assert (status, err) == (0, [])
    metrics = json.loads(out)
    assert metrics == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["images"], metrics["split"], metrics["input_size"]) == (8, "val", [64, 128])
    truth = tiny_dataset / "annotations" / "panoptic_val.json"
    counts = count_folders(
        truth, truth.with_suffix(""), tmp_path / "out" / "panoptic.json", tmp_path / "out" / "panoptic"
    )
    scored = as_json(counts.result(), counts.categories)
    assert {key: metrics[key] for key in scored} == scored


def test_the_table_and_the_sheet(evaluate, tiny_dataset, tmp_path):
    status, out, err = evaluate(tiny_dataset, "--limit", "3")
    assert (status, err) == (0, [])
    assert all(word in out for word in ("square", "sky", "ground", "things", "stuff", "all", "worst.png", "3 images"))
    sheet = read_image(tmp_path / "out" / "worst.png")
    # Three images of three pictures each, six pictures to a row.
    assert sheet.shape[1] > 6 * 320
    assert 2 * 240 < sheet.shape[0] < 3 * 320


def test_a_perfect_prediction_scores_1(evaluate, tiny_dataset, tmp_path, monkeypatch):
    """The truth itself, handed in as if the network had said it."""
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec
    from yoso.inference.engine import Timings
    from yoso.inference.predictor import Predictor

    dataset = PanopticDataset(load_spec(tiny_dataset).split("val"))
    answers = iter([dataset.example(index) for index in range(len(dataset))])

    def timed(self, image, **options):
        example = next(answers)
        infos, segmentation = [], np.zeros_like(example.id_map)
        for number, segment in enumerate((s for s in example.segments if not s["iscrowd"]), start=1):
            label_id = dataset.categories.index_of(segment["category_id"])
            segmentation[example.id_map == segment["id"]] = number
            category = dataset.categories[label_id]
            infos.append(
                {"id": number, "label_id": label_id, "label": category.name, "is_thing": category.is_thing, "score": 1}
            )
        return {"segmentation": segmentation, "segments_info": infos}, Timings(0.1, 0.1, 0.1, 0.1)

    monkeypatch.setattr(Predictor, "timed", timed)
    status, out, _ = evaluate(tiny_dataset, "--json")
    assert status == 0
    metrics = json.loads(out)
    assert (metrics["all"]["pq"], metrics["things"]["pq"], metrics["stuff"]["pq"]) == (1, 1, 1)
    assert metrics["median_seconds"] == pytest.approx(0.3)


def test_other_classes_are_refused(evaluate, tiny_dataset, tmp_path):
    other = shutil.copytree(tiny_dataset, tmp_path / "other")
    path = other / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "circle"
    path.write_text(json.dumps(content))
    status, out, err = evaluate(other)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert "'square'" in err[0]
    assert "'circle'" in err[0]


@pytest.mark.parametrize("name", ["metrics.json", "panoptic.json", "panoptic", "confusion.png", "instances.json"])
def test_what_another_program_wrote_is_not_replaced(evaluate, tiny_dataset, tmp_path, name):
    out = tmp_path / "out"
    (out / "panoptic").mkdir(parents=True)
    path = out / "panoptic" / "0.png" if name == "panoptic" else out / name
    path.write_text('{"all": {"pq": 1}}')
    status, _, err = evaluate(tiny_dataset, "--tasks", "panoptic,instance", "--limit", "1")
    assert status == 2
    assert len(err) == 1
    assert err[0].startswith(f"error: {out / name}: exists and was not written by `yoso predict` or `yoso eval`")
    assert [p for p in out.rglob("*") if p.is_file()] == [path]
    assert path.read_text() == '{"all": {"pq": 1}}'


def test_an_earlier_output_is_replaced_and_its_scores_never_stand_beside_other_predictions(
    evaluate, tiny_dataset, tmp_path, monkeypatch
):
    assert evaluate(tiny_dataset, "--limit", "2")[0] == 0
    assert evaluate(tiny_dataset, "--limit", "1")[0] == 0
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["0.png"]
    monkeypatch.setattr("yoso.data.coco_panoptic.write_id_map", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    status, _, err = evaluate(tiny_dataset, "--limit", "2")
    assert (status, err) == (143, ["terminated"])
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"] == []


def test_a_tuning_is_known_by_its_mark(evaluate, tiny_dataset, tmp_path):
    for _ in range(2):
        assert evaluate(tiny_dataset, "--tune", "--limit", "1")[0] == 0
    (tmp_path / "out" / "tuning.json").write_text("{}")
    status, _, err = evaluate(tiny_dataset, "--tune", "--limit", "1")
    assert status == 2
    assert "tuning.json: exists and was not written by" in err[0]


@pytest.mark.parametrize("kind", ["no split", "missing photograph", "truth as output", "other size"])
def test_bad_data_is_one_line(evaluate, tiny_dataset, tmp_path, kind):
    data = shutil.copytree(tiny_dataset, tmp_path / "copy")
    arguments, hint, output = [], "", tmp_path / "out"
    if kind == "no split":
        arguments, hint = ["--split", "test"], "'test'"
    elif kind == "missing photograph":
        (data / "val" / "5.png").unlink()
        hint = "5.png"
    elif kind == "other size":
        Image.new("RGB", (3, 4)).save(data / "val" / "2.png")
        hint = "2.png"
    else:
        output, hint = data / "annotations", "ground truth"
        (data / "annotations" / "panoptic_val").rename(data / "annotations" / "panoptic")
        (data / "annotations" / "panoptic_val.json").rename(data / "annotations" / "panoptic.json")
        folders = {"images": "val", "masks": "annotations/panoptic", "annotations": "annotations/panoptic.json"}
        data = data / "data.yaml"
        data.write_text(json.dumps({"val": folders}))
    status, _, err = evaluate(data, *arguments, output=output)
    assert status == 2
    assert len(err) == 1
    assert hint in err[0]
