import numpy as np
import pytest
import torch
import torch.nn.functional as F

from yoso.postprocess import Sizes, instances, semantic, upsampling

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


def enlarged(masks):
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
    large = enlarged(masks)
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
    for weights, mask in zip(classes.softmax(-1)[:, :-1], enlarged(masks).sigmoid(), strict=True):
        expected += weights[:, None, None] * mask
    torch.testing.assert_close(semantic(classes, masks, SIZES), expected, atol=1e-5, rtol=1e-5)
