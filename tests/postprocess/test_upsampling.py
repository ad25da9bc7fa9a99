import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from yoso.postprocess import Sizes, numpy_merge, panoptic, upsampling
from yoso.postprocess.segments import plan_rows, strips
from yoso.settings import Thresholds

side = st.integers(1, 40)


@st.composite
def any_sizes(draw):
    padded = (draw(side), draw(side))
    image = (draw(st.integers(1, padded[0])), draw(st.integers(1, padded[1])))
    output = draw(st.sampled_from([image, (draw(side), draw(side))]))
    return Sizes(padded, image, output)


def reference(masks, sizes):
    masks = F.interpolate(masks[None], size=sizes.padded, mode="bilinear")
    masks = masks[:, :, : sizes.image[0], : sizes.image[1]]
    return F.interpolate(masks, size=sizes.output, mode="bilinear")[0]


@settings(max_examples=80, deadline=None)
@given(any_sizes(), side, side, st.integers(1, 20000))
def test_strips_are_the_rows_of_the_whole(sizes, height, width, strip_bytes):
    masks = torch.randn(5, height, width, generator=torch.Generator().manual_seed(height))
    queries = torch.tensor([4, 1, 2])
    expected = reference(masks[queries], sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upsampling, "WHOLE_BYTES", {"cpu": 0})
        patch.setattr(upsampling, "STRIP_BYTES", {"cpu": strip_bytes})
        parts = list(upsampling.upsampled_strips(masks, queries, sizes))
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    torch.testing.assert_close(torch.cat([part for _, part in parts], 1), expected, atol=2e-5, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(any_sizes(), side, side)
def test_numpy_rows_equal_torch(sizes, height, width):
    masks = torch.randn(3, height, width, generator=torch.Generator().manual_seed(width))
    stop = sizes.output[0]
    plan = plan_rows(stop // 2, stop, height, sizes)
    rows = numpy_merge._upsampled(masks.numpy()[[2, 0]][:, plan.rows], plan, sizes)
    expected = reference(masks[[2, 0]], sizes)[:, stop // 2 :]
    np.testing.assert_allclose(rows, expected, atol=2e-5, rtol=1e-5)
    assert rows.dtype == np.float32


def test_positions_agree_with_torch_far_from_the_origin():
    """At 20,000 pixels the rounding of the positions themselves matters; both must round alike."""
    sizes = Sizes((19997, 2), (19997, 2), (19997, 2))
    masks = torch.randn(1, 4999, 2, generator=torch.Generator().manual_seed(0))
    expected = reference(masks, sizes)[:, 19000:]
    plan = plan_rows(19000, 19997, 4999, sizes)
    got = upsampling._strip(masks[:, plan.rows], plan, sizes)
    torch.testing.assert_close(got, expected, atol=5e-6, rtol=0)


def test_strips_cover_every_row_once():
    sizes = Sizes((64, 64), (50, 64), (33, 21))
    cut = list(strips(3, sizes, 5 * 4 * 3 * 64))
    assert cut == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 25), (25, 30), (30, 33)]
    assert len(list(strips(1000, sizes, 1))) == 33


def test_a_plan_reads_only_the_rows_it_needs():
    sizes = Sizes((6400, 64), (6400, 64), (10, 10))
    plan = plan_rows(4, 5, 1600, sizes)
    assert len(plan.rows) <= 4
    assert len(plan_rows(0, 8, 1600, Sizes((6400, 64), (6400, 64), (6400, 64))).rows) <= 4


@pytest.mark.parametrize("output", [(500, 330), (7, 5), (160, 160)], ids=["larger", "smaller", "same"])
def test_no_tensor_is_larger_than_the_strip_budget(monkeypatch, output):
    budget = 150_000
    sizes = Sizes((160, 160), (160, 160), output)
    made = []

    class Watched:
        @staticmethod
        def interpolate(masks, **options):
            result = F.interpolate(masks, **options)
            made.append(max(masks.nbytes, result.nbytes))
            return result

    monkeypatch.setattr(upsampling, "F", Watched)
    monkeypatch.setattr(upsampling, "WHOLE_BYTES", {"cpu": budget})
    monkeypatch.setattr(upsampling, "STRIP_BYTES", {"cpu": budget})
    generator = torch.Generator().manual_seed(3)
    classes = torch.tensor([[30.0, 0.0]]).expand(60, 2)
    result = panoptic(classes, torch.randn(60, 40, 40, generator=generator), sizes, [True], Thresholds(0.5, 0.0))
    assert len(result.segments) > 10
    assert made
    assert max(made) <= budget


LARGE = """
import resource, sys, torch
from yoso.postprocess import Sizes, panoptic
from yoso.settings import Thresholds
torch.set_num_threads(1)
side, kept = int(sys.argv[1]), int(sys.argv[2])
masks = torch.empty(kept, side, side).normal_(generator=torch.Generator().manual_seed(0))
classes = torch.tensor([[30.0, 0.0]]).repeat(kept, 1)
warm_up = Sizes((64, 64), (64, 64), (64, 64))
panoptic(classes[:3], masks[:3], warm_up, [True], Thresholds(0.5, 0.0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = int(sys.argv[3])
sizes = Sizes((side * 4, side * 4), (side * 4, side * 4), (pixels, pixels))
result = panoptic(classes, masks, sizes, [True], Thresholds(0.5, 0.0))
assert result.segmentation.shape == (pixels, pixels)
assert sum(s.area for s in result.segments) == int(result.segmentation.count_nonzero())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def megabytes_used(side, kept, pixels):
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    arguments = [sys.executable, "-c", LARGE, str(side), str(kept), str(pixels)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_nine_megapixels_take_little_memory():
    assert megabytes_used(side=100, kept=8, pixels=3000) < 36 + 150


@pytest.mark.slow
@pytest.mark.parametrize("side", [200, 2500], ids=["upsampled", "native"])
def test_a_hundred_megapixels_and_a_hundred_queries_take_less_than_two_gigabytes(side):
    assert megabytes_used(side=side, kept=100, pixels=10_000) < 2000
