"""Any timm model with four levels is a backbone; what is not one is refused in a sentence."""

import pytest
import torch

from small_networks import small_config, small_network
from yoso.errors import ConfigError
from yoso.model.backbone import Backbone
from yoso.model.yoso import YOSO

# The last one hands out its maps with the channels last.
FAMILIES = {
    "mobilenetv2_100": {},
    "regnetx_002": {},
    "convnext_atto": {},
    "test_efficientnet": {},
    "swin_tiny_patch4_window7_224": {"strict_img_size": False, "depths": (1, 1, 1, 1), "embed_dim": 24},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_other_backbones_build_run_and_learn(name):
    network = small_network(backbone=name, backbone_options=FAMILIES[name])
    images = torch.randint(0, 256, (2, 3, 64, 96))
    stages = network.stages(images)
    assert [tuple(stage.mask_logits.shape) for stage in stages] == [(2, 7, 16, 24)] * 3
    sum(stage.mask_logits.sum() for stage in stages).backward()
    for key, parameter in network.backbone.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", [*FAMILIES, "resnet50"])
def test_channels_are_those_of_the_maps(name):
    backbone = Backbone(name, **FAMILIES.get(name, {})).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape) for level in maps] == [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]


def test_a_plain_transformer_is_refused():
    with pytest.raises(ConfigError, match=r"'test_vit' gives features at strides \(16, 16, 16, 16\)"):
        Backbone("test_vit")


@pytest.mark.parametrize(("typed", "meant"), [("resnet500", "resnet50"), ("mobilnetv2_100", "mobilenetv2_100")])
def test_an_unknown_backbone_gets_a_suggestion(typed, meant):
    with pytest.raises(ConfigError) as caught:
        YOSO(small_config(backbone=typed), 5)
    assert str(caught.value) == f"timm has no backbone {typed!r}. Did you mean {meant!r}?"


def test_an_option_that_the_backbone_does_not_have():
    with pytest.raises(ConfigError, match="'nonsense'"):
        Backbone("mobilenetv2_100", nonsense=1)


def test_a_backbone_option_reaches_timm():
    with pytest.raises(ConfigError, match=r"strides \(4, 8, 16, 16\)"):
        Backbone("mobilenetv2_100", output_stride=16)


def batch_norms(backbone):
    return {name: module for name, module in backbone.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}


def test_frozen_batch_norm_stays_put_in_training():
    network = small_network(backbone_norm="frozen").train()
    norms = batch_norms(network.backbone)
    assert norms
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    stages = network.stages(torch.randint(0, 256, (2, 3, 64, 64)))
    sum(output.square().sum() for stage in stages for output in stage if output is not None).backward()
    for name, norm in norms.items():
        assert not norm.training
        assert norm.weight.grad is None
        assert norm.bias.grad is None
        assert torch.equal(norm.running_mean, before[name])
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), key
    # The pyramid's own norms learn: they have no pretrained statistics to keep.
    assert all(norm.training for norm in batch_norms(network.aggregator).values())
    assert network.train(False).training is False


def test_trainable_batch_norm_learns():
    network = small_network(backbone_norm="trainable").train()
    norms = batch_norms(network.backbone)
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    network.stages(torch.randint(0, 256, (2, 3, 64, 64)))[-1].mask_logits.sum().backward()
    for name, norm in norms.items():
        assert norm.weight.grad is not None
        assert not torch.equal(norm.running_mean, before[name])
