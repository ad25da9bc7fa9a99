"""Published models on the command line: listing, fetching, staying offline, slips."""

import json

import pytest
from PIL import Image

from yoso.apps.cli import main
from yoso.weights.find import find_model
from yoso.weights.published import PUBLISHED, is_cached

FILE = "yoso_res50_coco.pth"


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (64, 32)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(capsys, *arguments):
    """Return the exit status, standard output and lines of standard error."""
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()


@pytest.mark.parametrize("fault", [404, 500, "truncate", "reset", "silence"])
def test_a_failing_server_leaves_no_model(fault, mirror, model_cache, capsys, photo, tmp_path):
    mirror.faults, mirror.ranges = [fault] * 5, False
    status, out, err = run(capsys, "predict", photo, "--model", "coco-r50", "--output", tmp_path / "out")
    assert (status, out) == (2, "")
    assert err[-1].startswith(f"error: {mirror.address}/{FILE}: cannot be fetched (")
    assert len([line for line in err if line.startswith("error:")]) == 1
    assert not is_cached("coco-r50")
    assert not (model_cache / FILE).exists()
    mirror.faults.clear()
    assert find_model("coco-r50").is_dir()


def test_a_full_disk_while_fetching(mirror, model_cache, capsys, photo, tmp_path):
    model_cache.mkdir()
    (model_cache / f"{FILE}.part").symlink_to("/dev/full")
    status, out, err = run(capsys, "predict", photo, "--model", "coco-r50", "--output", tmp_path / "out")
    assert (status, out) == (2, "")
    assert "the disk is full" in err[-1]
    assert "YOSO_CACHE" in err[-1]
    assert not is_cached("coco-r50")


def offline_words(command, model, photo, tmp_path, tiny_dataset):
    """Return the words of a command that needs a model and may not fetch it."""
    words = {
        "predict": ("predict", photo, "--model", model, "--output", tmp_path / "out"),
        "eval": ("eval", "--model", model, "--data", tiny_dataset, "--output", tmp_path / "out"),
        "eval --tune": ("eval", "--model", model, "--data", tiny_dataset, "--output", tmp_path / "out", "--tune"),
        "train": ("train", "coco_r50", "--start", model, "--data", tiny_dataset, "--output", tmp_path / "out"),
        "export": ("export", "--model", model, "--format", "onnx", "--output", tmp_path / "out.onnx"),
        "benchmark": ("benchmark", "--models", model, "--device", "cpu"),
    }
    words["eval --tune --write"] = (*words["eval --tune"], "--write")
    return (*words[command], "--offline")


COMMANDS = ["predict", "eval", "eval --tune", "eval --tune --write", "train", "export", "benchmark"]


@pytest.mark.parametrize("command", COMMANDS)
def test_offline_without_a_cache(command, mirror, capsys, photo, tmp_path, tiny_dataset):
    words = offline_words(command, "coco-r50", photo, tmp_path, tiny_dataset)
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert "coco-r50 is not in the cache" in err[0]
    assert mirror.requests == []


@pytest.mark.parametrize("command", COMMANDS)
def test_offline_the_hub_is_not_asked(command, model_cache, capsys, photo, tmp_path, tiny_dataset, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(repository, *, local_files_only=False, **_):
        asked.append(local_files_only)
        raise OSError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    status, out, err = run(capsys, *offline_words(command, "hf:someone/model", photo, tmp_path, tiny_dataset))
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert "hf:someone/model: cannot be fetched (not in the cache)" in err[0]
    assert set(asked) == {True}


def test_offline_with_a_cache(mirror, capsys, photo, tmp_path):
    find_model("coco-r50")
    mirror.requests.clear()
    output = tmp_path / "out"
    status, out, err = run(capsys, "predict", photo, "--model", "coco-r50", "--output", output, "--offline")
    assert (status, err[1:]) == (0, [])
    assert "photo.png" in out
    assert mirror.requests == []


def test_a_published_model_is_timed_offline(mirror, capsys):
    find_model("coco-r50")
    mirror.requests.clear()
    quick = ("--sizes", "64x96", "--repeats", "1", "--warmup", "1", "--no-memory", "--device", "cpu")
    status, out, err = run(capsys, "benchmark", "--models", "coco-r50", "--offline", *quick)
    assert (status, err[1:]) == (0, [])
    assert "coco-r50" in out
    assert mirror.requests == []


def test_offline_does_not_touch_other_models(mirror, tiny_model, capsys, photo, tmp_path):
    for model in (tiny_model, "facades-mnv2"):
        output = tmp_path / "out"
        status, *_ = run(capsys, "predict", photo, "--model", model, "--output", output, "--offline")
        assert status == 0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("coco-r51", "coco-r50"), ("cityscape-r50", "cityscapes-r50"), ("facade-mnv2", "facades-mnv2")],
)
def test_a_slip(typed, meant, model_cache, capsys, photo, tmp_path):
    status, _, err = run(capsys, "predict", photo, "--model", typed, "--output", tmp_path / "out")
    assert status == 2
    assert err == [f"error: no model or folder {typed!r}. Did you mean {meant!r}?"]


def test_the_table_of_models(model_cache, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, err = run(capsys, "models")
    assert (status, err) == (0, [])
    for part in (
        "facades-mnv2",
        "31.8 (23.5, 37.3)",
        *PUBLISHED,
        "48.4 (53.5, 40.8)*   800x1333 ",
        "fetched on use",
    ):
        assert part in out
    for part in (
        "80 things",
        "MIT",
        "168.6",
        f"cache: {model_cache}",
        "* as published in the paper, not measured here",
    ):
        assert part in out


def test_the_document_of_models(mirror, model_cache, capsys):
    find_model("coco-r50")
    capsys.readouterr()
    status, out, err = run(capsys, "models", "--json")
    assert (status, err) == (0, [])
    models = {model["name"]: model for model in json.loads(out)}
    assert list(models) == ["facades-mnv2", *PUBLISHED]
    bundled, coco, mapillary = models["facades-mnv2"], models["coco-r50"], models["mapillary-r50"]
    assert (bundled["kind"], bundled["cached"], bundled["license"]) == ("bundled", True, "MIT")
    assert bundled["val"]["all"]["pq"] > 0.18
    assert (coco["kind"], coco["cached"], coco["folder"]) == ("published", True, str(model_cache / "coco-r50"))
    assert (mapillary["cached"], mapillary["folder"]) == (False, None)
    assert mapillary["about"]["source"].endswith("/v0.1/yoso_res50_mapillary.pth")
    (score,) = mapillary["published"]
    assert (score["pq"], score["pq_things"], score["pq_stuff"]) == (0.341, 0.243, 0.472)
    assert score["where"] == "table 4 of the paper"
