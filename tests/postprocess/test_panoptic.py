import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yoso.errors import NonFiniteError
from yoso.postprocess import Sizes, device_merge, panoptic, panoptic_numpy, torch_merge, upsampling
from yoso.postprocess.segments import PixelCounts, contenders, kept_queries, merge_segments
from yoso.settings import Thresholds

CONFIGS = ("coco", "cityscapes", "ade20k", "mapillary")
TINY = 4 * 5 * 64


@pytest.fixture
def in_strips(monkeypatch):
    """Split even the smallest image into strips of a row or two."""
    monkeypatch.setattr(upsampling, "WHOLE_BYTES", {"cpu": 0})
    monkeypatch.setattr(upsampling, "STRIP_BYTES", {"cpu": TINY})


def uncontended(mask_logits, queries, _, sizes):
    return upsampling.uncontended_strips(mask_logits, queries, sizes)


@pytest.fixture
def all_at_once(monkeypatch):
    monkeypatch.setattr(torch_merge, "contended_strips", uncontended)


def check_official(case, result):
    np.testing.assert_array_equal(np.asarray(result.segmentation), case.segmentation)
    assert [(s.id, s.class_index) for s in result.segments] == case.segments
    assert [s.area for s in result.segments] == case.areas[1:]


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("config", CONFIGS)
class TestOfficialCases:
    def test_whole(self, official_case, config, index):
        case = official_case(config, index)
        check_official(case, panoptic(*case.arguments))

    def test_strips(self, official_case, config, index, in_strips):
        case = official_case(config, index)
        check_official(case, panoptic(*case.arguments))

    def test_all_masks_at_once_as_on_a_gpu(self, official_case, config, index, all_at_once):
        case = official_case(config, index)
        check_official(case, panoptic(*case.arguments))

    def test_numpy(self, official_case, config, index):
        case = official_case(config, index)
        check_official(case, panoptic_numpy(*case.numpy_arguments))

    def test_numpy_says_the_same_as_torch(self, official_case, config, index):
        case = official_case(config, index)
        ours, numpys = panoptic(*case.arguments).segments, panoptic_numpy(*case.numpy_arguments).segments
        assert [(s.id, s.bbox) for s in ours] == [(s.id, s.bbox) for s in numpys]
        np.testing.assert_allclose([s.score for s in ours], [s.score for s in numpys], rtol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("name", ["coco_a", "coco_c", "cityscapes_c", "ade20k_a"])
def test_official_network_outputs(shared, golden, is_thing, name):
    arrays = np.load(shared / "golden" / f"forward_{name}.npz")
    about = json.loads((golden / "forward_meta.json").read_text())[f"forward_{name}"]
    compared = 0
    for image, entry in enumerate(about):
        size = (entry["h"], entry["w"])
        output = (entry["height"] or size[0], entry["width"] or size[1])
        logits = (torch.from_numpy(arrays["cls_s2"][image]), torch.from_numpy(arrays["mask_s2"][image]))
        for index, expected in enumerate(entry["results"]):
            result = panoptic(
                *logits,
                Sizes((64, 96), size, output),
                is_thing[name.split("_")[0]],
                Thresholds(expected["object_mask_threshold"], expected["overlap_threshold"]),
            )
            np.testing.assert_array_equal(result.segmentation, arrays[f"panoptic_{image}_t{index}"])
            segments = [(s["id"], s["category_id"]) for s in expected["segments_info"]]
            assert [(s.id, s.class_index) for s in result.segments] == segments
            compared += 1
    assert compared == 5 * len(about)


def logits_of(classes, num_classes, strength=10.0):
    """Class logits of queries that are (nearly) certain; `num_classes` stands for no_object."""
    logits = torch.zeros(len(classes), num_classes + 1)
    logits[torch.arange(len(classes)), torch.tensor(classes, dtype=torch.long)] = strength
    return logits


def same_size(height, width):
    return Sizes((height, width), (height, width), (height, width))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.sampled_from([Sizes((256, 320), (250, 300), (250, 300)), Sizes((128, 160), (120, 160), (301, 420))]),
)
def test_masks_that_cannot_matter_change_nothing(seed, num_queries, sizes):
    """Blobs of all sizes and heights, so that most masks are left out of most strips; equal to the last bit."""
    random = np.random.default_rng(seed)
    rows, columns = np.ogrid[: sizes.padded[0] // 4, : sizes.padded[1] // 4]
    tops, lefts = random.integers(0, 64, (num_queries, 1, 1)), random.integers(0, 80, (num_queries, 1, 1))
    radii, depths = random.uniform(1, 20, (num_queries, 1, 1)), random.uniform(0.5, 100, (num_queries, 1, 1))
    masks = (depths * (1 - np.hypot(rows - tops, columns - lefts) / radii)).clip(-depths, depths).astype(np.float32)
    logits = random.normal(0, 3, (num_queries, 4)).astype(np.float32)
    arguments = (sizes, (True, False, True), Thresholds(0.3, 0.1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upsampling, "WHOLE_BYTES", {"cpu": 0})
        ours = panoptic(torch.from_numpy(logits), torch.from_numpy(masks), *arguments)
        patch.setattr(torch_merge, "contended_strips", uncontended)
        plain = panoptic(torch.from_numpy(logits), torch.from_numpy(masks), *arguments)
    assert ours.segments == plain.segments
    np.testing.assert_array_equal(ours.segmentation, plain.segmentation)
    numpys = panoptic_numpy(logits, masks, *arguments)
    assert np.count_nonzero(numpys.segmentation != plain.segmentation.numpy()) <= 1e-3 * numpys.segmentation.size


def test_few_masks_matter():
    """A wall behind eight windows, in one strip of which are two."""
    largest, least = np.array([5.0, *[-4.0] * 6, 3.0, 4.0]), np.array([3.0, *[-6.0] * 8])
    scores = np.array([0.9, *[0.99] * 8])
    assert contenders(largest, least, scores).tolist() == [0, 7, 8]


@pytest.mark.parametrize(("logit", "expected"), [(-9.0, [1]), (-60.0, [1]), (-84.0, [0, 1, 2]), (-1e4, [0, 1, 2])])
def test_far_from_all_masks_the_nearest_wins_unless_float32_cannot_tell(logit, expected):
    bound = np.full(3, logit, np.float32)
    assert contenders(bound, bound, np.array([0.5, 0.9, 0.6], np.float32)).tolist() == expected


class TestRules:
    """Each rule of the merge on masks drawn by hand, one row of pixels wide."""

    sizes = same_size(1, 8)

    def merge(self, classes, rows, is_thing=(True, False), object_mask=0.5, overlap=0.0):
        masks = torch.tensor(rows, dtype=torch.float32)[:, None]
        logits = logits_of(classes, len(is_thing))
        return panoptic(logits, masks, self.sizes, is_thing, Thresholds(object_mask, overlap))

    def test_two_things_of_one_class_stay_apart(self):
        result = self.merge([0, 0], [[9, 9, 9, -9, -9, -9, -9, -9], [-9, -9, -9, -9, 9, 9, -9, -9]])
        assert result.segmentation.tolist() == [[1, 1, 1, 0, 2, 2, 0, 0]]
        assert [s.bbox for s in result.segments] == [(0, 0, 3, 1), (4, 0, 2, 1)]

    def test_stuff_joins_the_first_piece_and_later_ids_do_not_skip(self):
        result = self.merge(
            [1, 0, 1, 0],
            [
                [9, 9, -9, -9, -9, -9, -9, -9],
                [-9, -9, 9, -9, -9, -9, -9, -9],
                [-9, -9, -9, -9, 9, 9, 9, -9],
                [-9, -9, -9, -9, -9, -9, -9, 9],
            ],
        )
        assert result.segmentation.tolist() == [[1, 1, 2, 0, 1, 1, 1, 3]]
        assert [(s.id, s.class_index, s.area, s.bbox) for s in result.segments] == [
            (1, 1, 5, (0, 0, 7, 1)),
            (2, 0, 1, (2, 0, 1, 1)),
            (3, 0, 1, (7, 0, 1, 1)),
        ]

    def test_the_first_query_wins_a_tie(self):
        result = self.merge([0, 0], [[200.0] * 8, [200.0] * 8])
        assert result.segmentation.unique().tolist() == [1]
        assert len(result.segments) == 1

    def test_a_pixel_won_below_one_half_is_void(self):
        result = self.merge([0], [[9, 9, -1, -1, 9, 9, 9, 9]])
        assert result.segmentation.tolist() == [[1, 1, 0, 0, 1, 1, 1, 1]]
        assert result.segments[0].area == 6

    def test_one_half_belongs_to_the_mask(self):
        assert self.merge([0], [[0.0] * 8]).segments[0].area == 8

    @pytest.mark.parametrize(("overlap", "kept"), [(0.5, 2), (0.51, 1)])
    def test_a_mostly_hidden_segment_is_dropped(self, overlap, kept):
        rows = [[20, 20, 20, 20, -20, -20, -20, -20], [-20, -20, 9, 9, 9, 9, -20, -20]]
        result = self.merge([0, 0], rows, overlap=overlap)
        assert len(result.segments) == kept
        assert (result.segmentation == 2).sum() == (2 if kept == 2 else 0)

    def test_pixels_that_it_wins_below_one_half_count_as_won(self):
        # Wins 6 pixels and covers 4, so 6 / 4 passes any overlap threshold up to 1.
        result = self.merge([0], [[9, 9, 9, 9, -1, -1, -9, -9]], overlap=1.0)
        assert result.segments[0].area == 4

    def test_no_object_and_low_scores_take_no_part(self):
        rows = [[20.0] * 8, [9, 9, -9, -9, -9, -9, -9, -9]]
        assert self.merge([2, 0], rows).segments[0].area == 2
        assert self.merge([0, 0], rows, object_mask=0.99995).segments == []

    def test_a_score_equal_to_the_threshold_is_not_above_it(self):
        assert kept_queries(np.float32([0.5, 0.5, 0.75]), np.array([0, 3, 1]), 3, 0.5).tolist() == [2]


def test_nothing_detected_is_void_on_the_device_of_the_logits():
    result = panoptic(logits_of([2, 2], 2), torch.ones(2, 4, 4), same_size(16, 16), [True, False], Thresholds(0.5, 0.8))
    assert result.segmentation.dtype == torch.int32
    assert result.segmentation.shape == (16, 16)
    assert not result.segmentation.any()
    assert result.segments == []


def test_no_query_at_all():
    arguments = (same_size(8, 8), [True, False], Thresholds(0.0, 0.0))
    assert panoptic(torch.zeros(0, 3), torch.zeros(0, 2, 2), *arguments).segments == []
    assert panoptic_numpy(np.zeros((0, 3)), np.zeros((0, 2, 2)), *arguments).segments == []


@pytest.mark.parametrize("output", [(1, 1), (1, 50), (3, 1)])
def test_one_pixel_images(output):
    sizes = Sizes((32, 32), (1, 1), output)
    result = panoptic(logits_of([0], 1), torch.full((1, 8, 8), 3.0), sizes, [True], Thresholds(0.5, 0.8))
    assert result.segmentation.shape == output
    assert result.segments[0].bbox == (0, 0, output[1], output[0])


def test_half_precision_and_a_tensor_of_things(official_case):
    case = official_case("coco", 1)
    things = torch.tensor(case.is_thing)
    result = panoptic(case.class_logits.half(), case.mask_logits.half(), case.sizes, things, Thresholds(0.7, 0.8))
    assert [(s.id, s.class_index) for s in result.segments] == case.segments
    assert (result.segmentation.numpy() != case.segmentation).mean() < 0.01


def test_the_arguments_are_left_as_they_were(official_case, in_strips):
    case = official_case("ade20k", 0)
    before = case.class_logits.clone(), case.mask_logits.clone()
    panoptic(*case.arguments)
    panoptic_numpy(*case.numpy_arguments)
    assert torch.equal(case.class_logits, before[0])
    assert torch.equal(case.mask_logits, before[1])


@pytest.mark.parametrize(
    ("padded", "image"), [((0, 5), (0, 5)), ((32, 32), (33, 32)), ((32, 32), (32, 33)), ((32, 32), (-1, 3))]
)
def test_impossible_sizes(padded, image):
    with pytest.raises(ValueError, match=r"pixel|larger"):
        Sizes(padded, image, (8, 8))


def test_the_numpy_merge_never_loads_torch():
    program = """
import sys
sys.modules["torch"] = sys.modules["jaxtyping"] = None
import numpy as np
from yoso.postprocess import Sizes, panoptic_numpy
from yoso.settings import Thresholds
sizes = Sizes((8, 8), (6, 8), (12, 16))
result = panoptic_numpy(np.float32([[9, 0]]), np.ones((1, 2, 2), np.float32), sizes, [True], Thresholds(0.5, 0.5))
assert result.segments[0].area == 12 * 16
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error():
    import yoso.postprocess

    with pytest.raises(AttributeError, match="no attribute 'panoptics'"):
        yoso.postprocess.panoptics  # noqa: B018


@st.composite
def scenes(draw):
    """Logits that are multiples of 1/4 and sizes in powers of two, so that bilinear resizing is exact in float32."""
    num_queries, num_classes = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**31 - 1))
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(-24, 25, (num_queries, height, width), generator=generator) / 4
    classes = 2 * torch.randn(num_queries, num_classes + 1, generator=generator)
    padded = (4 * height, 4 * width)
    image = (4 * height - draw(st.integers(0, 3)), 4 * width - draw(st.integers(0, 3)))
    scale = draw(st.sampled_from([1, 2, 4]))
    sizes = Sizes(padded, image, (image[0] * scale, image[1] * scale))
    is_thing = draw(st.lists(st.booleans(), min_size=num_classes, max_size=num_classes))
    thresholds = Thresholds(draw(st.sampled_from([0.0, 0.2, 0.4])), draw(st.sampled_from([0.0, 0.3, 0.8])))
    return classes, masks, sizes, is_thing, thresholds


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_the_result_is_consistent(scene):
    result = panoptic(*scene)
    ids = [s.id for s in result.segments]
    assert ids == list(range(1, len(ids) + 1))
    segmentation = result.segmentation
    assert set(segmentation.unique().tolist()) - {0} == set(ids)
    for segment in result.segments:
        pixels = (segmentation == segment.id).nonzero()
        assert segment.area == len(pixels)
        (top, left), (bottom, right) = pixels.amin(0).tolist(), pixels.amax(0).tolist()
        assert segment.bbox == (left, top, right - left + 1, bottom - top + 1)
        assert scene[4].object_mask < segment.score <= 1
    stuff = [s.class_index for s in result.segments if not scene[3][s.class_index]]
    assert len(stuff) == len(set(stuff))


@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(1, 4000))
def test_strips_equal_the_whole(scene, strip_bytes):
    whole = panoptic(*scene)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upsampling, "WHOLE_BYTES", {"cpu": 0})
        patch.setattr(upsampling, "STRIP_BYTES", {"cpu": strip_bytes})
        strips = panoptic(*scene)
    assert torch.equal(strips.segmentation, whole.segmentation)
    assert strips.segments == whole.segments


@settings(max_examples=40, deadline=None)
@given(scenes())
def test_dropped_queries_change_nothing_wherever_they_stand(scene):
    classes, masks, *rest = scene
    nothing = torch.zeros(1, classes.shape[1])
    nothing[0, -1] = 30
    expected = panoptic(classes, masks, *rest)
    order = torch.randperm(len(classes) + 2, generator=torch.Generator().manual_seed(len(classes)))
    real = order[order < len(classes)].sort().values
    place = torch.empty(len(order), dtype=torch.long)
    place[order < len(classes)] = real
    place[order >= len(classes)] = len(classes)
    more_masks = torch.cat([masks, torch.full_like(masks[:1], 50)])
    result = panoptic(torch.cat([classes, nothing])[place], more_masks[place], *rest)
    assert torch.equal(result.segmentation, expected.segmentation)
    assert [(s.id, s.class_index, s.area, s.bbox) for s in result.segments] == [
        (s.id, s.class_index, s.area, s.bbox) for s in expected.segments
    ]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_merge_follows_the_rule_written_plainly(data):
    counts = data.draw(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=1, max_size=8))
    classes = data.draw(st.lists(st.integers(0, 2), min_size=len(counts), max_size=len(counts)))
    is_thing = [True, False, False]
    table = np.array(counts)
    segment_ids, segments = merge_segments(
        classes,
        [1.0] * len(counts),
        PixelCounts(table[:, 0], table[:, 1], table[:, 2], np.zeros((len(counts), 4), int)),
        is_thing,
        0.5,
    )
    expected, seen, last = [], {}, 0
    for (won, covered, owned), name in zip(counts, classes, strict=True):
        if won == 0 or covered == 0 or owned == 0 or won / covered < 0.5:
            expected.append(0)
        elif name != 0 and name in seen:
            expected.append(seen[name])
        else:
            last += 1
            seen[name] = last
            expected.append(last)
    assert segment_ids.tolist() == expected
    assert [s.id for s in segments] == list(range(1, last + 1))
    assert sum(s.area for s in segments) == sum(c[2] for c, o in zip(counts, expected, strict=True) if o)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", ["class", "mask"])
def test_logits_that_are_not_finite_are_an_error(kind, value):
    class_logits, mask_logits = torch.tensor([[5.0, 0.0], [4.0, 0.0]]), torch.ones(2, 4, 4)
    if kind == "class":
        class_logits[1, 0] = value
    else:
        mask_logits[1, 2, 2] = value
    sizes, things, thresholds = Sizes((16, 16), (16, 16), (16, 16)), (True,), Thresholds(0.1, 0.1)
    if kind == "class" and value < 0:  # a class that is impossible
        assert len(panoptic(class_logits, mask_logits, sizes, things, thresholds).segments) == 1
        return
    with pytest.raises(NonFiniteError, match=f"the network's {kind} logits are not finite"):
        panoptic(class_logits, mask_logits, sizes, things, thresholds)
    with pytest.raises(NonFiniteError, match=f"the network's {kind} logits are not finite"):
        panoptic_numpy(class_logits.numpy(), mask_logits.numpy(), sizes, things, thresholds)
    packed = device_merge.packed_merge(class_logits, mask_logits, sizes, torch.tensor(things), thresholds)
    with pytest.raises(NonFiniteError, match="logits are not finite"):
        device_merge.unpack(packed.numpy(), sizes, things, thresholds.overlap)
