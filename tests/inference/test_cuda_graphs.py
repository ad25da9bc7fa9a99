"""bfloat16 as a CUDA graph gives what float32 gives, as far as bfloat16 holds; recordings do not disturb each other.

What a CPU can tell, it tells with stand-ins for CUDA; the rest needs a GPU.
"""

import contextlib
import warnings

import numpy as np
import pytest
import torch

import yoso
from yoso.inference import cuda_graphs
from yoso.inference.cuda_graphs import GraphedNetwork
from yoso.model.fuse import fuse
from yoso.weights.load import load_model

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
SIZES = [(160, 256), (224, 224), (160, 256), (96, 128), (128, 96), (192, 320), (160, 256)]
"""More sizes than recordings are kept, some again."""


class Cuda:
    """Stands in for `torch.cuda`: records the calls, and fails to record a graph on request."""

    def __init__(self):
        self.asked, self.error = [], None

    @contextlib.contextmanager
    def device(self, device):
        self.asked.append(("device", str(device)))
        yield

    def Stream(self, device):  # noqa: N802  (torch's name)
        self.asked.append(("stream", str(device)))
        return self

    def current_stream(self, device):
        return self

    def wait_stream(self, other):
        pass

    def stream(self, stream):
        return contextlib.nullcontext()

    def CUDAGraph(self):  # noqa: N802  (torch's name)
        return self

    def replay(self):
        self.asked.append(("replay", ""))

    @contextlib.contextmanager
    def graph(self, graph, stream, capture_error_mode):
        assert stream is self
        self.asked.append(("capture", capture_error_mode))
        yield
        if self.error is not None:
            raise self.error


@pytest.fixture
def cuda(monkeypatch):
    stand_in = Cuda()
    for name in ("device", "Stream", "current_stream", "stream", "CUDAGraph", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(stand_in, name))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    return stand_in


@pytest.fixture(scope="module")
def network(tiny_model):
    return fuse(load_model(tiny_model).network)


def images(height=64, width=96):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))


def test_all_of_it_happens_on_the_images_device(network, cuda):
    graphed = GraphedNetwork(network)
    assert graphed.sizes == []
    outputs = graphed(images())
    assert cuda.asked == [("device", "cpu"), ("stream", "cpu"), ("capture", "thread_local"), ("replay", "")]
    assert graphed.sizes == [(1, 3, 64, 96)]
    for ours, expected in zip(outputs, graphed.run_directly(images()), strict=True):
        torch.testing.assert_close(ours, expected)
    cuda.asked.clear()
    again = graphed(images())
    assert cuda.asked == [("device", "cpu"), ("replay", "")]
    assert all(ours.data_ptr() != other.data_ptr() for ours, other in zip(outputs, again, strict=True))


def test_a_network_that_cannot_be_recorded_runs_as_it_is_and_says_so_once(network, cuda):
    cuda.error = RuntimeError("operation not permitted when\n stream is capturing")
    graphed = GraphedNetwork(network)
    with pytest.warns(UserWarning, match=r"runs slower \(operation not permitted when stream is capturing\)"):
        outputs = graphed(images())
    graphed(images(96, 64))  # a second warning would be an error
    assert graphed.sizes == []
    assert sum(what == "capture" for what, _ in cuda.asked) == 1
    for ours, expected in zip(outputs, graphed.run_directly(images()), strict=True):
        assert torch.equal(ours, expected)


def test_a_recording_without_room_is_the_caller_s_to_solve(network, cuda):
    cuda.error = torch.OutOfMemoryError("CUDA out of memory")
    graphed = GraphedNetwork(network)
    with pytest.raises(torch.OutOfMemoryError):
        graphed(images())
    graphed.exclude((1, 3, 64, 96))
    cuda.asked.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphed(images())
    assert cuda.asked == [("device", "cpu")]
    cuda.error = None
    graphed(images(96, 64))
    assert graphed.sizes == [(1, 3, 96, 64)]
    graphed.forget()
    assert graphed.sizes == []


def test_the_recording_not_used_for_longest_goes_first(network, cuda, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MAX_SIZES", 2)
    graphed = GraphedNetwork(network)
    for height in (32, 64, 32, 96):
        graphed(images(height, 32))
    assert graphed.sizes == [(1, 3, 32, 32), (1, 3, 96, 32)]


def picture(height, width, random):
    coarse = random.integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))


@pytest.mark.gpu
@needs_gpu
def test_graphs_of_several_sizes():
    exact = yoso.load("facades-mnv2", "cuda", runtime="torch")
    graphed = yoso.load("facades-mnv2", "cuda", runtime="torch", precision="bf16")
    random = np.random.default_rng(0)
    for height, width in SIZES:
        image = picture(height, width, random)
        ours, expected = (predictor.outputs(image, input_size="native") for predictor in (graphed, exact))
        assert graphed.engine.graphed
        assert ours[2] == expected[2]
        for a, b in zip(ours[:2], expected[:2], strict=True):
            # bfloat16 has 8 bits; a pixel of a hard mask may fall on the other side, so the bound is on the mean.
            assert ((a - b).abs().mean() / b.abs().max()).item() < 0.02
        again = graphed.outputs(image, input_size="native")
        assert all(torch.equal(a, b) for a, b in zip(ours[:2], again[:2], strict=True))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("device", [f"cuda:{index}" for index in range(max(1, torch.cuda.device_count()))])
def test_segments_are_those_without_a_graph(device):
    """A replay launches the same kernels as a run without it; so the segments are equal, on every device."""
    graphed = yoso.load("facades-mnv2", device, runtime="torch", precision="bf16")
    random = np.random.default_rng(1)
    for height, width in SIZES[:3]:
        image = picture(height, width, random)
        ours = graphed(image, input_size="native", object_mask_threshold=0.1)
        graphed.engine._graphs.exclude((1, 3, height, width))
        graphed.engine._graphs.forget()
        expected = graphed(image, input_size="native", object_mask_threshold=0.1)
        assert not graphed.engine.graphed
        graphed.engine._graphs._too_large.clear()
        assert np.mean(ours["segmentation"] != expected["segmentation"]) < 1e-3
        assert [info["label"] for info in ours["segments_info"]] == [
            info["label"] for info in expected["segments_info"]
        ]


@pytest.mark.gpu
@needs_gpu
def test_a_call_waits_once():
    """All but the last transfer may be launched ahead; torch itself tells of any wait before it."""
    predictor = yoso.load("facades-mnv2", "cuda", runtime="torch", precision="bf16")
    image = picture(160, 256, np.random.default_rng(2))
    predictor(image, input_size="native")
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            predictor(image, input_size="native")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([one for one in caught if "synchroniz" in str(one.message)]) == 1
