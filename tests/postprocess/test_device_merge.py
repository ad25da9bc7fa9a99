"""The merge for a GPU gives the segments of `panoptic`, and the host waits for it once."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from yoso.postprocess import Sizes, device_merge, panoptic, panoptic_arrays, torch_merge, upsampling
from yoso.settings import Thresholds

CONFIGS = ("coco", "cityscapes", "ade20k", "mapillary")
SIZES = Sizes((128, 160), (120, 150), (61, 77))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let a CPU run the merge for a GPU; `panoptic`, to compare with, upsamples all masks, as on a GPU."""
    monkeypatch.setattr(device_merge, "WAITED_FOR", ("cpu",))
    monkeypatch.setattr(
        torch_merge,
        "contended_strips",
        lambda masks, queries, _, sizes: upsampling.uncontended_strips(masks, queries, sizes),
    )


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("config", CONFIGS)
def test_official_cases(official_case, as_on_a_gpu, config, index):
    case = official_case(config, index)
    result = panoptic_arrays(*case.arguments)
    np.testing.assert_array_equal(result.segmentation, case.segmentation)
    assert [(s.id, s.class_index) for s in result.segments] == case.segments
    assert [s.area for s in result.segments] == case.areas[1:]


def blobs(seed, num_queries):
    """Class and mask logits of round masks, some of them empty, whose queries are of three classes or of none."""
    random = np.random.default_rng(seed)
    rows, columns = np.ogrid[:32, :40]
    tops, lefts = random.integers(0, 32, (num_queries, 1, 1)), random.integers(0, 40, (num_queries, 1, 1))
    radii = random.uniform(-2, 16, (num_queries, 1, 1))
    masks = (radii - np.hypot(rows - tops, columns - lefts)).astype(np.float32)
    return torch.from_numpy(random.normal(0, 3, (num_queries, 4)).astype(np.float32)), torch.from_numpy(masks)


@pytest.mark.usefixtures("as_on_a_gpu")
class TestEqual:
    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 2**32 - 1),
        st.integers(1, 60),
        st.sampled_from([0.0, 0.3, 0.6, 1.0]),
        st.sampled_from([0.0, 0.5, 0.9]),
        st.sampled_from([2**29, 0]),
    )
    def test_random_masks(self, seed, num_queries, object_mask, overlap, whole_bytes):
        arguments = (*blobs(seed, num_queries), SIZES, (True, False, False), Thresholds(object_mask, overlap))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upsampling, "WHOLE_BYTES", {"cpu": whole_bytes})
            patch.setattr(upsampling, "STRIP_BYTES", {"cpu": 2**17})
            ours, expected = panoptic_arrays(*arguments), panoptic(*arguments)
        assert ours.segments == expected.segments
        assert ours.segmentation.dtype == np.int32
        np.testing.assert_array_equal(ours.segmentation, expected.segmentation)

    @pytest.mark.parametrize("more", [0, 1])
    def test_more_queries_than_are_upsampled(self, more):
        """With one query more than fits, the image is merged again with all of them."""
        count = device_merge.MAX_KEPT_QUERIES + more
        masks = torch.full((count + 5, 1, count), -9.0)
        masks[5:, 0] = torch.where(torch.eye(count) > 0, 9.0, -9.0)
        logits = torch.tensor([[0.0, 9.0]] * 5 + [[9.0, 0.0]] * count)
        size = (1, count)
        arguments = (logits, masks, Sizes(size, size, size), (True,), Thresholds(0.5, 0.0))
        packed = device_merge.packed_merge(*arguments[:3], torch.tensor([True]), arguments[4]).numpy()
        assert (device_merge.unpack(packed, arguments[2], (True,), 0.0) is None) == bool(more)
        assert panoptic_arrays(*arguments).segmentation.tolist() == [list(range(1, count + 1))]

    def test_no_query_takes_part(self):
        result = panoptic_arrays(*blobs(0, 7), SIZES, (True, False, True), Thresholds(1.0, 0.0))
        assert result.segments == []
        assert not result.segmentation.any()


class Transfers(TorchDispatchMode):
    """Counts the copies from a GPU to the host; each makes the host wait."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sources = [value for value in args if isinstance(value, torch.Tensor)]
        if isinstance(result, torch.Tensor) and result.device.type == "cpu":
            self.count += any(source.device.type == "cuda" for source in sources)
        return result


@contextlib.contextmanager
def imagined_gpu():
    """Tensors with a device and a shape but no values; reading a value is an error."""
    with FakeTensorMode(), Transfers() as transfers:
        logits, masks = torch.empty(100, 134, device="cuda"), torch.empty(100, 128, 200, device="cuda")
        yield logits, masks, transfers


@pytest.mark.parametrize("size", [(512, 800), (2000, 3000)])
def test_nothing_is_waited_for_until_the_one_transfer(size):
    sizes = Sizes((512, 800), (512, 800), size)
    with imagined_gpu() as (logits, masks, transfers):
        things = torch.tensor([True] * 133).to("cuda", non_blocking=True)
        packed = device_merge.packed_merge(logits, masks, sizes, things, Thresholds(0.8, 0.8))
        assert transfers.count == 0
        assert packed.device.type == "cuda"
        assert packed.shape == (size[0] * size[1] + device_merge.PER_QUERY * device_merge.MAX_KEPT_QUERIES + 1,)
        packed.cpu()
        assert transfers.count == 1


def test_the_count_of_transfers_sees_those_of_panoptic():
    with imagined_gpu() as (logits, masks, transfers):
        with pytest.raises((DataDependentOutputException, RuntimeError)):
            panoptic(logits, masks, Sizes((512, 800), (512, 800), (512, 800)), [True] * 133, Thresholds(0.8, 0.8))
        assert transfers.count == 1


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("output", [(512, 800), (3000, 4000)])
def test_a_gpu_gives_what_a_cpu_gives_and_is_waited_for_once(output):
    logits, masks = blobs(3, 30)
    sizes, is_thing = Sizes((512, 800), (500, 800), output), (True, False, True)
    masks = torch.nn.functional.interpolate(masks[None], (128, 200), mode="bilinear")[0]
    things = torch.tensor(is_thing, device="cuda")
    on_gpu = (logits.cuda(), masks.cuda(), sizes)
    torch.cuda.set_sync_debug_mode("error")
    try:
        packed = device_merge.packed_merge(*on_gpu, things, Thresholds(0.3, 0.2))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    ours = device_merge.unpack(packed.cpu().numpy(), sizes, is_thing, 0.2)
    expected = panoptic(logits, masks, sizes, is_thing, Thresholds(0.3, 0.2))
    assert [(s.id, s.class_index) for s in ours.segments] == [(s.id, s.class_index) for s in expected.segments]
    # Rounding differs between devices, so a pixel where two masks tie may go to the other.
    assert np.mean(ours.segmentation != expected.segmentation.numpy()) < 1e-3
