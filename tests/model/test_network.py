"""The whole network: shapes, gradients, and images that do not depend on their neighbours."""

import pytest
import torch

from small_networks import small_network
from yoso.model.decoder import masks_from_kernels, pooled_features
from yoso.model.yoso import padded_size
from yoso.structures import Outputs

VARIANTS = [
    *({"num_attention_blocks": blocks, "attention": kind} for blocks in (1, 2, 3, 4) for kind in ("sdca", "mhca")),
    *({"attention": kind} for kind in ("dca", "ddca", "pdca")),
    *({"num_stages": stages} for stages in (1, 3)),
    # Not a single query: the LayerNorm behind SDCA cancels the one number that mixes it, whose gradient is rounding.
    *({"num_queries": queries} for queries in (2, 12)),
    *({"kernel_size": size, "attention": kind} for size in (1, 2, 5) for kind in ("sdca", "dca", "ddca")),
    {"branch_depth": 3},
    {"aggregation": "ifa"},
    {"pyramid_channels": (8, 8, 8, 8)},
    {"temperature": 0.5},
]


def identifier(changes):
    return "-".join(str(value) for value in changes.values())


@pytest.mark.parametrize("changes", VARIANTS, ids=identifier)
def test_every_trainable_parameter_receives_a_finite_gradient(changes):
    network = small_network(**changes).train()
    config = network.config
    for parameter in network.backbone.parameters():
        if not parameter.count_nonzero():  # timm starts residual branches at zero, which lets no gradient through
            torch.nn.init.normal_(parameter)
    images = torch.randint(0, 256, (2, 3, 64, 96))
    stages = network.stages(images)
    masks = (2, config.num_queries, 16, 24)
    assert [tuple(stage.mask_logits.shape) for stage in stages] == [masks] * (config.num_stages + 1)
    assert stages[0].class_logits is None
    assert all(tuple(stage.class_logits.shape) == (2, config.num_queries, 6) for stage in stages[1:])
    # A plain sum would cancel behind a LayerNorm, whose outputs always have the same sum.
    outputs = [tensor for stage in stages for tensor in stage if tensor is not None]
    torch.manual_seed(1)
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad, key
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.count_nonzero(), key


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_network_returns_the_last_stage(stages):
    """In float64: `stages` multiplies in another order, and a mask on the other side of zero is no rounding."""
    network = small_network(num_stages=stages).double().eval()
    images = torch.randint(0, 256, (1, 3, 64, 64))
    with torch.no_grad():
        outputs, every = network(images), network.stages(images)
    assert isinstance(outputs, Outputs)
    assert len(every) == stages + 1
    torch.testing.assert_close(tuple(outputs), (every[-1].class_logits, every[-1].mask_logits))


def test_class_logits_are_divided_by_the_temperature():
    cold, warm = small_network(temperature=0.05).eval(), small_network(temperature=0.5).eval()
    images = torch.randint(0, 256, (1, 3, 64, 64))
    with torch.no_grad():
        torch.testing.assert_close(cold(images).class_logits, 10 * warm(images).class_logits)


@pytest.fixture(scope="module")
def exact():
    """A network in float64, where rounding cannot tip a hard mask."""
    return small_network(num_queries=9).double().eval()


def close(ours, others):
    for a, b in zip(ours, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def random_images(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def test_an_image_says_the_same_alone_and_in_a_batch(exact):
    images = random_images((64, 96), (50, 96), (64, 70), (33, 65))
    with torch.no_grad():
        together = exact(images)
        for index, image in enumerate(images):
            close((output[index : index + 1] for output in together), exact([image]))


def test_a_batch_and_a_list_of_equal_images_are_the_same(exact):
    images = random_images((50, 70), (50, 70))
    with torch.no_grad():
        close(exact(torch.stack(images)), exact(images))


def test_order_in_the_batch_does_not_matter(exact):
    images = random_images((64, 64), (40, 60), (64, 33))
    with torch.no_grad():
        close((output.flip(0) for output in exact(images)), exact(images[::-1]))


@pytest.mark.parametrize("as_list", [True, False])
def test_padding_comes_after_normalising(as_list):
    """Padding is exact zeros, which is the mean colour, not black; the image stays at the top left."""
    network = small_network(pixel_mean=(10.0, 20.0, 30.0), pixel_std=(2.0, 4.0, 5.0))
    (image,) = random_images((40, 70))
    prepared = network.prepare([image] if as_list else image[None])
    assert prepared.shape == (1, 3, 64, 96)
    assert prepared.dtype == torch.float32
    mean, std = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([2.0, 4.0, 5.0])
    torch.testing.assert_close(prepared[0, :, :40, :70], (image - mean[:, None, None]) / std[:, None, None])
    assert prepared[0, :, 40:].count_nonzero() == 0
    assert prepared[0, :, :, 70:].count_nonzero() == 0


@pytest.mark.parametrize(
    ("sizes", "padded"),
    [([(32, 64)], (32, 64)), ([(33, 64)], (64, 64)), ([(1, 1)], (32, 32)), ([(50, 96), (64, 80)], (64, 96))],
)
def test_padded_size(sizes, padded):
    assert padded_size(sizes) == padded


def test_pooling_sums_the_features_under_each_hard_mask():
    features = torch.arange(24.0).reshape(1, 2, 3, 4)
    logits = torch.full((1, 2, 3, 4), -1.0)
    logits[0, 0, 1, 2] = logits[0, 0, 2, 3] = 5.0
    logits[0, 1, 0, 0] = 0.0  # sigmoid(0) is not above one half
    assert pooled_features(logits, features).tolist() == [[[6.0 + 11, 18.0 + 23], [0.0, 0.0]]]


def test_pooling_lets_no_gradient_through_the_masks():
    features, logits = torch.randn(1, 2, 3, 4, requires_grad=True), torch.randn(1, 5, 3, 4, requires_grad=True)
    pooled_features(logits, features).sum().backward()
    assert logits.grad is None
    assert features.grad is not None


def test_masks_are_a_1x1_convolution_with_each_image_s_own_kernels():
    kernels, features = torch.randn(2, 5, 4), torch.randn(2, 4, 3, 6)
    expected = [
        torch.nn.functional.conv2d(feature, kernel[..., None, None])
        for kernel, feature in zip(kernels, features, strict=True)
    ]
    torch.testing.assert_close(masks_from_kernels(kernels, features), torch.stack(expected))


def test_stage_0_is_the_proposal_convolution_and_its_bias_stays_out_of_the_kernels():
    network = small_network().double().eval()
    features = torch.randn(1, 32, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        before = network.decoder(features, all_stages=True)
        # So small that no pixel crosses zero: then the later stages cannot notice.
        network.decoder.proposals.bias += 1e-9
        after = network.decoder(features, all_stages=True)
    torch.testing.assert_close(after[0].mask_logits - before[0].mask_logits, torch.full((1, 7, 8, 8), 1e-9).double())
    assert torch.equal(after[-1].mask_logits, before[-1].mask_logits)


def test_mixed_precision_stays_close():
    network = small_network().eval()
    images = torch.randint(0, 256, (1, 3, 64, 1024))
    with torch.no_grad():
        exact = network.features(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network.features(images).float()
    assert 0 < (rounded - exact).abs().mean() < 0.02 * exact.abs().mean()
