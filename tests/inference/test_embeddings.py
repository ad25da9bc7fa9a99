"""What a segment looks like to the network: the kernel of its query."""

import numpy as np
import pytest
import torch

from yoso.inference.predictor import Predictor
from yoso.inference.torch_engine import TorchEngine
from yoso.postprocess import Sizes, device_merge, panoptic, panoptic_numpy
from yoso.settings import Thresholds
from yoso.weights.load import load_model

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(TorchEngine(model, torch.device("cpu")), model.categories, model.inference)


def test_each_segment_has_the_kernel_of_its_query(model, predictor):
    assert predictor.has_embeddings
    infos = predictor(IMAGE, with_embeddings=True)["segments_info"]
    class_logits, mask_logits, sizes = predictor.outputs(IMAGE)
    segments = panoptic(
        class_logits, mask_logits, sizes, model.categories.is_thing, model.inference.thresholds
    ).segments
    network = predictor.network
    pixels = torch.from_numpy(IMAGE).permute(2, 0, 1)
    assert sizes.image == IMAGE.shape[:2], "the image is not resized, so that its tensor is that of the engine"
    with torch.no_grad():
        kernels = network.decoder(network.features([pixels]))[-1].kernels[0]
    assert infos
    for info, segment in zip(infos, segments, strict=True):
        assert info["embedding"].dtype == np.float32
        np.testing.assert_array_equal(info["embedding"], kernels[segment.query].numpy())


def test_the_deployment_form_has_the_same_embeddings(model, predictor):
    plain = Predictor(TorchEngine(model, torch.device("cpu"), fused=False), model.categories, model.inference)
    pairs = zip(*(one(IMAGE, with_embeddings=True)["segments_info"] for one in (plain, predictor)), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours["embedding"], theirs["embedding"], atol=1e-3)


def test_everything_else_is_the_same_without_them(predictor):
    plain, found = predictor(IMAGE), predictor(IMAGE, with_embeddings=True)
    np.testing.assert_array_equal(plain["segmentation"], found["segmentation"])
    for info in found["segments_info"]:
        del info["embedding"]
    assert plain["segments_info"] == found["segments_info"]


def test_an_image_without_segments_has_none(predictor):
    assert predictor(IMAGE, object_mask_threshold=1, with_embeddings=True)["segments_info"] == []


def test_every_merge_names_the_queries(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    class_logits = 3 * torch.randn(12, 4, generator=generator)
    mask_logits = torch.nn.functional.interpolate(4 * torch.randn(1, 12, 4, 6, generator=generator), scale_factor=4)[0]
    sizes, things, thresholds = Sizes((64, 96), (64, 96), (64, 96)), (True, False, False), Thresholds(0.3, 0.1)
    plain = panoptic(class_logits, mask_logits, sizes, things, thresholds)
    arrays = panoptic_numpy(class_logits.numpy(), mask_logits.numpy(), sizes, things, thresholds)
    monkeypatch.setattr(device_merge, "WAITED_FOR", ("cpu",))
    packed = device_merge.panoptic_arrays(class_logits, mask_logits, sizes, things, thresholds)
    queries = [segment.query for segment in plain.segments]
    assert len(set(queries)) == len(queries) > 1
    best = class_logits.argmax(1)
    assert [segment.class_index for segment in plain.segments] == best[queries].tolist()
    assert [segment.query for segment in arrays.segments] == [segment.query for segment in packed.segments] == queries
