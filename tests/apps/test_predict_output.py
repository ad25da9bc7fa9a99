"""What `yoso predict` writes, what it never replaces, and how a run that was stopped is continued."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yoso.apps.cli import main
from yoso.data import coco_panoptic
from yoso.data.coco_panoptic import read_annotations
from yoso.data.prediction_folder import PredictionWriter, earlier_predictions, reserved
from yoso.errors import OutputError
from yoso.files import read_id_map
from yoso.inference.predictor import Predictor


@pytest.fixture
def predict(tiny_model, tmp_path, capsys, one_thread):
    """Run `yoso predict` and return (exit status, the printed document, lines of standard error)."""

    def run(*arguments, output=tmp_path / "out"):
        words = [str(argument) for argument in arguments]
        options = ["--model", str(tiny_model), "--output", str(output), "--device", "cpu", "--json"]
        status = main(["predict", *words, *options])
        captured = capsys.readouterr()
        return status, json.loads(captured.out) if captured.out else None, captured.err.splitlines()

    return run


@pytest.fixture
def photos(tiny_dataset, tmp_path) -> Path:
    return shutil.copytree(tiny_dataset / "val", tmp_path / "photos")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names_of(document) -> list[str]:
    return [Path(image["file"]).name for image in document["images"]]


def listed(folder: Path) -> dict[str, list]:
    """Return `segments_info` by file name of the image, as the JSON of a folder lists them."""
    content = json.loads((folder / "panoptic.json").read_text())
    assert [image["id"] for image in content["images"]] == [entry["image_id"] for entry in content["annotations"]]
    names = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
    return {names[entry["image_id"]]: entry["segments_info"] for entry in content["annotations"]}


@pytest.mark.parametrize("kind", ["both", "JSON", "PNGs", "not JSON", "overlay"])
def test_what_another_program_wrote_is_not_replaced(predict, photos, tiny_dataset, tmp_path, kind):
    truth, out = tiny_dataset / "annotations" / "panoptic_val.json", tmp_path / "out"
    out.mkdir()
    if kind in {"both", "JSON"}:
        shutil.copy(truth, out / "panoptic.json")
    if kind in {"both", "PNGs"}:
        shutil.copytree(truth.with_suffix(""), out / "panoptic")
    if kind == "not JSON":
        (out / "panoptic.json").write_text("{")
    if kind == "overlay":
        shutil.copy(photos / "1.png", out / "0.overlay.png")
    before = contents(out)
    status, document, err = predict(photos)
    assert (status, document) == (2, None)
    name = {"overlay": "0.overlay.png", "PNGs": "panoptic"}.get(kind, "panoptic.json")
    assert err == [
        f"error: {out / name}: exists and was not written by `yoso predict` or `yoso eval` (is it a ground truth?); "
        "choose another --output"
    ]
    assert contents(out) == before


def test_an_image_is_never_its_own_output(predict, photos, tmp_path):
    assert predict(photos / "0.png", photos / "1.png")[0] == 0
    before = contents(tmp_path / "out")
    status, _, err = predict(tmp_path / "out" / "panoptic" / "1.png")
    assert status == 2
    assert err == [
        f"error: {tmp_path / 'out' / 'panoptic' / '1.png'}: is an input (an image or the ground truth); choose another "
        "--output"
    ]
    assert contents(tmp_path / "out") == before


def test_a_ground_truth_is_not_replaced_even_if_it_was_predicted(predict, photos, tmp_path, tiny_dataset):
    """Predictions that were made the annotations of a data set carry the mark of an output."""
    assert predict(photos)[0] == 0
    data = tmp_path / "data.yaml"
    data.write_text(
        json.dumps({"val": {"images": "photos", "masks": "out/panoptic", "annotations": "out/panoptic.json"}})
    )
    before = contents(tmp_path / "out")
    status, _, err = predict("--data", data)
    assert status == 2
    assert "panoptic.json: is an input" in err[0]
    assert contents(tmp_path / "out") == before


def test_an_earlier_output_is_replaced_and_its_overlays_are_no_images(predict, photos):
    """The output goes into the folder of the images."""
    for _ in range(2):
        status, document, err = predict(photos, output=photos)
        assert (status, err) == (0, [])
        assert names_of(document) == [f"{number}.png" for number in range(8)]
    status, document, _ = predict(f"{photos}/**/*.png", output=photos)
    assert (status, len(document["images"])) == (0, 8)
    assert len(list(photos.glob("*.png"))) == 16
    status, document, err = predict(f"{photos}/*.overlay.png", output=photos)
    assert status == 2
    assert err == [f"error: {photos}/*.overlay.png: holds only outputs of an earlier run; give the images themselves"]


def test_the_list_of_an_earlier_run_is_gone_before_its_pngs_change(predict, photos, tmp_path, monkeypatch):
    assert predict(photos / "0.png", photos / "1.png")[0] == 0
    seen = []

    def write_id_map(path, id_map):
        seen.append(listed(tmp_path / "out"))
        raise RuntimeError("a bug")

    monkeypatch.setattr(coco_panoptic, "write_id_map", write_id_map)
    with pytest.raises(RuntimeError):
        predict(photos / "1.png", photos / "0.png")
    assert seen == [{}]
    assert listed(tmp_path / "out") == {}


def test_the_list_is_saved_during_a_long_run(predict, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("yoso.data.prediction_folder.SAVE_SECONDS", 0.0)
    real, seen = Predictor.timed, []

    def timed(self, *args, **kwargs):
        seen.append(list(listed(tmp_path / "out")) if (tmp_path / "out" / "panoptic.json").is_file() else None)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Predictor, "timed", timed)
    assert predict(*(photos / f"{number}.png" for number in range(3)))[0] == 0
    assert seen == [None, ["0.png"], ["0.png", "1.png"]]


def stopping_at(monkeypatch, number, stop):
    """Let the prediction of an image, counted from 1, be interrupted."""
    real, calls = Predictor.timed, []

    def timed(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            stop()
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Predictor, "timed", timed)


STOPS = {130: lambda: os.kill(os.getpid(), signal.SIGINT), 143: lambda: os.kill(os.getpid(), signal.SIGTERM)}


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C interrupts, also where a shell that started the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("status", STOPS)
def test_a_run_that_is_stopped_lists_what_it_did_and_can_be_continued(predict, photos, tmp_path, monkeypatch, status):
    assert predict(photos, output=tmp_path / "whole")[0] == 0
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        stopping_at(patch, 4, STOPS[status])
        code, document, err = predict(photos)
    assert (code, names_of(document)) == (status, ["0.png", "1.png", "2.png"])
    assert err == ["error: stopped after 3 of 8 images; add --resume to the command to do the others"]
    assert signal.getsignal(signal.SIGTERM) == handler
    assert list(listed(tmp_path / "out")) == ["0.png", "1.png", "2.png"]
    code, document, err = predict(photos, "--resume")
    assert (code, err, document["earlier"]) == (0, [], 3)
    assert names_of(document) == ["3.png", "4.png", "5.png", "6.png", "7.png"]
    assert listed(tmp_path / "out") == listed(tmp_path / "whole")
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "whole").keys()
    code, document, err = predict(photos, "--resume")
    assert (code, err, document["images"], document["earlier"]) == (0, [], [], 8)
    assert listed(tmp_path / "out") == listed(tmp_path / "whole")


def test_a_run_that_is_stopped_at_once_leaves_nothing(predict, photos, tmp_path, monkeypatch):
    stopping_at(monkeypatch, 1, STOPS[130])
    code, document, err = predict(photos)
    assert (code, document["images"]) == (130, [])
    assert err == ["error: stopped before the first image was done"]
    assert not (tmp_path / "out").exists()


def test_other_images_of_the_same_name_are_added(predict, photos, tiny_dataset, tmp_path):
    assert predict(photos / "0.png")[0] == 0
    before = contents(tmp_path / "out")
    code, document, _ = predict(tiny_dataset / "train" / "0.png", photos / "0.png", "--resume")
    assert (code, document["earlier"]) == (0, 1)
    after = contents(tmp_path / "out")
    assert after.keys() - before.keys() == {"panoptic/0-2.png", "0-2.overlay.png"}
    assert all(after[name] == before[name] for name in before if name != "panoptic.json")
    content = json.loads(after["panoptic.json"])
    assert [image["id"] for image in content["images"]] == [1, 2]


def test_an_image_whose_png_is_gone_is_done_again(predict, photos, tmp_path):
    assert predict(photos / "0.png", photos / "1.png")[0] == 0
    (tmp_path / "out" / "panoptic" / "0.png").unlink()
    code, document, _ = predict(photos / "0.png", photos / "1.png", "--resume")
    assert (code, names_of(document)) == (0, ["0.png"])
    assert sorted(listed(tmp_path / "out")) == ["0.png", "1.png"]


def test_a_run_with_other_settings_cannot_be_continued(predict, photos, tmp_path):
    assert predict(photos / "0.png")[0] == 0
    before = contents(tmp_path / "out")
    status, document, err = predict(photos / "1.png", "--resume", "--object-mask-threshold", "0.5")
    assert (status, document) == (2, None)
    assert err == [
        f"error: --resume: {tmp_path / 'out' / 'panoptic.json'} was made with object_mask_threshold = 0.0, now it is "
        "0.5; use the same model and settings, or leave --resume out to start again"
    ]
    assert contents(tmp_path / "out") == before


def test_other_weights_are_other_settings_even_below_the_same_name(predict, photos, tiny_model, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(tiny_model, tmp_path / "model")
    words = ["predict", str(photos / "0.png"), "--model", str(model), "--output", str(tmp_path / "out"), "--resume"]
    assert main(words) == 0
    tensors = load_file(model / "model.safetensors")
    save_file({name: value * 1.5 for name, value in tensors.items()}, model / "model.safetensors")
    assert main(words) == 2
    assert "was made with weights_sha256 = " in capsys.readouterr().err


def test_two_runs_do_not_write_to_one_folder(predict, photos, tmp_path):
    holder = (
        "import sys, pathlib; from yoso.data.prediction_folder import reserved\n"
        "with reserved(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        status, document, err = predict(photos / "0.png")
        other.communicate("", timeout=60)
    assert (status, document) == (2, None)
    assert err == [f"error: {tmp_path / 'out'}: another process writes there; wait for it, or choose another --output"]
    assert not (tmp_path / "out").exists()
    assert predict(photos / "0.png")[0] == 0
    assert not [name for name in contents(tmp_path / "out") if "lock" in name]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/out: cannot be written"), reserved(tmp_path / "file" / "out"):
        pass


def test_a_writer_that_a_signal_stopped_in_a_pair_writes_whole_pairs(tmp_path, tiny_dataset):
    categories = read_annotations(tiny_dataset / "annotations" / "panoptic_val.json").categories
    writer = PredictionWriter(tmp_path, categories, {})
    writer._listed._file.write(b'{"id": 1, "file_na')
    writer.close()
    assert earlier_predictions(tmp_path)["images"] == []


class TestDataSet:
    def test_the_images_of_a_split_keep_ids_and_names(self, predict, tiny_dataset, tmp_path, capsys):
        status, document, err = predict("--data", tiny_dataset)
        assert (status, err, len(document["images"])) == (0, [], 8)
        truth = tiny_dataset / "annotations" / "panoptic_val.json"
        content, theirs = (json.loads(path.read_text()) for path in (tmp_path / "out" / "panoptic.json", truth))
        assert content["images"] == theirs["images"]
        for key in ("image_id", "file_name"):
            assert [entry[key] for entry in content["annotations"]] == [entry[key] for entry in theirs["annotations"]]
        assert (tmp_path / "out" / "7.overlay.png").is_file()
        files = (truth, truth.with_suffix(""), tmp_path / "out" / "panoptic.json", tmp_path / "out" / "panoptic")
        assert main(["pq", *map(str, files), "--json"]) == 0
        scores, err = capsys.readouterr()
        assert err == ""
        model = document["model"]
        words = ["--model", model, "--data", str(tiny_dataset), "--output", str(tmp_path / "eval"), "--json"]
        assert main(["eval", *words]) == 0
        assert json.loads(scores)["all"] == json.loads(capsys.readouterr().out)["all"]

    def test_some_images_of_a_split(self, predict, tiny_dataset, photos, tmp_path):
        wanted = (tiny_dataset / "val" / "6.png", tiny_dataset / "val" / "2.png", photos / "3.png")
        status, document, err = predict(*wanted, "--data", tiny_dataset)
        assert (status, names_of(document)) == (2, ["6.png", "2.png"])
        assert err == [
            f"error: {photos / '3.png'}: is not an image of {tiny_dataset} val; leave it out",
            "error: 1 of 3 could not be segmented; the others are done",
        ]
        content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
        assert [(image["id"], image["file_name"]) for image in content["images"]] == [(6, "6.png"), (2, "2.png")]

    def test_the_other_split(self, predict, tiny_dataset):
        status, document, _ = predict("--data", tiny_dataset, "--split", "train", "--no-overlay")
        assert (status, len(document["images"])) == (0, 8)
        assert {Path(image["file"]).parent.name for image in document["images"]} == {"train"}

    def test_a_split_that_does_not_exist(self, predict, tiny_dataset, tmp_path):
        status, _, err = predict("--data", tiny_dataset, "--split", "test")
        assert status == 2
        assert "has no split 'test'" in err[0]
        assert not (tmp_path / "out").exists()


def test_predictions_with_ids_of_their_own_are_scored_against_their_own_images(predict, tiny_dataset, tmp_path, capsys):
    """Ids 1 and 2, which the JSON gives to 6.png and 7.png, are those of other images in the data set."""
    truth = tiny_dataset / "annotations" / "panoptic_val.json"
    scores = []
    for arguments, name in (((), "invented"), (("--data", tiny_dataset), "kept")):
        images = (tiny_dataset / "val" / "6.png", tiny_dataset / "val" / "7.png")
        out = tmp_path / name
        assert predict(*images, *arguments, output=out)[0] == 0
        files = (truth, truth.with_suffix(""), out / "panoptic.json", out / "panoptic")
        assert main(["pq", *map(str, files), "--json"]) == 0
        captured = capsys.readouterr()
        scores.append(json.loads(captured.out))
        if not sys.warnoptions:
            assert captured.err.splitlines() == [
                f"warning: {out / 'panoptic.json'}: no prediction for 6 of 8 images of {truth} (0.png, 1.png, 2.png, "
                "...); their segments count as false negatives"
            ]
    assert scores[0] == scores[1]
    assert read_id_map(tmp_path / "invented" / "panoptic" / "6.png").any()
