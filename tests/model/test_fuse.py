"""The deployment form is the network: every fold is exact algebra, and rounding is all that may differ."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from golden_figures import CONFIGS, GOLDEN, Figures, network_of
from small_networks import small_network
from yoso.model.aggregator import DeformableUpsample, positions
from yoso.model.batchnorm import fold_backbone, folded
from yoso.model.fuse import FusedUpsample, ParityUpsample, fuse, located_at
from yoso.model.yoso import YOSO
from yoso.postprocess import Sizes, panoptic
from yoso.settings import Thresholds

TOLERANCE = 1e-4
"""Of logits, relative to the largest absolute value of each tensor; what is measured is below 1e-5."""


def random_norms(module, seed=0):
    """Give every BatchNorm statistics and weights that a trained one could have."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low, high in (
                (part.running_mean, -0.5, 0.5),
                (part.running_var, 0.3, 2.0),
                (part.weight, 0.5, 1.5),
                (part.bias, -0.5, 0.5),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return module


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 255


def check(ours, expected, tolerance=TOLERANCE):
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape
        assert ((a - b).abs().max() / b.abs().max()).item() <= tolerance


@pytest.mark.parametrize("attention", ["sdca", "dca", "ddca", "pdca", "mhca"])
@pytest.mark.parametrize("aggregation", ["cfa", "ifa"])
def test_logits_are_the_network_s(attention, aggregation):
    network = random_norms(small_network(attention=attention, aggregation=aggregation, temperature=0.3)).eval()
    fused = fuse(network)
    with torch.no_grad():
        for size in ((64, 96), (50, 33)):
            check(fused(images(2, 3, *size)), network(images(2, 3, *size)))
        batch = [images(3, 40, 64), images(3, 64, 30)]
        check(fused(batch), network(batch))


@pytest.mark.parametrize(
    "change",
    [{"num_stages": 1}, {"num_stages": 3}, {"branch_depth": 3}, {"kernel_size": 5}, {"position_frequencies": 4}],
)
def test_other_configurations(change):
    network = random_norms(small_network(**change)).eval()
    with torch.no_grad():
        check(fuse(network)(images(1, 3, 64, 64)), network(images(1, 3, 64, 64)))


@pytest.mark.parametrize("name", CONFIGS)
def test_official_networks(name):
    network = network_of(name)
    fused = fuse(network)
    official = Figures.read(GOLDEN / "forward_coco_c.npz").images
    with torch.no_grad():
        ours, expected = fused(official), network(official)
    check(ours, expected)
    sizes = [Sizes((64, 96), (int(image.shape[1]), int(image.shape[2])), (75, 144)) for image in official]
    for index, size in enumerate(sizes):
        results = [
            panoptic(
                out.class_logits[index],
                out.mask_logits[index],
                size,
                [True] * network.num_classes,
                Thresholds(0.3, 0.1),
            )
            for out in (ours, expected)
        ]
        differing = (results[0].segmentation != results[1].segmentation).sum().item()
        assert differing <= 2, "exact ties aside, the segments are the same"


@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        "mobilenetv2_100",
        "mobilenetv3_small_100",
        "efficientnet_b0",
        "regnety_002",
        "convnext_atto",
        "hgnetv2_b0",
    ],
)
def test_backbones_of_many_kinds(backbone):
    network = random_norms(small_network(backbone=backbone)).eval()
    fused = fuse(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.no_grad():
        check(fused(images(1, 3, 64, 96)), network(images(1, 3, 64, 96)))


def test_same_padding_is_written_out():
    network = random_norms(small_network(backbone="mobilenetv2_100", backbone_options={"pad_type": "same"})).eval()
    fused = fuse(network)
    assert not any(type(module).__name__ == "Conv2dSame" for module in fused.modules())
    with torch.no_grad():
        check(fused(images(1, 3, 64, 96)), network(images(1, 3, 64, 96)))


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else self.conv(x)


class Shared(nn.Module):
    """The convolution's output has two readers, so the norm may not go into it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        plain = self.conv(x)
        return self.norm(plain) + plain


class Twice(nn.Module):
    """The convolution runs twice, once without the norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.norm(self.conv(x)))


@pytest.mark.parametrize("kind", [Untraceable, Shared, Twice])
def test_what_cannot_be_folded_stays(kind):
    net = random_norms(kind()).eval()
    x = images(1, 3, 4, 4)
    with torch.no_grad():
        expected = net(x)
        folded_net = fold_backbone(net)
        assert any(isinstance(module, nn.BatchNorm2d) for module in folded_net.modules())
        assert torch.equal(folded_net(x), expected)


def test_a_convolution_and_its_norm():
    conv, norm = nn.Conv2d(3, 5, 3), random_norms(nn.Sequential(nn.BatchNorm2d(5)))[0].eval()
    weight, bias = folded(conv.weight, conv.bias, norm)
    x = images(1, 3, 6, 7)
    check([nn.functional.conv2d(x, weight, bias)], [norm(conv(x))], 1e-6)


def test_four_convolutions_are_the_transposed_one():
    up = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1)
    for size in ((1, 1), (2, 3), (5, 4)):
        x = torch.randn(2, 6, *size)
        check([ParityUpsample(up.weight, up.bias)(x)], [up(x).relu()], 1e-5)


def test_a_step_of_the_pyramid():
    step = random_norms(DeformableUpsample(6, 4)).eval()
    nn.init.normal_(step.conv.weight)
    nn.init.normal_(step.conv.offset.weight, std=0.1)
    x = torch.randn(2, 6, 5, 7)
    with torch.no_grad():
        expected = step(x)  # first, because the fused step takes over its modules
        check([FusedUpsample(step)(x)], [expected], 1e-5)


@pytest.mark.parametrize(("frequencies", "tolerance"), [(0, 2e-7), (5, 1e-5)])
def test_positions_by_formula(frequencies, tolerance):
    """The waves' tolerance: the fastest turns an error of 2e-7 in x into one of 2e-7 x 16 pi."""
    like = torch.zeros(2, 1, 8, 24)
    located = located_at(like, frequencies)
    assert (located[:, :-1] - positions(like, frequencies)).abs().max() <= tolerance
    assert (located[:, -1] == 1).all()


def test_the_network_itself_is_left_alone():
    network = random_norms(small_network()).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fused = fuse(network.train())
    assert network.training
    assert not fused.training
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    shared = {tensor.data_ptr() for tensor in network.parameters()} & {t.data_ptr() for t in fused.parameters()}
    assert not shared
    assert not any(parameter.requires_grad for parameter in fused.parameters())


def test_intermediate_stages_are_refused():
    fused = fuse(small_network())
    with pytest.raises(ValueError, match="no intermediate stages"):
        fused.stages(images(1, 3, 32, 32))


def test_it_has_less_to_do():
    network = small_network(backbone="resnet18").eval()
    count = sum(parameter.numel() for parameter in fuse(network).parameters())
    assert count < sum(parameter.numel() for parameter in network.parameters())


def drawn_scene(seed):
    """An image (120, 160, 3) of rectangles in front of a sky."""
    random = np.random.default_rng(seed)
    pixels = np.full((120, 160, 3), (150, 180, 220), np.uint8)
    for _ in range(20):
        top, left = int(random.integers(20, 110)), int(random.integers(0, 150))
        pixels[top : top + int(random.integers(8, 60)), left : left + int(random.integers(8, 60))] = random.integers(
            0, 256, 3
        )
    return (pixels + random.integers(-8, 9, pixels.shape)).clip(0, 255).astype(np.uint8)


def facade_images(shared):
    from yoso.files import read_image

    return [read_image(path) for path in sorted((shared / "data" / "facades" / "val").glob("*.jpg"))[::30]]


@pytest.mark.parametrize("where", ["drawn", pytest.param("facades", marks=pytest.mark.data)])
def test_the_trained_network_in_double_precision(where, request):
    """Without float32's rounding no pixel is so close to the edge of a hard mask that it may fall on either side."""
    from yoso.preprocess import resize, resized_size
    from yoso.weights.load import load_model

    model = load_model("facades-mnv2")
    network = model.network.double()
    fused = fuse(network)
    drawn = where == "drawn"
    scenes = [drawn_scene(seed) for seed in range(2)] if drawn else facade_images(request.getfixturevalue("shared"))
    assert len(scenes) == 2
    for pixels in scenes:
        size = pixels.shape[:2] if drawn else resized_size(pixels.shape[:2], model.inference.input_size)
        image = torch.from_numpy(np.array(resize(pixels, size))).permute(2, 0, 1)
        with torch.inference_mode():
            ours, expected = fused([image]), network([image])
        assert ours.mask_logits.dtype == torch.float64
        check(ours, expected, 1e-9)
        sizes = Sizes(tuple(-(-side // 32) * 32 for side in size), size, pixels.shape[:2])
        thresholds = model.inference.thresholds
        results = [
            panoptic(out.class_logits[0], out.mask_logits[0], sizes, model.categories.is_thing, thresholds)
            for out in (ours, expected)
        ]
        assert results[1].segments
        assert [s.class_index for s in results[0].segments] == [s.class_index for s in results[1].segments]
        differing = results[0].segmentation != results[1].segmentation
        assert tied(expected, sizes, thresholds.object_mask, 1e-4)[differing].all()


@pytest.mark.data
@pytest.mark.slow
def test_the_same_segments_on_every_image_of_facades(shared):
    """Id maps are equal except at pixels where two scores, or a mask and 0.5, tie within 1e-4; logits within 1e-5.

    At most one image in ten may differ: if the logit of a pixel is zero up to rounding, the hard mask of a stage may
    include it on one side only, and the summed features differ. In float64 these images are equal too.
    """
    from yoso.files import read_image
    from yoso.preprocess import resize, resized_size
    from yoso.weights.load import load_model

    model = load_model("facades-mnv2")
    fused = fuse(model.network)
    exact = copy.deepcopy(model.network).double()
    fused_exact = fuse(exact)
    paths = sorted((shared / "data" / "facades" / "val").glob("*.jpg"))
    assert len(paths) == 60
    flipped = []
    for path in paths:
        pixels = read_image(path)
        small = resize(pixels, resized_size(pixels.shape[:2], model.inference.input_size))
        image = torch.from_numpy(np.array(small)).permute(2, 0, 1)
        sizes = Sizes(tuple(-(-side // 32) * 32 for side in small.shape[:2]), small.shape[:2], pixels.shape[:2])
        with torch.inference_mode():
            ours, expected = fused([image]), model.network([image])
        if max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, expected, strict=True)) > 1e-5:
            flipped.append(path.name)
            with torch.inference_mode():
                check(fused_exact([image]), exact([image]), 1e-9)
            continue
        thresholds = model.inference.thresholds
        results = [
            panoptic(out.class_logits[0], out.mask_logits[0], sizes, model.categories.is_thing, thresholds)
            for out in (ours, expected)
        ]
        assert [s.class_index for s in results[0].segments] == [s.class_index for s in results[1].segments], path
        differing = results[0].segmentation != results[1].segmentation
        assert tied(expected, sizes, thresholds.object_mask, 1e-4)[differing].all(), path
    assert len(flipped) <= 6, flipped


def tied(outputs, sizes, threshold, margin):
    """Return where the two best scores, or the winner's mask and 0.5, are closer than a margin."""
    from yoso.postprocess.upsampling import upsampled_strips

    probabilities, labels = outputs.class_logits[0].softmax(-1).max(-1)
    kept = torch.nonzero((labels != outputs.class_logits.shape[2] - 1) & (probabilities > threshold))[:, 0]
    ties = torch.zeros(sizes.output, dtype=torch.bool)
    for rows, masks in upsampled_strips(outputs.mask_logits[0], kept, sizes):
        masks = masks.sigmoid()
        best = (masks * probabilities[kept, None, None]).topk(min(2, len(kept)), dim=0)
        inside = masks.gather(0, best.indices[:1])[0]
        gap = best.values[0] - best.values[-1] if len(kept) > 1 else torch.ones_like(inside)
        ties[rows] = (gap < margin) | ((inside - 0.5).abs() < margin)
    return ties


def test_fused_is_a_yoso():
    assert isinstance(fuse(small_network()), YOSO)
