"""The backbone that comes with the package: small, licensed, complete, and the start of the recipe for small data."""

import hashlib

import pytest
from safetensors import safe_open

from small_networks import small_config
from yoso.categories import Categories, Category
from yoso.errors import CheckpointError
from yoso.model.yoso import YOSO
from yoso.training.cli import parse
from yoso.training.defaults import config_of_model
from yoso.training.run import build_network
from yoso.weights.layout import bundled_backbone, bundled_models
from yoso.weights.tensors import load_backbone, read_safetensors

LITE0 = "tf_efficientnet_lite0"


def test_the_bundled_backbone_is_small_named_and_licensed():
    path = bundled_backbone(LITE0)
    assert path.stat().st_size <= 7_000_000
    with safe_open(path, "pt") as file:
        assert "Apache-2.0" in file.metadata()["source"]
    assert "Apache License" in (path.parent / "LICENSE").read_text()
    card = (path.parent / "README.md").read_text()
    assert path.name in card
    assert "ML Illustrated" in card


@pytest.mark.data
def test_the_bundled_backbone_is_the_published_file(shared):
    source = shared / "weights" / f"{LITE0}_imagenet.safetensors"
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (bundled_backbone(LITE0), source)]
    assert digests[0] == digests[1]


def test_every_tensor_of_the_backbone_comes_from_the_file():
    network = YOSO(small_config(backbone=LITE0), 3)
    load_backbone(network, bundled_backbone(LITE0))
    given = read_safetensors(bundled_backbone(LITE0))
    state = {key: value for key, value in network.backbone.net.state_dict().items() if "num_batches" not in key}
    assert len(state) > 100
    assert all((value == given[key]).all() for key, value in state.items())


def test_another_backbone_is_refused_with_what_helps():
    with pytest.raises(CheckpointError) as error:
        bundled_backbone("resnet50")
    assert str(error.value) == (
        f"no weights of backbone resnet50 come with the package, only of {LITE0}; give --backbone_weights imagenet "
        "(downloads), a file, or none"
    )


def test_the_recipe_for_small_data_starts_with_it_and_with_the_network_of_a_start(monkeypatch):
    monkeypatch.setenv("YOSO_OFFLINE", "1")
    config, _ = parse(["small", "--data", "x"])
    assert (config.backbone_weights, config.model.backbone) == ("bundled", LITE0)
    assert config.model.pixel_mean == config.model.pixel_std == (127.5, 127.5, 127.5)
    network = build_network(config, Categories([Category(1, "cell", True, (1, 2, 3))]))
    stem = read_safetensors(bundled_backbone(LITE0))["conv_stem.weight"]
    assert (network.backbone.net.conv_stem.weight == stem).all()
    config, _ = parse(["small", "--data", "x", "--start", "facades-mnv2", "--model.num_queries", "50"])
    assert config.model.backbone == config_of_model("facades-mnv2").model.backbone
    assert config.model.num_queries == 50
    assert config.optimizer.lr == 0.001


def test_the_folder_of_backbones_is_no_model():
    assert "backbones" not in bundled_models()
