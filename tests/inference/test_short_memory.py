"""Running out of memory: unneeded memory is freed, and if that does not help, one line says what would fit."""

import gc
import types
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from yoso.apps.cli import main
from yoso.errors import ConfigError, ImageError
from yoso.inference.engine import Request
from yoso.inference.loading import load
from yoso.inference.memory import is_out_of_memory, loading_errors, memory_errors
from yoso.inference.openvino_engine import OpenVinoEngine
from yoso.model.yoso import YOSO
from yoso.settings import Thresholds

PHOTO = np.zeros((160, 256, 3), np.uint8)


@pytest.fixture
def predictor(tiny_model):
    return load(tiny_model, "cpu", "torch")


@pytest.fixture
def room_for(monkeypatch):
    """Let the network run out of a GPU's memory above so many pixels, and keep what it was asked to do."""
    asked = []

    def install(most, first_fails=0):
        def features(self, images, old=YOSO.features):
            size = tuple(images[0].shape[1:])
            asked.append(size)
            if size[0] * size[1] > most or len(asked) <= first_fails:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
            return old(self, images)

        monkeypatch.setattr(YOSO, "features", features)
        return asked

    return install


def test_a_second_try_may_fit(predictor, room_for):
    expected = predictor(PHOTO, input_size="native")
    asked = room_for(10**9, first_fails=1)
    result = predictor(PHOTO, input_size="native")
    assert asked == [(160, 256), (160, 256)]
    assert np.array_equal(result["segmentation"], expected["segmentation"])


@pytest.mark.parametrize(("most", "fits"), [(80 * 128, "80x128"), (80 * 128 - 1, "40x64")])
def test_the_largest_half_that_fits_is_named(predictor, room_for, most, fits):
    asked = room_for(most)
    with pytest.raises(ImageError, match="not enough memory on cpu for an image of 256 x 160 pixels") as caught:
        predictor(PHOTO, input_size="native")
    assert f"--input-size {fits}, fits" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert asked[:3] == [(160, 256), (160, 256), (80, 128)]
    shorter, longest = map(int, fits.split("x"))
    assert predictor(PHOTO, input_size=(shorter, longest))["segmentation"].shape == (160, 256)


def test_nothing_fits(predictor, room_for):
    asked = room_for(0)
    with pytest.raises(ImageError, match=r"no smaller input_size fits; .*use device cpu"):
        predictor(PHOTO, input_size="native")
    assert asked[-1] == (40, 64)
    with pytest.raises(ImageError, match="not enough memory"):
        predictor.outputs(PHOTO, input_size="native")


def test_no_tensor_of_the_first_try_is_alive_in_the_second(predictor, monkeypatch):
    """The tensors of the first try would take memory that the second needs."""
    made, alive = [], []

    def features(self, images, old=YOSO.features):
        alive.extend(one() is not None for one in made)
        local = torch.zeros(8)
        made.append(weakref.ref(local))
        if len(made) == 1:
            raise torch.OutOfMemoryError
        return old(self, images)

    monkeypatch.setattr(YOSO, "features", features)
    gc.disable()
    try:
        predictor(PHOTO)
    finally:
        gc.enable()
    assert alive == [False]


class Graphs:
    """Stands in for a `GraphedNetwork` whose recordings do not fit."""

    def __init__(self, network):
        self.network, self.calls = network, []

    def __call__(self, images):
        self.calls.append("recorded")
        raise torch.OutOfMemoryError

    def run_directly(self, images):
        self.calls.append("run_directly")
        maps = self.network.aggregator(self.network.backbone(images))
        return self.network.decoder(maps)[-1]

    def forget(self):
        self.calls.append("forget")

    def exclude(self, shape):
        self.calls.append(shape)


def test_recordings_are_dropped_first_and_that_size_is_not_recorded_again(predictor):
    expected = predictor(PHOTO[:150], input_size="native")
    predictor.engine._graphs = graphs = Graphs(predictor.engine.network)
    result = predictor(PHOTO[:150], input_size="native")
    assert graphs.calls == ["recorded", "forget", "run_directly", (1, 3, 160, 256)]
    assert np.array_equal(result["segmentation"], expected["segmentation"])


def test_openvino(monkeypatch):
    def fails(*_):
        raise RuntimeError("[GPU] CL_MEM_OBJECT_ALLOCATION_FAILURE")

    engine = object.__new__(OpenVinoEngine)
    engine.categories = types.SimpleNamespace(is_thing=(True,))
    engine.size, engine._mean = None, [0.0, 0.0, 0.0]
    monkeypatch.setattr(engine, "run", fails)
    request = Request(None, (160, 256), Thresholds(0.5, 0.5))
    for work in (engine.segment, engine.logits):
        with pytest.raises(ImageError, match="not enough memory for an image of 256 x 160"):
            work(PHOTO, request)


@pytest.mark.parametrize("place", ["weights.load.load_model", "inference.torch_engine.TorchEngine"])
def test_loading(tiny_model, monkeypatch, capsys, tmp_path, place):
    def fails(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"yoso.{place}", fails)
    with pytest.raises(ConfigError, match="not enough memory on cpu to load the model"):
        load(tiny_model, "cpu", "torch")
    words = ["--model", str(tiny_model), "--device", "cpu", "--runtime", "torch", "--output", str(tmp_path / "out")]
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    assert main(["predict", str(tmp_path / "photo.png"), *words]) == 2
    error = capsys.readouterr().err
    assert "not enough memory on cpu to load the model; free some, or use another device" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("bad allocation"),
        RuntimeError("[GPU] clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES"),
        RuntimeError("[GPU] Exceeded max size of memory object allocation: requested 9 bytes"),
        RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("Failed to allocate memory for requested buffer of size 9"),
        RuntimeError("MPS backend: not enough memory"),
    ],
)
def test_words_of_all_runtimes(error):
    with pytest.raises(ImageError, match="not enough memory for an image of 4 x 3 pixels"), memory_errors((3, 4)):
        raise error
    with pytest.raises(ConfigError, match="model: not enough memory on cuda:0"), loading_errors("model", "cuda:0"):
        raise error


def test_other_errors_are_raised_unchanged():
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    for context in (memory_errors((3, 4)), loading_errors("model", "cpu")):
        with pytest.raises(RuntimeError, match="shapes differ"), context:
            raise RuntimeError("shapes differ")
