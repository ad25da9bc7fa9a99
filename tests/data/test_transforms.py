from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from yoso.data.augmentation import Augmentation
from yoso.data.transforms import (
    FILL,
    RandomSource,
    build_transform,
    collate,
    color_jitter,
    large_scale_jitter,
    padded,
    recolored,
    resize_crop,
    resized,
)
from yoso.errors import ConfigError
from yoso.structures import PADDING, Sample

SIDES = st.integers(1, 40)


class Scripted(RandomSource):
    """Gives the numbers of a script; each is a share of the range asked for."""

    def __init__(self, *shares):
        self.shares = list(shares)

    def uniform(self, low=0.0, high=1.0):
        return low + (high - low) * self.shares.pop(0)

    def integer(self, count):
        return int(self.shares.pop(0) * count)


def numbered(height, width):
    """Return an image whose color tells a pixel's place, and a map that says the same."""
    numbers = np.arange(height * width, dtype=np.int32).reshape(height, width)
    return np.stack([numbers % 251, numbers // 251, numbers * 0], axis=-1).astype(np.uint8), numbers


def blocks(height, width, rows, columns):
    """Return a map of numbered blocks 16 pixels wide, and an image in which each block has a gray of its own."""
    numbers = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns) + 1
    segments = np.kron(numbers, np.ones((height, width), np.int32))
    return np.repeat((segments * 3).astype(np.uint8)[..., None], 3, axis=2), segments


def sample_of(image, segments, labels=(0, 1)):
    return Sample(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(segments), torch.tensor(labels), "x.jpg")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["large_scale_jitter", "resize_crop"]),
    st.tuples(SIDES, SIDES),
    st.tuples(SIDES, SIDES),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_shapes_and_padding(kind, input_size, size, pad, seed):
    image, segments = numbered(*input_size)
    augmentation = Augmentation(kind, size, (0.1, 2.0), (5, 20, 37), 45, color_jitter=False, pad=pad)
    sample = build_transform(augmentation)(sample_of(image, segments), torch.Generator().manual_seed(seed))
    shape = sample.segment_map.shape
    assert sample.image.shape == (3, *shape)
    assert (sample.image.dtype, sample.segment_map.dtype) == (torch.uint8, torch.int32)
    assert sample.image.is_contiguous()
    assert sample.labels.tolist() == [0, 1]
    if kind == "large_scale_jitter" or pad:
        assert shape == size
    assert all(side <= limit for side, limit in zip(shape, size, strict=True))
    inside = sample.segment_map != PADDING
    height, width = int(inside.any(1).sum()), int(inside.any(0).sum())
    assert inside[:height, :width].all()
    assert height > 0
    assert width > 0
    assert inside.sum() == height * width
    assert (sample.image[:, ~inside] == FILL).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["large_scale_jitter", "resize_crop"]), st.integers(0, 2**31))
def test_image_and_map_are_moved_alike(kind, seed):
    image, segments = blocks(24, 24, 4, 5)
    augmentation = Augmentation(kind, (70, 80), (0.7, 2.0), (70, 96, 150), 400)
    sample = build_transform(augmentation)(sample_of(image, segments), torch.Generator().manual_seed(seed))
    gray, ids = sample.image[0].numpy().astype(int), sample.segment_map.numpy()
    # Away from the edges of blocks, where bilinear resizing mixes colors, the gray says which block it is.
    inner = np.ones_like(ids, bool)
    for shift in (-3, -2, -1, 1, 2, 3):
        for axis in (0, 1):
            inner &= np.roll(ids, shift, axis) == ids
    inner &= ids != PADDING
    assert inner.sum() > 100
    np.testing.assert_array_equal(gray[inner], 3 * ids[inner])


def test_flip_mirrors_both():
    image, segments = numbered(4, 6)
    augmentation = Augmentation(size=(4, 6), scale=(1.0, 1.0))
    for flip, expected in ((0.0, segments[:, ::-1]), (0.9, segments)):
        moved, ids = large_scale_jitter(image, segments, augmentation, Scripted(flip, 0, 0))
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(moved[..., 0] + 251 * moved[..., 1].astype(int), expected)


@pytest.mark.parametrize(("shift", "top", "left"), [(0.0, 0, 0), (0.25, 2, 5), (0.5, 5, 10), (0.999, 10, 20)])
def test_one_number_drives_both_axes_of_the_large_scale_crop(shift, top, left):
    image, segments = numbered(20, 40)
    # Twice the size that fits: 20 x 40 into 10 x 20 is 20 x 40 again, so that only the crop is seen.
    augmentation = Augmentation(size=(10, 20), scale=(2.0, 2.0), flip=False)
    draw = Scripted(0.5, shift)
    _, ids = large_scale_jitter(image, segments, augmentation, draw)
    np.testing.assert_array_equal(ids, segments[top : top + 10, left : left + 20])
    assert draw.shares == []


@pytest.mark.parametrize(
    ("input_size", "share", "inside"),
    [((480, 640), 0.0, (77, 102)), ((480, 640), 0.4737, (768, 1024)), ((640, 427), 0.2105, (512, 342))],
)
def test_large_scale_jitter_scales_what_just_fits(input_size, share, inside):
    image, segments = np.zeros((*input_size, 3), np.uint8), np.zeros(input_size, np.int32)
    _, ids = large_scale_jitter(image, segments, Augmentation(flip=False), Scripted(share, 0.3))
    assert ids.shape == (1024, 1024)
    assert ((ids == 0).any(1).sum(), (ids == 0).any(0).sum()) == inside


@pytest.mark.parametrize(
    ("input_size", "shorter", "longest", "expected"),
    [
        ((480, 640), 320, 2560, (320, 427)),
        ((640, 480), 800, 1333, (1067, 800)),
        ((427, 640), 800, 1000, (667, 1000)),
        ((100, 1000), 320, 640, (64, 640)),
        ((1, 500), 1, 100, (1, 100)),
    ],
)
def test_choice_resize(input_size, shorter, longest, expected):
    image, segments = np.zeros((*input_size, 3), np.uint8), np.zeros(input_size, np.int32)
    augmentation = Augmentation("resize_crop", (4000, 4000), shorter_sides=(shorter,), longest=longest, flip=False)
    _, ids = resize_crop(image, segments, augmentation, Scripted(0, 0, 0))
    assert ids.shape == expected


def test_crop_reaches_every_place_and_its_axes_are_independent():
    image, segments = numbered(6, 8)
    augmentation = Augmentation("resize_crop", (4, 4), shorter_sides=(6,), flip=False)
    for top, left in ((0, 4), (2, 0), (1, 3)):
        _, ids = resize_crop(image, segments, augmentation, Scripted(0, (top + 0.5) / 3, (left + 0.5) / 5))
        np.testing.assert_array_equal(ids, segments[top : top + 4, left : left + 4])
    generator = torch.Generator().manual_seed(0)
    firsts = {int(resize_crop(image, segments, augmentation, RandomSource(generator))[1][0, 0]) for _ in range(300)}
    assert firsts == {8 * top + left for top in range(3) for left in range(5)}


@pytest.mark.parametrize("value", [255, 2**24 - 1])
@pytest.mark.parametrize("part", [(0, 0, 81, 20), (30, 3, 80, 17)])
def test_resizing_is_pillows(part, value):
    left, top, right, bottom = part
    random = np.random.default_rng(1)
    image = random.integers(0, 255, (37, 53, 3), dtype=np.uint8)
    mask = random.random((37, 53)) < 0.4
    moved, ids = resized(image, mask.astype(np.int32) * value, (20, 81), part)
    whole = np.asarray(Image.fromarray(image).resize((81, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(moved, whole[top:bottom, left:right])
    whole = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((81, 20), Image.Resampling.NEAREST))
    assert np.array_equal(ids, whole[top:bottom, left:right].astype(np.int32) * value)


def test_padding_values():
    image, segments = padded(np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2), np.int32), (2, 3))
    assert segments.tolist() == [[0, 0, PADDING], [PADDING] * 3]
    assert image[..., 0].tolist() == [[0, 0, 128], [128] * 3]


@pytest.mark.parametrize("kind", ["large_scale_jitter", "resize_crop"])
def test_runs_repeat(kind):
    image, segments = blocks(8, 8, 3, 3)
    transform = build_transform(Augmentation(kind, (20, 20), shorter_sides=(20, 30), color_jitter=True))
    original = sample_of(image.copy(), segments.copy())
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (transform(original, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.segment_map, again.segment_map)
    assert not torch.equal(first.image, other.image)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(original.image.permute(1, 2, 0).numpy(), image)
    assert np.array_equal(original.segment_map.numpy(), segments)


# The coins of color_jitter (0: yes, 0.9: no) in the order of the draws: contrast first, brightness, then per color.
@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.9, 0.9, 0.9, 0.9, 0.9), (100, 50, 25)),
        ((0.9, 0.0, 0.1, 0.9, 0.9, 0.9), (74, 24, 0)),
        ((0.0, 0.0, 1.0, 0.0, 0.0, 0.9, 0.9), (66, 41, 28)),
        ((0.9, 0.0, 1.0, 0.9, 0.9, 0.0, 1.0), (198, 123, 85)),
        ((0.9, 0.9, 0.0, 0.0, 0.9, 0.9), (100, 75, 63)),
        ((0.9, 0.9, 0.9, 0.0, 0.999, 0.9), (100, 95, 25)),
        ((0.9, 0.9, 0.9, 0.0, 0.0, 0.9), (100, 25, 45)),
    ],
)
def test_color_jitter_by_hand(shares, expected):
    image = np.array([[(100, 50, 25)]], np.uint8)
    draw = Scripted(*shares)
    assert tuple(color_jitter(image, draw)[0, 0].tolist()) == expected
    assert draw.shares == []
    assert image.tolist() == [[[100, 50, 25]]]


@given(st.tuples(*[st.integers(0, 255)] * 3), st.floats(0.5, 1.5), st.floats(-36, 36))
def test_recolored_is_hsv(pixel, saturation, degrees):
    import colorsys

    hue, chroma, value = colorsys.rgb_to_hsv(*pixel)
    expected = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, min(1.0, chroma * saturation), value)
    result = recolored(np.array([[pixel]], np.uint8), saturation, degrees)
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result[0, 0], expected, atol=0.501)


@pytest.mark.parametrize(
    "faulty",
    [
        {"size": (0, 5)},
        {"longest": 0},
        {"shorter_sides": (0,)},
        {"scale": (0.0, 1.0)},
        {"scale": (2.0, 1.0)},
    ],
)
def test_impossible_augmentations(faulty):
    with pytest.raises(ConfigError):
        replace(Augmentation(), **faulty)


def test_resize_crop_needs_a_shorter_side():
    with pytest.raises(ConfigError, match="shorter_sides is empty"):
        Augmentation("resize_crop", shorter_sides=())


def test_a_target_that_the_crop_emptied_stays_a_target():
    image, segments = blocks(16, 64, 1, 2)
    augmentation = Augmentation("resize_crop", size=(16, 32), shorter_sides=(16,), flip=False)
    results = [
        build_transform(augmentation)(sample_of(image, segments), torch.Generator().manual_seed(s)) for s in range(9)
    ]
    halves = [sample for sample in results if len(sample.segment_map.unique()) == 1]
    assert halves
    assert all(len(sample.labels) == 2 for sample in halves)


def test_collate_keeps_samples_of_different_sizes():
    samples = [sample_of(*numbered(2, 3)), sample_of(*numbered(4, 5))]
    batch = collate(samples)
    assert [sample.image.shape for sample in batch] == [(3, 2, 3), (3, 4, 5)]
