"""Exported files: each format gives what the network gives, says what it is, and is written whole or not at all."""

import contextlib
import copy
import io
import json
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from fake_tensorrt import fake_tensorrt

import yoso
from yoso.apps.cli import main
from yoso.apps.export import _sentences as sentences
from yoso.errors import CheckpointError, ConfigError, ExportError
from yoso.export.capture import Logits, capture
from yoso.export.check import check_parity, drawn_photographs
from yoso.export.formats import Target, export
from yoso.inference.onnx_engine import OnnxEngine

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore")]  # exporters warn of their own insides

PHOTOGRAPHS = [*drawn_photographs((96, 128)), *drawn_photographs((150, 90))]


@pytest.fixture(scope="session")
def files(tmp_path_factory, small_folder, tiny_dataset):
    """Every format of the small network, written by the command line; what it printed is beside each as JSON."""
    folder = tmp_path_factory.mktemp("files")
    photos = [str(tiny_dataset / "val")]
    words = {
        "panoptic.onnx": ["--format", "onnx", "--dynamic"],
        "raw.onnx": ["--format", "onnx", "--form", "raw"],
        "fixed.onnx": ["--format", "onnx", "--size", "70", "96"],
        "small.xml": ["--format", "openvino"],
        "fixed.pt2": ["--format", "torch", "--size", "64", "96", "--photos", *photos],
        "half.onnx": ["--format", "onnx", "--form", "raw", "--precision", "fp16", "--photos", *photos],
    }
    for name, options in words.items():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = main(["export", "--model", str(small_folder), "--output", str(folder / name), "--json", *options])
        assert status == 0, name
        (folder / f"{name}.json").write_text(printed.getvalue())
    return folder


def report_of(files, name):
    return json.loads((files / f"{name}.json").read_text())


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


def test_every_format_is_compared_on_the_same_pictures(files):
    for name in ("panoptic.onnx", "raw.onnx", "fixed.onnx", "small.xml"):
        report = report_of(files, name)
        assert (report["checked_on"], report["parity"]["photographs"]) == ("drawn pictures", 2)
    for name in ("fixed.pt2", "half.onnx"):
        report = report_of(files, name)
        assert (report["checked_on"], report["parity"]["photographs"]) == ("photographs", 8)
    assert report_of(files, "fixed.pt2")["parity"]["logits"] < 1e-4


def kinds_by_stage(model):
    """Return the types of the values that each stage computes, by the stage's name."""
    whole = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*whole.graph.value_info, *whole.graph.output]}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    found = {}
    for node in whole.graph.node:
        found.setdefault(node.name.split("/")[0], set()).update(
            kinds[name] for name in node.output if kinds.get(name) in floats
        )
    return found


def test_half_precision_ends_before_the_decoder(files, small_model):
    """It sums features over all pixels of a mask; here these sums are beyond what float16 holds."""
    kinds = kinds_by_stage(onnx.load(files / "half.onnx"))
    assert kinds["backbone"] == {onnx.TensorProto.FLOAT16}
    assert onnx.TensorProto.FLOAT16 in kinds["aggregator"]
    assert kinds["decoder"] == {onnx.TensorProto.FLOAT}
    session = OnnxEngine(files / "half.onnx").session
    images = torch.from_numpy(PHOTOGRAPHS[0]).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        expected = small_model.network(images)
    for ours, theirs in zip(session.run(None, {"images": images.numpy()}), expected, strict=True):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs.numpy()).max() <= 0.05 * theirs.abs().max().item()


def test_sums_that_float16_does_not_hold(small_model):
    """A mask over everything, of features far from zero, is where a decoder in float16 would give NaN."""
    network = copy.deepcopy(small_model.network)
    image = torch.from_numpy(drawn_photographs((192, 256))[0]).permute(2, 0, 1)
    with torch.no_grad():
        network.decoder.proposals.bias += 50
        network.aggregator.output.bias += 40
        assert network.features([image]).sum((2, 3)).abs().max() > 65504
        found = Logits(network, normalises=True, half=True).eval()(image[None].float())
        for ours, theirs in zip(found, network([image]), strict=True):
            assert (ours - theirs).abs().max() <= 0.05 * theirs.abs().max()


def test_tensorrt_gets_what_was_compared(small_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("11.0.1"))
    engine = tmp_path / "half.engine"
    words = ["export", "--model", small_folder, "--format", "tensorrt", "--size", 64, 96, "--precision", "fp16"]
    assert main([str(word) for word in [*words, "--output", engine]]) == 0
    said = capsys.readouterr().out
    assert "the ONNX file that it was built from compared with PyTorch on 2 drawn pictures" in said
    assert "the engine itself was not run" in said
    kinds = kinds_by_stage(onnx.load_from_string(engine.read_bytes().removeprefix(b"engine")))
    assert kinds["backbone"] == {onnx.TensorProto.FLOAT16}
    assert kinds["decoder"] == {onnx.TensorProto.FLOAT}


def test_standard_operators_alone(files):
    for name in ("panoptic.onnx", "raw.onnx", "fixed.onnx", "half.onnx"):
        model = onnx.load(files / name)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
        assert {node.domain for node in model.graph.node} == {""}
        loops = [node for node in model.graph.node if node.op_type in {"Loop", "Scan", "If"}]
        # One loop, over the tiles of the merge, so that enlarged masks stay in the cache; none in the network.
        assert [(node.op_type, node.name.split("/")[0]) for node in loops] == [("Scan", "merge")] * (
            name not in {"raw.onnx", "half.onnx"}
        )
        bodies = [node.domain for loop in loops for node in loop.attribute[0].g.node]
        assert set(bodies) <= {""}
        assert "DeformConv" in {node.op_type for node in model.graph.node}
        onnx.checker.check_model(model)


def test_a_file_says_what_it_is(files, small_folder):
    model = onnx.load(files / "panoptic.onnx")
    facts = json.loads({entry.key: entry.value for entry in model.metadata_props}["yoso"])
    assert [category["name"] for category in facts["categories"]] == ["square", "sky", "ground"]
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


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["--format", "onnx"], "onnx_file"),
        (["--format", "torch"], "torch_file"),
    ],
)
def test_a_command_whose_file_differs_fails_and_leaves_nothing(
    small_folder, tmp_path, monkeypatch, capsys, words, module
):
    """Another network gets into the file: its first masks are the opposite."""

    def tampered(network, *arguments, **options):
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.decoder.proposals.weight *= -1
        return capture(other, *arguments, **options)

    monkeypatch.setattr(f"yoso.export.{module}.capture", tampered)
    path = tmp_path / {"onnx": "x.onnx", "torch": "x.pt2"}[words[1]]
    assert main(["export", "--model", str(small_folder), "--output", str(path), *words]) == 2
    captured = capsys.readouterr()
    assert "the exported network is not the original" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["license", "licence"])
def test_a_model_without_licence_is_warned_of(small_folder, tmp_path, monkeypatch, capsys, key):
    folder = tmp_path / "model"
    shutil.copytree(small_folder, folder)
    monkeypatch.setattr("yoso.export.formats.export", lambda model, target, _: target.path.write_bytes(b"x") and None)
    config = json.loads((folder / "config.json").read_text())
    for about, warned in (({}, True), ({"data": "mine"}, True), ({key: ""}, True), ({key: "MIT"}, False)):
        (folder / "config.json").write_text(json.dumps(config | {"about": about}))
        assert main(["export", "--model", str(folder), "--format", "onnx", "--json"]) == 0
        error = capsys.readouterr().err
        assert error.count("\n") == warned, about
        if warned:
            assert error.startswith(f"warning: model {folder} names no licence")
            assert f"set about.license in {folder / 'config.json'}" in error


@pytest.fixture(scope="module")
def eight_bits(small_folder, tiny_dataset, tmp_path_factory):
    """A file in 8 bits, and what the command printed."""
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    words = ["export", "--model", small_folder, "--format", "onnx", "--precision", "int8", "--data", tiny_dataset]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(word) for word in [*words, "--output", path, "--limit", 3, "--json"]]) == 0
    return path, json.loads(printed.getvalue())


def test_8_bits_say_what_they_cost(eight_bits, small_folder, tiny_dataset, tmp_path, capsys):
    path, report = eight_bits
    assert report["experimental"]
    assert report["pq"]["images"] == 3
    for model, key in ((small_folder, "before"), (path, "after")):
        words = ["eval", "--model", model, "--runtime", "auto", "--data", tiny_dataset, "--limit", 3, "--json"]
        assert main([str(word) for word in [*words, "--device", "cpu", "--output", tmp_path / key]]) == 0
        assert json.loads(capsys.readouterr().out)["all"]["pq"] == pytest.approx(report["pq"][key], abs=1e-9)


EVAL = "to measure that on: yoso eval --model FILE --data DATASET"


@pytest.mark.parametrize(
    ("pq", "said"),
    [
        (None, f"the data set has no val {EVAL}"),
        ({"images": 9, "before": None, "after": None}, f"the data set has no segment in val {EVAL}"),
        ({"images": 9, "before": 0.276, "after": 0.267}, "PQ on 9 images of val 27.6 before, 26.7 after"),
        (
            {"images": 9, "before": 0.276, "after": 0.238},
            "PQ on 9 images of val 27.6 before, 23.8 after; more than 1 is lost, so prefer fp32 where accuracy counts",
        ),
    ],
)
def test_the_last_line_on_8_bits(pq, said):
    report = {"file": "x.onnx", "megabytes": 1.0, "format": "onnx", "precision": "int8", "parity": None, "pq": pq}
    assert sentences(report).splitlines()[-1] == f"experimental: 8 bits change the result; {said}"


def test_the_help_says_that_8_bits_are_experimental(capsys):
    assert main(["export", "--help"]) == 0
    assert "int8, which is experimental" in " ".join(capsys.readouterr().out.split())


def test_8_bits_of_other_classes(small_folder, tiny_dataset, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(small_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["categories"][0]["name"] = "circle"
    (folder / "config.json").write_text(json.dumps(config))
    words = ["export", "--model", folder, "--format", "onnx", "--precision", "int8", "--data", tiny_dataset]
    assert main([str(word) for word in [*words, "--output", tmp_path / "int8.onnx"]]) == 2
    assert "different classes" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_8_bits(eight_bits, small_folder):
    path, _ = eight_bits
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
