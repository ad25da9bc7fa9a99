"""Exported files: each format gives what the network gives, and describes itself."""

import contextlib
import copy
import io
import json
import pickle

import numpy as np
import onnx
import pytest
import torch
from onnx_kinds import kinds_by_stage

import yoso
from yoso.apps.cli import main
from yoso.errors import ConfigError
from yoso.export.capture import Logits
from yoso.export.check import check_parity, drawn_images
from yoso.inference.onnx_engine import OnnxEngine, import_onnxruntime
from yoso.speed.onnx_profile import native_size_feeds, stage_shares

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore")]  # exporters warn of their own insides

IMAGES = [*drawn_images((96, 128)), *drawn_images((150, 90))]


@pytest.fixture(scope="session")
def files(tmp_path_factory, small_folder, tiny_dataset):
    """Every format of the small network, written by the command line, with the JSON that it printed."""
    folder = tmp_path_factory.mktemp("files")
    photos = [str(tiny_dataset / "val")]
    words = {
        "panoptic.onnx": ["--format", "onnx", "--dynamic"],
        "raw.onnx": ["--format", "onnx", "--form", "raw"],
        "fixed.onnx": ["--format", "onnx", "--fixed-size", "70x96", "--embeddings"],
        "small.xml": ["--format", "openvino"],
        "fixed.pt2": ["--format", "torch", "--fixed-size", "64x96", "--photos", *photos],
        "half.onnx": ["--format", "onnx", "--form", "raw", "--precision", "fp16", "--embeddings", "--photos", *photos],
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
    parity = check_parity(exported, original, IMAGES)
    assert parity.num_images == len(IMAGES)
    assert any(original(image)["segments_info"] for image in IMAGES)
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
    for image in IMAGES:
        ours, expected = exported(image, **options), original(image, **options)
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


def test_a_file_of_fixed_size_takes_that_size_only(files, original):
    fixed = yoso.load(files / "fixed.onnx")
    image = drawn_images((70, 96))[0]
    ours = fixed(image)
    expected = original(image, input_size="native")
    assert np.mean(ours["segmentation"] != expected["segmentation"]) < 0.01
    with pytest.raises(ConfigError, match="exported for 70 x 96"):
        fixed(IMAGES[0])


def test_a_torch_archive_needs_only_torch(files, small_model):
    extra = {"yoso": ""}
    module = torch.export.load(files / "fixed.pt2", extra_files=extra).module()
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        for ours, theirs in zip(module(images), small_model.network(images), strict=True):
            assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    assert json.loads(extra["yoso"])["size"] == [64, 96]


def test_every_format_is_compared_on_the_same_images(files):
    for name in ("panoptic.onnx", "raw.onnx", "fixed.onnx", "small.xml"):
        report = report_of(files, name)
        assert (report["checked_on"], report["parity"]["num_images"]) == ("drawn images", 2)
    for name in ("fixed.pt2", "half.onnx"):
        report = report_of(files, name)
        assert (report["checked_on"], report["parity"]["num_images"]) == ("images", 8)
    assert report_of(files, "fixed.pt2")["parity"]["logits"] < 1e-4


def test_half_precision_ends_before_the_decoder(files, small_model):
    """It sums features over all pixels of a mask; here these sums are beyond what float16 holds."""
    kinds = kinds_by_stage(onnx.load(files / "half.onnx"))
    assert kinds["backbone"] == {onnx.TensorProto.FLOAT16}
    assert onnx.TensorProto.FLOAT16 in kinds["aggregator"]
    assert kinds["decoder"] == {onnx.TensorProto.FLOAT}
    session = OnnxEngine(files / "half.onnx").session
    images = torch.from_numpy(IMAGES[0]).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        expected = small_model.network(images)
    for ours, theirs in zip(session.run(list(expected._fields), {"images": images.numpy()}), expected, strict=True):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs.numpy()).max() <= 0.05 * theirs.abs().max().item()


def test_a_panoptic_file_gives_embeddings_if_it_was_asked_for_them(files, original):
    exported, image = yoso.load(files / "fixed.onnx"), drawn_images((70, 96))[0]
    assert exported.has_embeddings
    found, expected = (
        one(image, input_size="native", with_embeddings=True)["segments_info"] for one in (exported, original)
    )
    assert found
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours["embedding"].dtype, ours["embedding"].shape) == (np.float32, (32,))
        np.testing.assert_allclose(ours["embedding"], theirs["embedding"], atol=1e-3)
    assert "embedding" not in exported(image)["segments_info"][0]
    assert not yoso.load(files / "panoptic.onnx").has_embeddings
    with pytest.raises(ConfigError, match="gives no embeddings; load the model with runtime='torch', or export it"):
        yoso.load(files / "panoptic.onnx")(image, with_embeddings=True)


def test_a_raw_file_gives_embeddings_too(files):
    exported = yoso.load(files / "half.onnx")
    assert exported.has_embeddings
    _, _, kernels = exported.engine.run_with_kernels(np.full((1, 3, 64, 96), 90, np.float32))
    assert kernels.shape == (9, 32)
    (result,) = exported([IMAGES[0]], with_embeddings=True, object_mask_threshold=0.1)
    assert result["segments_info"]
    assert {info["embedding"].shape for info in result["segments_info"]} == {(32,)}


def test_sums_that_float16_does_not_hold(small_model):
    """A mask over everything, of features far from zero, is where a decoder in float16 would give NaN."""
    network = copy.deepcopy(small_model.network)
    image = torch.from_numpy(drawn_images((192, 256))[0]).permute(2, 0, 1)
    with torch.no_grad():
        network.decoder.proposals.bias += 50
        network.aggregator.output.bias += 40
        assert network.features([image]).sum((2, 3)).abs().max() > 65504
        found = Logits(network, normalises=True, half=True).eval()(image[None].float())
        for ours, theirs in zip(found, network([image]), strict=True):
            assert (ours - theirs).abs().max() <= 0.05 * theirs.abs().max()


def test_a_file_says_which_precision_it_has(files):
    names = {
        "panoptic.onnx": "fp32",
        "raw.onnx": "fp32",
        "fixed.onnx": "fp32",
        "half.onnx": "fp16",
        "small.xml": "fp32",
    }
    found = {name: yoso.load(files / name).engine.precision for name in names}
    assert found.pop("small.xml") in {"fp32", "bf16"}  # as the processor has it
    assert found == {name: names[name] for name in found}


@pytest.mark.parametrize("name", ["panoptic.onnx", "raw.onnx", "small.xml"])
def test_a_predictor_of_a_file_can_be_pickled(files, name):
    predictor = yoso.load(files / name)
    copy = pickle.loads(pickle.dumps(predictor))
    assert copy.inference == predictor.inference
    assert np.array_equal(copy(IMAGES[0])["segmentation"], predictor(IMAGES[0])["segmentation"])


def test_files_hold_standard_operators_only(files):
    for name in ("panoptic.onnx", "raw.onnx", "fixed.onnx", "half.onnx"):
        model = onnx.load(files / name)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
        assert {node.domain for node in model.graph.node} == {""}
        loops = [node for node in model.graph.node if node.op_type in {"Loop", "Scan", "If"}]
        # One loop, over the tiles of the merge, so that upsampled masks stay in the cache; none in the network.
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


def test_a_profile_runs_at_the_size_of_the_image(files, original):
    pixels = drawn_images((200, 260))[0]
    session = import_onnxruntime().InferenceSession(str(files / "panoptic.onnx"))
    expected = original(pixels, input_size="native")["segmentation"]
    unlike, resized = (
        np.mean(session.run(None, feeds)[0] != expected)
        for feeds in (native_size_feeds(session, pixels), {"image": pixels})
    )
    assert unlike < 0.001 < 0.01 < resized
    fixed = import_onnxruntime().InferenceSession(str(files / "fixed.onnx"))
    assert set(native_size_feeds(fixed, pixels)) == {"image"}
    shares = stage_shares(files / "panoptic.onnx", pixels)
    assert set(shares) == {"prepare", "backbone", "aggregator", "decoder", "merge"}
    assert sum(shares.values()) == pytest.approx(1)
