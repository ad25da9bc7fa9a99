import json
import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from yoso.errors import CheckpointError, ConfigError, ImageError
from yoso.inference import torch_engine
from yoso.inference.engine import Timings
from yoso.inference.loading import load
from yoso.inference.predictor import Predictor
from yoso.inference.torch_engine import resolve_device
from yoso.model.yoso import YOSO
from yoso.postprocess import Sizes, panoptic
from yoso.settings import Thresholds
from yoso.structures import Outputs
from yoso.weights.load import load_model

KEYS = {"id", "label_id", "label", "is_thing", "score", "area", "bbox"}


@pytest.fixture(scope="module")
def predictor(tiny_model) -> Predictor:
    return load(tiny_model, "cpu")


@pytest.fixture(scope="module")
def photo(tiny_dataset):
    return tiny_dataset / "val" / "0.png"


def pixels_of(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_the_result_has_the_promised_keys_in_plain_types(predictor, photo):
    result = predictor(photo)
    assert set(result) == {"segmentation", "segments_info"}
    assert result["segmentation"].dtype == np.int32
    assert result["segmentation"].shape == (96, 128)
    assert len(result["segments_info"]) > 0
    for info in result["segments_info"]:
        assert set(info) == KEYS
        category = predictor.categories[info["label_id"]]
        assert (info["label"], info["is_thing"]) == (category.name, category.is_thing)
        assert 0 < info["score"] <= 1
    assert json.loads(json.dumps(result["segments_info"])) == result["segments_info"]


def test_the_outputs_are_what_a_call_merges(predictor, photo):
    class_logits, mask_logits, sizes = predictor.outputs(photo)
    assert class_logits.shape == (12, 4)
    assert mask_logits.shape == (12, 16, 24)
    assert sizes == Sizes((64, 96), (64, 85), (96, 128))
    result = panoptic(class_logits, mask_logits, sizes, predictor.categories.is_thing, Thresholds(0.0, 0.0))
    called = predictor(photo)
    np.testing.assert_array_equal(result.segmentation, called["segmentation"])
    assert [s.id for s in result.segments] == [info["id"] for info in called["segments_info"]]
    assert predictor.outputs(photo, input_size="native")[2].image == (96, 128)
    with pytest.raises(ConfigError, match="at least 1 pixel"):
        predictor.outputs(photo, input_size=(0, 5))


def test_ids_areas_and_boxes_are_those_of_the_map(predictor, photo):
    result = predictor(photo)
    segmentation = result["segmentation"]
    assert [info["id"] for info in result["segments_info"]] == list(range(1, len(result["segments_info"]) + 1))
    assert set(np.unique(segmentation)) - {0} == {info["id"] for info in result["segments_info"]}
    for info in result["segments_info"]:
        rows, columns = np.nonzero(segmentation == info["id"])
        assert info["area"] == len(rows)
        x, y, width, height = info["bbox"]
        assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_the_steps_are_resize_network_merge(predictor, photo):
    small = np.array(Image.open(photo).convert("RGB").resize((85, 64), Image.Resampling.BILINEAR))
    with torch.inference_mode():
        outputs = predictor.engine.network([torch.from_numpy(small).permute(2, 0, 1)])
    assert isinstance(outputs, Outputs)
    sizes = Sizes(padded=(64, 96), image=(64, 85), output=(96, 128))
    by_hand = panoptic(
        outputs.class_logits[0], outputs.mask_logits[0], sizes, predictor.categories.is_thing, Thresholds(0.0, 0.0)
    )
    result = predictor(photo)
    assert np.array_equal(by_hand.segmentation.numpy(), result["segmentation"])
    assert [s.score for s in by_hand.segments] == [info["score"] for info in result["segments_info"]]


def test_path_pil_and_array_give_the_same(predictor, photo):
    expected = predictor(photo)["segmentation"]
    for image in (str(photo), Image.open(photo), pixels_of(photo)):
        assert np.array_equal(predictor(image)["segmentation"], expected)


def test_an_array_may_be_a_view_and_read_only(predictor, photo):
    pixels = pixels_of(photo)
    mirrored = np.ascontiguousarray(pixels[::-1, ::-1])
    for size in (None, "native"):
        expected = predictor(pixels, input_size=size)["segmentation"]
        view = mirrored[::-1, ::-1]
        view.flags.writeable = False
        assert np.array_equal(predictor(view, input_size=size)["segmentation"], expected)


def test_the_image_is_not_changed(predictor, photo):
    pixels = pixels_of(photo).copy()
    before = pixels.copy()
    predictor(pixels, input_size="native")
    assert np.array_equal(pixels, before)


def test_a_list_gives_a_list(predictor, photo, tiny_dataset):
    other = tiny_dataset / "val" / "1.png"
    results = predictor([photo, other])
    assert isinstance(results, list)
    for result, path in zip(results, (photo, other), strict=True):
        assert np.array_equal(result["segmentation"], predictor(path)["segmentation"])
    assert predictor([]) == []


@pytest.mark.parametrize(
    ("input_size", "expected"),
    [(None, (64, 85)), ("native", (96, 128)), ((48, 1000), (48, 64)), ((200, 100), (75, 100)), ([32, 64], (32, 43))],
)
def test_input_size(predictor, photo, monkeypatch, input_size, expected):
    seen = []
    monkeypatch.setattr(
        YOSO, "features", lambda self, images, old=YOSO.features: seen.append(images[0].shape) or old(self, images)
    )
    assert predictor(photo, input_size=input_size)["segmentation"].shape == (96, 128)
    assert [tuple(shape[1:]) for shape in seen] == [expected]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(st.integers(1, 70), st.integers(1, 70)), st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_any_size_in_any_size_out(predictor, size, output_size):
    image = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), np.uint8)
    assert predictor(image, input_size=(32, 64))["segmentation"].shape == size
    result = predictor(image, input_size=(32, 64), output_size=output_size)
    assert result["segmentation"].shape == output_size
    assert sum(info["area"] for info in result["segments_info"]) == np.count_nonzero(result["segmentation"])


@pytest.mark.parametrize("input_size", [None, "native"])
def test_one_pixel(predictor, input_size):
    result = predictor(np.full((1, 1, 3), 200, np.uint8), input_size=input_size)
    assert result["segmentation"].shape == (1, 1)


def test_thresholds_replace_the_models(predictor, photo):
    assert predictor(photo, object_mask_threshold=1.0)["segments_info"] == []
    scores = sorted(info["score"] for info in predictor(photo)["segments_info"])
    kept = predictor(photo, object_mask_threshold=scores[0])["segments_info"]
    assert all(info["score"] > scores[0] for info in kept)
    assert len(predictor(photo, overlap_threshold=1.0)["segments_info"]) <= len(scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": "large"}, "native"),
        ({"input_size": (0, 100)}, "at least 1 pixel"),
        ({"input_size": 640}, "shorter, longest"),
        ({"input_size": (640.0, 640.0)}, "whole pixels"),
        ({"output_size": (10, 0)}, "at least 1 pixel"),
        ({"output_size": (10, 10, 3)}, "height, width"),
        ({"object_mask_threshold": 1.5}, "from 0 to 1"),
        ({"object_mask_threshold": float("nan")}, "from 0 to 1"),
        ({"overlap_threshold": -0.1}, "overlap_threshold"),
        ({"overlap_threshold": True}, "from 0 to 1"),
    ],
)
def test_bad_options(predictor, photo, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        predictor(photo, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32.*astype"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4), np.uint8), r"\(4, 4\)"),
        (np.zeros((3, 4, 4), np.uint8), r"\(3, 4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), "with pixels"),
        (None, "NoneType"),
        (torch.zeros(3, 4, 4), "Tensor"),
        ("no/such/file.jpg", "no/such/file.jpg"),
    ],
)
def test_bad_images(predictor, image, message):
    with pytest.raises(ImageError, match=message) as caught:
        predictor(image)
    assert "\n" not in str(caught.value)


def test_short_memory_is_one_line(predictor, photo, monkeypatch):
    def fail(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(YOSO, "features", fail)
    with pytest.raises(ImageError, match="not enough memory for an image of 128 x 96"):
        predictor(photo)


def test_other_errors_of_torch_are_not_hidden(predictor, photo, monkeypatch):
    def fail(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(YOSO, "features", fail)
    with pytest.raises(RuntimeError, match="something else"):
        predictor(photo)


def test_timings(predictor, photo):
    result, timings = predictor.timed(photo, object_mask_threshold=0.1)
    assert isinstance(timings, Timings)
    assert min(timings.read_seconds, timings.resize_seconds, timings.network_seconds, timings.merge_seconds) > 0
    assert np.array_equal(result["segmentation"], predictor(photo, object_mask_threshold=0.1)["segmentation"])


def test_a_gpu_is_waited_for_between_steps_only_where_the_times_are_wanted(predictor, photo, monkeypatch):
    timed = []
    real = predictor.engine.segment
    monkeypatch.setattr(
        predictor.engine, "segment", lambda pixels, request: timed.append(request.timed) or real(pixels, request)
    )
    predictor(photo)
    predictor([photo])
    predictor.timed(photo)
    assert timed == [False, False, True]

    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    for device, wanted in (("cuda", False), ("cpu", True), ("cuda", True)):
        torch_engine._StopWatch(torch.device(device), wanted).lap()
    assert waits == [torch.device("cuda")]


def test_threads_can_call_it_at_the_same_time(predictor, tiny_dataset):
    paths = [tiny_dataset / "val" / f"{index}.png" for index in range(4)]
    sizes = [(32, 64), (48, 96), (64, 128), (40, 80)]
    expected = [predictor(path, input_size=size)["segmentation"] for path, size in zip(paths, sizes, strict=True)]
    found = [None] * 4

    def work(index):
        for _ in range(3):
            found[index] = predictor(paths[index], input_size=sizes[index])["segmentation"]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))


def test_the_predictor_has_what_the_model_folder_says(predictor, tiny_model):
    model = load_model(tiny_model)
    assert isinstance(predictor.engine.network, YOSO)
    assert not predictor.engine.network.training
    assert (predictor.categories, predictor.inference) == (model.categories, model.inference)
    assert predictor.about == {"data": "none, random weights"}


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="gpu"):
        resolve_device("gpu")
    with pytest.raises(ConfigError, match="CUDA devices"):
        resolve_device("cuda:99")


def test_an_unknown_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no model or folder 'nothing-here'"):
        load("nothing-here")
