"""Exported files: each format gives what the network gives, says what it is, and is written whole or not at all."""

import json

import numpy as np
import onnx
import pytest
import torch

import yoso
from yoso.apps.cli import main
from yoso.errors import CheckpointError, ConfigError, ExportError
from yoso.export.check import check_parity, drawn_photographs
from yoso.export.formats import Target, export
from yoso.inference.onnx_engine import OnnxEngine

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore")]  # exporters warn of their own insides

PHOTOGRAPHS = [*drawn_photographs((96, 128)), *drawn_photographs((150, 90))]


@pytest.fixture(scope="session")
def files(tmp_path_factory, small_folder):
    """Every format of the small network, written by the command line; what it printed, by name."""
    folder = tmp_path_factory.mktemp("files")
    words = {
        "panoptic.onnx": ["--format", "onnx", "--dynamic"],
        "raw.onnx": ["--format", "onnx", "--form", "raw"],
        "fixed.onnx": ["--format", "onnx", "--size", "70", "96"],
        "small.xml": ["--format", "openvino"],
        "fixed.pt2": ["--format", "torch", "--size", "64", "96"],
    }
    for name, options in words.items():
        status = main(["export", "--model", str(small_folder), "--output", str(folder / name), "--json", *options])
        assert status == 0, name
    return folder


@pytest.fixture(scope="session")
def original(small_folder):
    return yoso.load(small_folder, "cpu", runtime="torch")


@pytest.mark.parametrize("name", ["panoptic.onnx", "raw.onnx", "small.xml"])
def test_files_segment_as_the_network_does(files, original, name):
    exported = yoso.load(files / name)
    assert exported.runtime == ("openvino" if name.endswith("xml") else "onnxruntime")
    parity = check_parity(exported, original, PHOTOGRAPHS)
    assert parity.photographs == len(PHOTOGRAPHS)
    assert any(original(photograph)["segments_info"] for photograph in PHOTOGRAPHS)
    if name != "panoptic.onnx":
        assert parity.logits < 1e-4
    assert exported.categories == original.categories
    assert (exported.inference, exported.about) == (original.inference, original.about)


@pytest.mark.parametrize("name", ["panoptic.onnx", "raw.onnx", "small.xml"])
@pytest.mark.parametrize(
    "options",
    [
        {"input_size": "native"},
        {"input_size": (64, 100), "output_size": (40, 50)},
        {"object_mask_threshold": 0.05, "overlap_threshold": 0.0},
        {"object_mask_threshold": 1.0},
    ],
)
def test_every_option_of_a_call(files, original, name, options):
    exported = yoso.load(files / name)
    for photograph in PHOTOGRAPHS:
        ours, expected = exported(photograph, **options), original(photograph, **options)
        assert ours["segmentation"].dtype == np.int32
        assert ours["segmentation"].shape == expected["segmentation"].shape
        # Random weights leave many near ties, which rounding may turn.
        assert np.mean(ours["segmentation"] != expected["segmentation"]) < 0.01
        assert [i["label"] for i in ours["segments_info"]] == [i["label"] for i in expected["segments_info"]]
        for info in ours["segments_info"]:
            mask = ours["segmentation"] == info["id"]
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert info["area"] == mask.sum()
            box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            assert info["bbox"] == box


def test_a_raw_file_takes_any_batch_and_size(files, small_model):
    session = OnnxEngine(files / "raw.onnx").session
    for shape in ((1, 3, 64, 64), (3, 3, 50, 90)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 255
        found = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            expected = small_model.network(images)
        for ours, theirs in zip(found, expected, strict=True):
            assert np.abs(ours - theirs.numpy()).max() <= 1e-4 * theirs.abs().max().item()


def test_a_fixed_file_takes_its_size_alone(files, original):
    fixed = yoso.load(files / "fixed.onnx")
    photograph = drawn_photographs((70, 96))[0]
    ours = fixed(photograph)
    expected = original(photograph, input_size="native")
    assert np.mean(ours["segmentation"] != expected["segmentation"]) < 0.01
    with pytest.raises(ConfigError, match="exported for 70 x 96"):
        fixed(PHOTOGRAPHS[0])


def test_a_torch_archive_needs_torch_alone(files, small_model):
    extra = {"yoso": ""}
    module = torch.export.load(files / "fixed.pt2", extra_files=extra).module()
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        for ours, theirs in zip(module(images), small_model.network(images), strict=True):
            assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    assert json.loads(extra["yoso"])["size"] == [64, 96]


def test_standard_operators_alone(files):
    for name in ("panoptic.onnx", "raw.onnx", "fixed.onnx"):
        model = onnx.load(files / name)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
        assert {node.domain for node in model.graph.node} == {""}
        loops = [node for node in model.graph.node if node.op_type in {"Loop", "Scan", "If"}]
        # One loop, over the tiles of the merge, so that enlarged masks stay in the cache; none in the network.
        assert [(node.op_type, node.name.split("/")[0]) for node in loops] == [("Scan", "merge")] * (name != "raw.onnx")
        bodies = [node.domain for loop in loops for node in loop.attribute[0].g.node]
        assert set(bodies) <= {""}
        assert "DeformConv" in {node.op_type for node in model.graph.node}
        onnx.checker.check_model(model)


def test_a_file_says_what_it_is(files, small_folder):
    model = onnx.load(files / "panoptic.onnx")
    facts = json.loads({entry.key: entry.value for entry in model.metadata_props}["yoso"])
    assert [category["name"] for category in facts["categories"]] == ["square", "sky", "wall"]
    assert facts["inference"] == {"object_mask_threshold": 0.3, "overlap_threshold": 0.1, "input_size": [96, 192]}
    assert facts["about"]["licence"] == "MIT"
    assert (facts["form"], facts["size"]) == ("panoptic", None)
    outputs = [output.name for output in model.graph.output]
    assert outputs == ["segmentation", "class_indices", "scores", "areas", "boxes"]


def test_weights_that_are_half_are_stored_so(files, small_model):
    """The folder was saved in half precision; only what was folded needs more."""
    model = onnx.load(files / "panoptic.onnx")
    stored = {item.name: item for item in model.graph.initializer}
    halves = [name for name, item in stored.items() if item.data_type == onnx.TensorProto.FLOAT16]
    expected = small_model.network.decoder.stages[0].post.feedforward[0].weight.detach().numpy()
    arrays = [onnx.numpy_helper.to_array(stored[name]).astype(np.float32) for name in halves]
    assert any(array.size == expected.size and np.isin(expected, array).all() for array in arrays)
    assert len(halves) > 5


def test_the_default_place_is_where_predict_looks(small_folder, tmp_path, capsys):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(small_folder, folder)
    assert main(["export", "--model", str(folder), "--format", "onnx"]) == 0
    assert "compared with PyTorch on 2 drawn pictures" in capsys.readouterr().out
    assert yoso.load(folder, "cpu").runtime == "onnxruntime"
    assert yoso.load(folder, "cpu", runtime="torch").runtime == "torch"
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="other weights"):
        yoso.load(folder, "cpu", runtime="onnxruntime")


def test_a_file_that_differs_is_not_kept(small_model, tmp_path, monkeypatch):
    from yoso.export import onnx_file

    real = onnx_file.write_normalising
    monkeypatch.setattr(
        onnx_file, "write_normalising", lambda write, images, mean, std: real(write, images, mean, (20, 90, 40))
    )
    path = tmp_path / "wrong.onnx"
    with pytest.raises(ExportError, match="not the original"):
        export(small_model, Target("onnx", path, "raw"), PHOTOGRAPHS)
    assert list(tmp_path.iterdir()) == []


def test_8_bits(small_folder, tiny_dataset, tmp_path, capsys):
    path = tmp_path / "int8.onnx"
    words = ["export", "--model", small_folder, "--format", "onnx", "--precision", "int8", "--data", tiny_dataset]
    assert main([str(word) for word in [*words, "--output", path]]) == 0
    assert "8 bits change the result" in capsys.readouterr().out
    model = onnx.load(path)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") > 10
    steering = [node for node in model.graph.node if node.op_type == "DeformConv"]
    assert len(steering) == 3
    predictor = yoso.load(path)
    whole = yoso.load(small_folder, "cpu", runtime="torch")
    photograph = PHOTOGRAPHS[0]
    ours, expected = predictor(photograph), whole(photograph)
    # Not equal, but a network whose convolutions were wrong would agree on nothing.
    assert np.mean(ours["segmentation"] == expected["segmentation"]) > 0.5
