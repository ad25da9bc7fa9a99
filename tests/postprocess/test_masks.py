import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from yoso.postprocess import Sizes, instance_masks, instances, semantic, semantic_classes, upsampling

SIZES = Sizes((64, 96), (50, 90), (37, 67))


@pytest.fixture(params=["whole", "strips"])
def path(request, monkeypatch):
    size = 0 if request.param == "strips" else 2**30
    monkeypatch.setattr(upsampling, "WHOLE_BYTES", {"cpu": size})
    monkeypatch.setattr(upsampling, "STRIP_BYTES", {"cpu": 4 * 20 * 96 * 3})


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(7)
    return 3 * torch.randn(20, 6, generator=generator), 4 * torch.randn(20, 16, 24, generator=generator)


def upsampled(masks):
    masks = F.interpolate(masks[None], size=SIZES.padded, mode="bilinear")
    masks = masks[:, :, : SIZES.image[0], : SIZES.image[1]]
    return F.interpolate(masks, size=SIZES.output, mode="bilinear")[0]


@pytest.fixture
def network_outputs(shared):
    arrays = np.load(shared / "golden" / "forward_coco_a.npz")
    sizes = Sizes((64, 96), (64, 96), (64, 96))
    return arrays, (torch.from_numpy(arrays["cls_s2"][0]), torch.from_numpy(arrays["mask_s2"][0]), sizes)


@pytest.mark.data
def test_official_instances(network_outputs, path):
    arrays, arguments = network_outputs
    result = instances(*arguments)
    np.testing.assert_allclose(result.scores, arrays["instance_scores_sorted"], rtol=2e-5)
    np.testing.assert_array_equal(result.class_indices, arrays["instance_classes_sorted"])
    np.testing.assert_allclose(result.areas, arrays["instance_areas_sorted"], atol=1)


@pytest.mark.data
def test_official_semantic(network_outputs, path):
    arrays, arguments = network_outputs
    expected = arrays["semantic_0_stride4"]
    result = semantic(*arguments)[:, ::4, ::4]
    np.testing.assert_allclose(result, expected, atol=2e-5 * expected.max())


def test_instances_written_plainly(logits, path):
    classes, masks = logits
    result = instances(classes, masks, SIZES, top_k=30)
    assert result.scores.tolist() == sorted(result.scores.tolist(), reverse=True)
    probabilities = classes.softmax(-1)[:, :-1]
    wanted = sorted(((float(p), q, c) for (q, c), p in np.ndenumerate(probabilities.numpy())), reverse=True)
    large = upsampled(masks)
    plain = []
    for probability, query, class_index in wanted[:30]:
        inside = large[query] > 0
        mean = float(large[query].sigmoid()[inside].sum() / (inside.sum() + 1e-6))
        plain.append((probability * mean, class_index, int(inside.sum()), inside))
    plain.sort(key=lambda entry: -entry[0])
    np.testing.assert_allclose(result.scores, [entry[0] for entry in plain], rtol=1e-5)
    assert result.class_indices.tolist() == [entry[1] for entry in plain]
    np.testing.assert_allclose(result.areas, [entry[2] for entry in plain], atol=2)
    assert result.areas.tolist() == result.masks.flatten(1).sum(1).tolist()
    disagreeing = sum(int((m != e[3]).sum()) for m, e in zip(result.masks, plain, strict=True))
    assert disagreeing <= 2


def test_fewer_pairs_than_asked_for(logits):
    classes, masks = logits
    assert len(instances(classes, masks, SIZES, top_k=1000).scores) == 20 * 5


def test_an_empty_mask_scores_zero():
    result = instances(torch.tensor([[5.0, 0.0]]), torch.full((1, 4, 4), -3.0), SIZES)
    assert result.scores.tolist() == [0.0]
    assert result.areas.tolist() == [0]
    assert not result.masks.any()


def test_no_query():
    none = torch.zeros(0, 6), torch.zeros(0, 16, 24)
    assert instances(*none, SIZES).masks.shape == (0, *SIZES.output)
    assert semantic(*none, SIZES).shape == (5, *SIZES.output)
    assert not semantic(*none, SIZES).any()


def test_semantic_written_plainly(logits, path):
    classes, masks = logits
    expected = torch.zeros(5, *SIZES.output)
    for weights, mask in zip(classes.softmax(-1)[:, :-1], upsampled(masks).sigmoid(), strict=True):
        expected += weights[:, None, None] * mask
    torch.testing.assert_close(semantic(classes, masks, SIZES), expected, atol=1e-5, rtol=1e-5)


IS_THING = (True, False, True, True, False)


def test_one_mask_at_a_time_gives_the_same_things(logits, path):
    classes, masks = logits
    whole = instances(classes, masks, SIZES, top_k=30)
    expected = []
    for score, index, mask in zip(whole.scores, whole.class_indices, whole.masks, strict=True):
        if IS_THING[index]:
            expected.append((round(float(score), 5), int(index), int(mask.sum()), mask.numpy().tobytes()))
    found = []
    for instance in instance_masks(classes, masks, SIZES, IS_THING, top_k=30):
        assert instance.mask.shape == SIZES.output
        assert instance.area == instance.mask.sum() > 0
        for index, score in zip(instance.class_indices, instance.scores, strict=True):
            found.append((round(score, 5), index, instance.area, instance.mask.tobytes()))
    assert len(found) > 10
    # Masks that are upsampled alone are cut into other strips, so a pixel whose logit rounds to 0 may change.
    assert [entry[:2] for entry in sorted(found)] == [entry[:2] for entry in sorted(expected)]
    assert sum(one != other for one, other in zip(sorted(found), sorted(expected), strict=True)) <= 2


def test_instances_of_one_query_share_its_mask():
    classes, masks = torch.tensor([[5.0, 4.9, -9.0]]), torch.full((1, 4, 4), 2.0)
    (found,) = instance_masks(classes, masks, Sizes((16, 16), (16, 16), (16, 16)), (True, True))
    assert found.class_indices == [0, 1]
    assert found.scores[0] > found.scores[1] > 0.4
    assert found.area == 256


def test_stuff_and_empty_masks_are_left_out():
    classes = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    sizes = Sizes((8, 8), (8, 8), (8, 8))
    masks = torch.stack([torch.full((2, 2), 3.0), torch.full((2, 2), -3.0)])
    assert [m.class_indices for m in instance_masks(classes, masks, sizes, (True, False), top_k=2)] == [[0]]
    assert list(instance_masks(classes, masks, sizes, (False, True), top_k=2)) == []
    assert list(instance_masks(classes[:0], masks[:0], sizes, (True, True))) == []


def test_the_class_map_is_the_argmax_of_the_scores(logits, path):
    classes, masks = logits
    result = semantic_classes(classes, masks, SIZES)
    assert result.dtype == torch.int32
    torch.testing.assert_close(result.long(), semantic(classes, masks, SIZES).argmax(0))
    assert len(result.unique()) >= 3
    assert not semantic_classes(classes[:0], masks[:0], SIZES).any()


CITYSCAPE = """
import resource, torch
from yoso.postprocess import Sizes, instance_masks, semantic_classes
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
classes, masks = torch.randn(100, 20, generator=generator), torch.randn(100, 256, 512, generator=generator)
small, large = Sizes((64, 64), (64, 64), (64, 64)), Sizes(*[(1024, 2048)] * 3)
semantic_classes(classes, masks, small), list(instance_masks(classes, masks, small, [True] * 19, 1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert semantic_classes(classes, masks, large).shape == (1024, 2048)
assert sum(1 for _ in instance_masks(classes, masks, large, [True] * 19, 10)) > 5
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_100_queries_at_1024_x_2048_take_little_memory():
    """All their masks at once would be 800 MB as floats, 200 MB as truth values."""
    done = subprocess.run([sys.executable, "-c", CITYSCAPE], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 100
