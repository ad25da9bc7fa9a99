"""The pretrained weights of backbones: from the cache, or one line that says why not, without a network here."""

import time

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from small_networks import small_config
from yoso.errors import CheckpointError, ConfigError
from yoso.model.backbone import Backbone
from yoso.model.yoso import YOSO
from yoso.weights import pretrained
from yoso.weights.pretrained import pretrained_backbone

NAME = "test_resnet"
ADVICE = "--backbone_weights FILE, --backbone_weights none for random weights, or a model by --start"


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path):
    """Empty caches, and a network that fails the test if it is used."""
    monkeypatch.delenv("YOSO_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    for name in ("get_hf_file_metadata", "hf_hub_download", "download"):
        monkeypatch.setattr(pretrained, name, lambda *_, **__: pytest.fail("used the network"))
    return tmp_path


@pytest.fixture
def cached(caches):
    """Return the weights of a backbone, which are put into the hub's cache."""
    torch.manual_seed(1)
    state = timm.create_model(NAME, pretrained=False).state_dict()
    folder = caches / "hub" / f"models--timm--{NAME}.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(state, folder / "snapshots" / "abc" / "model.safetensors")
    return state


@pytest.mark.parametrize("offline", [False, True])
def test_cached_weights_need_no_network(cached, offline):
    network = YOSO(small_config(backbone=NAME), 3, pretrained_backbone=pretrained_backbone(NAME, offline))
    state = network.backbone.net.state_dict()
    assert len(state) > 20
    assert all(torch.equal(value, cached[name]) for name, value in state.items())


def test_weights_of_a_url_are_cached_where_torch_puts_them(caches, monkeypatch):
    config = timm.models.get_pretrained_cfg(NAME)
    monkeypatch.setattr(config, "hf_hub_id", None)
    monkeypatch.setattr(config, "url", "https://somewhere/weights-1.pth")
    monkeypatch.setattr(pretrained, "get_pretrained_cfg", lambda name: config)
    with pytest.raises(CheckpointError, match="are not in the cache, and offline nothing is downloaded"):
        pretrained_backbone(NAME, offline=True)
    file = caches / "torch" / "checkpoints" / "weights-1.pth"
    monkeypatch.setattr(pretrained, "download", lambda url, path: (file.parent.mkdir(parents=True), path.touch()))
    assert pretrained_backbone(NAME) == file
    monkeypatch.setattr(pretrained, "download", lambda *_: pytest.fail("downloaded again"))
    assert pretrained_backbone(NAME, offline=True) == file


@pytest.mark.parametrize("switch", ["argument", "environment"])
def test_offline_is_an_error_at_once_that_says_what_to_do(switch, monkeypatch):
    if switch == "environment":
        monkeypatch.setenv("YOSO_OFFLINE", "1")
    with pytest.raises(CheckpointError) as error:
        pretrained_backbone("resnet50.tv_in1k", offline=switch == "argument")
    assert str(error.value) == (
        "the pretrained weights of backbone resnet50.tv_in1k are not in the cache, and offline nothing is downloaded; "
        f"give a file by {ADVICE}"
    )


def test_a_network_that_fails_is_one_line_without_another_try(monkeypatch):
    tries = []

    def fails(url, timeout):
        tries.append(url)
        raise OSError("[Errno -2] Name or service not known\nmore")

    monkeypatch.setattr(pretrained, "get_hf_file_metadata", fails)
    begun = time.monotonic()
    with pytest.raises(CheckpointError) as error:
        pretrained_backbone(NAME)
    assert str(error.value) == (
        f"the pretrained weights of backbone {NAME} cannot be downloaded from timm/{NAME}.r160_in1k ([Errno -2] Name "
        f"or service not known more); check the connection, or give a file by {ADVICE}"
    )
    assert len(tries) == 1
    assert time.monotonic() - begun < 5


def test_the_second_file_is_taken_where_the_first_does_not_exist(monkeypatch, tmp_path):
    def metadata(url, timeout):
        if url.endswith(".safetensors"):
            raise pretrained.EntryNotFoundError("404")

    monkeypatch.setattr(pretrained, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(pretrained, "hf_hub_download", lambda repository, file, revision: tmp_path / file)
    assert pretrained_backbone(NAME) == tmp_path / "pytorch_model.bin"


def test_an_unknown_backbone_is_named():
    with pytest.raises(ConfigError, match="timm has no backbone 'resnet5'"):
        pretrained_backbone("resnet5", offline=True)


def test_a_backbone_without_published_weights():
    configs = {name: timm.models.get_pretrained_cfg(name) for name in timm.list_models()}
    name = next(name for name, config in configs.items() if not (config and (config.hf_hub_id or config.url)))
    with pytest.raises(CheckpointError, match=f"timm publishes no weights for backbone {name}"):
        pretrained_backbone(name)


def test_timm_downloads_nothing_if_the_environment_forbids_it(monkeypatch):
    monkeypatch.setenv("YOSO_OFFLINE", "1")
    with pytest.raises(ConfigError, match="YOSO_OFFLINE is set"):
        Backbone(NAME, pretrained=True)
