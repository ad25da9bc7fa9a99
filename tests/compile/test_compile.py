"""torch.compile and strict torch.export take the whole network, and say what it says."""

import pytest
import torch

from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

TOLERANCE = 1e-5
"""Relative to the largest absolute value of each output."""


def network(backbone="test_resnet", **changes):
    torch.manual_seed(0)
    small = {"aggregation_channels": 16, "hidden_channels": 32, "feedforward_channels": 64, "num_heads": 4}
    return YOSO(ModelConfig(backbone=backbone, num_queries=9, **small, **changes), num_classes=5).eval()


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def images(batch, height=64, width=64):
    generator = torch.Generator().manual_seed(batch)
    return torch.rand(batch, 3, height, width, generator=generator) * 255


def check(ours, expected):
    assert type(ours) is type(expected)
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape
        assert ((a - b).abs().max() / b.abs().max()).item() <= TOLERANCE


def test_one_compiled_network_takes_several_sizes():
    plain = network()
    compiled = torch.compile(plain, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for size in ((64, 64), (50, 90)):
            check(compiled(images(2, *size)), plain(images(2, *size)))


def test_a_list_of_images_compiles_too():
    plain = network()
    batch = [images(1)[0], images(2, 40, 96)[1]]
    with torch.no_grad():
        check(torch.compile(plain, fullgraph=True, backend="eager")(batch), plain(batch))


@pytest.mark.parametrize("attention", ["sdca", "dca", "ddca", "pdca", "mhca"])
def test_every_attention_compiles(attention):
    plain = network(attention=attention, aggregation="ifa")
    with torch.no_grad():
        check(torch.compile(plain, fullgraph=True, backend="eager")(images(1)), plain(images(1)))


def test_strict_export_with_a_dynamic_batch():
    plain = network("mobilenetv2_100")
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(plain, (images(2),), dynamic_shapes=({0: batch},), strict=True)
        for count in (1, 2, 5):
            check(program.module()(images(count)), plain(images(count)))


def test_strict_export_of_one_image():
    plain = network()
    with torch.no_grad():
        check(torch.export.export(plain, (images(1),), strict=True).module()(images(1)), plain(images(1)))
