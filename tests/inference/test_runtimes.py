"""The table of runtimes: a row is all that a runtime needs, and a runtime that is asked for is used or refused."""

import json
import multiprocessing
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

import yoso
from yoso.apps.cli import main
from yoso.errors import CheckpointError, ConfigError
from yoso.export.formats import FORMATS
from yoso.files import file_sha256
from yoso.inference.exported import Description, ExportedEngine
from yoso.inference.runtimes import FOREIGN, RUNTIMES, Runtime, runtime_of
from yoso.settings import InferenceConfig
from yoso.speed.yoso_entries import DEPLOYMENT_FORMS, DeploymentForm
from yoso.weights.layout import WEIGHTS, bundled_models
from yoso.weights.load import load_model

BUNDLED = bundled_models()["facades-mnv2"]
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


class StampEngine(ExportedEngine):
    """Runs files of the runtime below: JSON documents. Every query covers the left half of the image."""

    runtime = "stamp"

    def __init__(self, path, device="auto"):
        super().__init__(path, "cpu" if device == "auto" else device, Description.from_json(path.read_text(), path))

    def run(self, images):
        classes = np.full((2, len(self.categories) + 1), -9, np.float32)
        classes[:, 0] = 9
        masks = np.full((2, images.shape[2] // 4, images.shape[3] // 4), -9, np.float32)
        masks[:, :, : masks.shape[2] // 2] = 9
        return classes, masks


@pytest.fixture
def stamp(monkeypatch):
    """One row more in the table."""
    row = Runtime("stamp", ".stamp", "stamp", "json", f"{__name__}:StampEngine")
    monkeypatch.setitem(RUNTIMES, "stamp", row)
    return row


def write_stamp(path, model_folder, **changes):
    model = load_model(model_folder)
    description = Description(
        "raw",
        None,
        model.categories,
        model.inference,
        model.network.config.pixel_mean,
        model.network.config.pixel_std,
        model.about,
        file_sha256(model_folder / WEIGHTS),
    )
    path.write_text(replace(description, **changes).to_json())
    return path


def test_one_row_makes_a_runtime(stamp, tiny_model, tmp_path, capsys):
    predictor = yoso.load(write_stamp(tmp_path / "x.stamp", tiny_model))
    result = predictor(IMAGE)
    assert (predictor.runtime, predictor.device, predictor.engine.precision) == ("stamp", "cpu", "fp32")
    assert [info["label"] for info in result["segments_info"]] == ["square"]
    assert 40 <= result["segments_info"][0]["bbox"][2] <= 50
    assert main(["predict", "--help"]) == 0
    assert "torch, onnxruntime, openvino, stamp" in " ".join(capsys.readouterr().out.split())


def test_a_folder_with_a_file_of_the_new_runtime(stamp, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    assert yoso.load(folder, "cpu").runtime == "torch"
    with pytest.raises(ConfigError, match=r"holds no model\.stamp; make it: yoso export --model .* --format stamp"):
        yoso.load(folder, "cpu", "stamp")
    write_stamp(folder / stamp.file_name, folder)
    assert yoso.load(folder, "cpu").runtime == "stamp"
    assert yoso.load(folder, "cpu", "stamp").runtime == "stamp"
    assert yoso.load(folder, "cpu", "torch").runtime == "torch"


def test_the_folder_s_own_thresholds_are_used(stamp, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    write_stamp(folder / stamp.file_name, folder, inference=InferenceConfig(0.9, 0.9, (32, 64)))
    assert yoso.load(folder, "cpu", "stamp").inference == load_model(folder).inference
    assert yoso.load(folder / stamp.file_name).inference == InferenceConfig(0.9, 0.9, (32, 64))


def test_a_file_of_other_weights(stamp, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    write_stamp(folder / stamp.file_name, folder, source_sha256="0")
    with pytest.warns(UserWarning, match="was made from other weights .*; until then PyTorch runs the model"):
        assert yoso.load(folder, "cpu").runtime == "torch"
    with pytest.raises(CheckpointError, match="was made from other weights than the model"):
        yoso.load(folder, "cpu", "stamp")


def test_an_unknown_runtime_gets_a_suggestion(stamp, tiny_model):
    with pytest.raises(ConfigError, match=r"unknown runtime 'stamps'\. Did you mean 'stamp'\?"):
        yoso.load(tiny_model, runtime="stamps")


def test_the_tables_agree():
    for runtime in RUNTIMES.values():
        assert (FORMATS[runtime.format].runtime, FORMATS[runtime.format].suffix) == (runtime.name, runtime.suffix)
        assert runtime_of(f"any/where{runtime.suffix}") is runtime
        assert DEPLOYMENT_FORMS[runtime.name] == DeploymentForm(runtime.name, runtime.format)
    foreign = {row.suffix for row in FORMATS.values() if row.runtime is None and row.suffix}
    assert foreign == set(FOREIGN)
    assert runtime_of("model") is runtime_of("runs/mine/model.safetensors") is None


def test_a_runtime_that_is_asked_for_is_used_for_a_published_model(stamp, mirror, model_cache):
    with pytest.raises(ConfigError, match=r"coco-r50: holds no model\.stamp; make it: yoso export --model coco-r50"):
        yoso.load("coco-r50", runtime="stamp")
    write_stamp(model_cache / "coco-r50" / stamp.file_name, model_cache / "coco-r50")
    assert yoso.load("coco-r50", runtime="stamp").runtime == "stamp"
    assert yoso.load("coco_r50", "cpu").runtime == "stamp"


def test_a_runtime_that_is_asked_for_is_refused_for_a_bundled_model(stamp):
    with pytest.raises(ConfigError, match=r"--format stamp --output model\.stamp, and load that file"):
        yoso.load("facades-mnv2", runtime="stamp")


@pytest.mark.parametrize("model", ["facades-mnv2", BUNDLED / "model.onnx", "no-such-model"])
def test_a_precision_that_does_not_exist_is_refused(model):
    with pytest.raises(ConfigError, match="precision 'nonsense': give fp32 or bf16"):
        yoso.load(model, precision="nonsense")


@pytest.mark.parametrize(
    ("model", "runtime"), [(BUNDLED / "model.onnx", "auto"), ("facades-mnv2", "onnxruntime"), (BUNDLED, "openvino")]
)
def test_an_exported_file_has_its_own_precision(model, runtime):
    with pytest.raises(ConfigError, match="runs in the precision that it was exported in; leave precision bf16 out"):
        yoso.load(model, "cpu", runtime, "bf16")


def test_the_network_of_a_model_in_torch_is_its_module(tiny_model):
    predictor = yoso.load(tiny_model, "cpu", "torch")
    assert isinstance(predictor.network, yoso.YOSO)
    assert not predictor.network.training


def test_an_exported_file_has_no_module():
    predictor = yoso.load(BUNDLED / "model.onnx")
    with pytest.raises(ConfigError, match=r"runs an exported file with onnxruntime.*load with runtime='torch'"):
        predictor.network  # noqa: B018


def segments_of(predictor, connection):
    connection.send(json.dumps(predictor(IMAGE)["segments_info"]))


def test_a_predictor_can_be_sent_to_another_process(tmp_path, monkeypatch):
    predictor = yoso.load("facades-mnv2", "cpu")
    predictor.inference = InferenceConfig(0.2, 0.1, (96, 160))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=segments_of, args=(predictor, theirs))
    monkeypatch.chdir(tmp_path)
    process.start()
    assert ours.poll(500)
    assert json.loads(ours.recv()) == predictor(IMAGE)["segments_info"]
    process.join()


def test_a_predictor_in_torch_can_be_pickled(tiny_model):
    predictor = yoso.load(tiny_model, "cpu", "torch")
    copy = pickle.loads(pickle.dumps(predictor))
    assert np.array_equal(copy(IMAGE)["segmentation"], predictor(IMAGE)["segmentation"])


def test_a_copy_opens_its_file_again(stamp, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_stamp(tmp_path / "x.stamp", tiny_model)
    pickled = pickle.dumps(yoso.load("x.stamp"))
    monkeypatch.chdir("/")
    copy = pickle.loads(pickled)
    assert copy.engine.path == tmp_path / "x.stamp"
    assert copy(IMAGE)["segments_info"]
    (tmp_path / "x.stamp").write_text("")
    with pytest.raises(CheckpointError):
        pickle.loads(pickled)


def test_a_folder_may_have_the_suffix_of_a_file(tiny_model, tmp_path):
    (tmp_path / "mine.onnx").symlink_to(tiny_model)
    assert yoso.load(tmp_path / "mine.onnx", "cpu").runtime == "torch"
