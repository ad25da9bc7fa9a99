"""Model folders: what is saved comes back, and what is damaged is refused in a sentence that names the file."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from small_networks import small_config, small_network
from yoso.categories import Categories, Category
from yoso.errors import CheckpointError, ConfigError, OutputError
from yoso.model.config import ModelConfig
from yoso.settings import InferenceConfig, config_from_json
from yoso.weights.config_file import save_inference
from yoso.weights.find import find_model
from yoso.weights.layout import bundled_models
from yoso.weights.load import load_model
from yoso.weights.model_folder import Model, save_model
from yoso.weights.tensors import load_backbone, read_safetensors

CATEGORIES = Categories([Category(3, "car", True, (1, 2, 3)), Category(8, "sky", False, (4, 5, 6))])
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.fixture
def model():
    network = small_network(len(CATEGORIES), pyramid_channels=(8, 8, 8, 8)).eval()
    return Model(network, CATEGORIES, InferenceConfig(0.3, 0.6, (64, 128)), {"licence": "CC BY 4.0"})


@pytest.fixture
def folder(model, tmp_path):
    return save_model(tmp_path / "runs" / "model", model, metrics={"pq": 0.5})


def refused(folder, *parts):
    """Assert that the folder is refused in one line that holds these parts."""
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message
    return message


def change_config(folder, change):
    content = json.loads((folder / CONFIG).read_text())
    change(content)
    (folder / CONFIG).write_text(json.dumps(content))


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


class TestRoundTrip:
    def test_everything_comes_back(self, model, folder):
        again = load_model(folder)
        assert again.network.config == model.network.config
        assert again.categories == CATEGORIES
        assert again.inference == model.inference
        assert again.about == model.about
        assert not again.network.training
        images = torch.randint(0, 256, (1, 3, 64, 64))
        with torch.no_grad():
            for ours, theirs in zip(again.network(images), model.network(images), strict=True):
                assert torch.equal(ours, theirs)
        assert json.loads((folder / "metrics.json").read_text()) == {"pq": 0.5}

    def test_other_thresholds_change_nothing_else(self, folder):
        before = json.loads((folder / CONFIG).read_text())
        assert save_inference(folder, InferenceConfig(0.25, 0.5, None)) == folder / CONFIG
        inference = {"object_mask_threshold": 0.25, "overlap_threshold": 0.5, "input_size": None}
        assert json.loads((folder / CONFIG).read_text()) == {**before, "inference": inference}
        assert load_model(folder).inference == InferenceConfig(0.25, 0.5, None)

    @pytest.mark.parametrize("content", ["", "[]"])
    def test_thresholds_need_a_configuration(self, folder, content):
        (folder / CONFIG).write_text(content)
        with pytest.raises(CheckpointError, match=r"config\.json: is not the configuration of a model"):
            save_inference(folder, InferenceConfig())
        assert (folder / CONFIG).read_text() == content

    def test_no_file_is_left_over(self, folder):
        assert sorted(path.name for path in folder.iterdir()) == [
            CONFIG,
            "metrics.json",
            WEIGHTS,
            "preprocessor_config.json",
        ]

    def test_half_precision_halves_the_file(self, model, folder, tmp_path):
        half = save_model(tmp_path / "half", model, half=True)
        assert (half / WEIGHTS).stat().st_size < 0.55 * (folder / WEIGHTS).stat().st_size
        again, state = load_model(half).network.state_dict(), model.network.state_dict()
        assert not (half / "metrics.json").exists()
        for key, value in again.items():
            expected = state[key].half().float() if state[key].is_floating_point() else state[key]
            assert value.dtype == state[key].dtype
            assert torch.equal(value, expected)

    def test_a_network_turned_into_cfa_comes_back(self, tmp_path):
        network = small_network(len(CATEGORIES), aggregation="ifa").eval().to_cfa()
        folder = save_model(tmp_path / "cfa", Model(network, CATEGORIES, InferenceConfig()))
        assert load_model(folder).network.config.aggregation == "cfa"

    def test_saving_again_replaces(self, model, folder):
        with torch.no_grad():
            model.network.decoder.proposals.bias.fill_(2.5)
        save_model(folder, model)
        assert load_model(folder).network.decoder.proposals.bias[0] == 2.5

    def test_a_folder_that_cannot_be_written(self, model, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot be written"):
            save_model(tmp_path / "file" / "model", model)


class TestFinding:
    def test_an_unknown_name(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CheckpointError, match="no model or folder 'nothing-like-it'"):
            find_model("nothing-like-it")

    def test_a_misspelt_name_gets_a_suggestion(self, monkeypatch, tmp_path):
        monkeypatch.setattr("yoso.weights.layout.package_files", lambda _: tmp_path)
        (tmp_path / "assets" / "facades-mnv2").mkdir(parents=True)
        (tmp_path / "assets" / "facades-mnv2" / CONFIG).write_text("{}")
        (tmp_path / "assets" / "not-a-model").mkdir()
        assert list(bundled_models()) == ["facades-mnv2"]
        assert find_model("facades-mnv2").name == "facades-mnv2"
        with pytest.raises(CheckpointError, match=r"Did you mean 'facades-mnv2'\?"):
            find_model("facade-mnv2")

    def test_a_package_without_models(self, monkeypatch, tmp_path):
        monkeypatch.setattr("yoso.weights.layout.package_files", lambda _: tmp_path)
        assert bundled_models() == {}

    @pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
    def test_a_folder_that_lacks_a_file(self, name, folder):
        (folder / name).unlink()
        refused(folder, folder, f"it has no {name}", "yoso convert")

    def test_a_file_in_place_of_a_folder(self, folder):
        refused(folder / WEIGHTS, folder / WEIGHTS, "is not a model folder")


class TestDamagedWeights:
    @pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
    def test_a_truncated_file(self, share, folder):
        content = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(content[: int(share * len(content))])
        refused(folder, folder / WEIGHTS, "is damaged or not a safetensors file")

    def test_a_pickle_in_disguise(self, folder):
        torch.save({"weight": torch.zeros(2)}, folder / WEIGHTS)
        refused(folder, folder / WEIGHTS, "is damaged or not a safetensors file")

    def test_wrong_shapes_name_the_tensor(self, folder):
        change_config(folder, lambda content: content["model"].update(num_queries=8))
        refused(folder, folder / WEIGHTS, "decoder.proposals.bias has shape (7,), the network needs (8,)")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_values_that_are_not_finite(self, value, folder):
        change_weights(folder, lambda tensors: tensors["decoder.proposals.bias"].fill_(value))
        refused(folder, folder / WEIGHTS, "decoder.proposals.bias holds values that are not finite")

    def test_a_missing_tensor(self, folder):
        change_weights(folder, lambda tensors: tensors.pop("decoder.proposals.bias"))
        refused(folder, folder / WEIGHTS, "missing 1 key", "(decoder.proposals.bias)")

    def test_an_unexpected_tensor(self, folder):
        change_weights(folder, lambda tensors: tensors.update(surplus=torch.zeros(1)))
        refused(folder, folder / WEIGHTS, "unexpected 1 key", "(surplus)")

    def test_weights_of_another_backbone_stay_one_line(self, folder):
        change_config(folder, lambda content: content["model"].update(backbone="test_efficientnet"))
        assert len(refused(folder, folder / WEIGHTS, "missing", "unexpected")) < 10_000

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"none\.safetensors: no such file"):
            read_safetensors(tmp_path / "none.safetensors")


class TestDamagedConfiguration:
    def test_a_class_that_is_neither_thing_nor_stuff_is_named_once(self, folder):
        change_config(folder, lambda content: content["categories"][1].update(isthing=None))
        message = refused(folder, "category number 1 ('sky') has isthing None; 1 (thing) or 0 (stuff) is needed")
        assert message.count(str(folder / CONFIG)) == 1

    def test_a_flag_in_quotes_is_read_as_it_says(self, folder):
        change_config(folder, lambda content: content["categories"][1].update(isthing="0"))
        assert load_model(folder).categories == CATEGORIES

    @pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}", '{"model": {}}', "\x00"])
    def test_not_a_configuration(self, content, folder):
        (folder / CONFIG).write_text(content)
        refused(folder, folder / CONFIG)

    @pytest.mark.parametrize(
        ("section", "values", "part"),
        [
            ("model", {"num_querys": 100}, "unknown key 'num_querys'. Did you mean 'num_queries'?"),
            ("model", {"num_queries": 0}, "model.num_queries is 0; it must be a whole number from 1 to 10000"),
            ("model", {"temperature": float("nan")}, "model.temperature is nan; it must be a number above 0"),
            ("model", {"pixel_std": [0.0, 1.0, 1.0]}, "model.pixel_std is (0.0, 1.0, 1.0); it must be three numbers"),
            ("model", {"backbone_options": {"checkpoint_path": "x.pth"}}, "model.backbone_options.checkpoint_path"),
            ("model", {"backbone_options": {"cache_dir": "/tmp"}}, "model.backbone_options.cache_dir"),
            ("model", {"backbone_options": {"pretrained": True}}, "model.backbone_options.pretrained"),
            (
                "model",
                {"backbone_options": {"pretrained_cfg": {"url": "http://a/b"}}},
                "backbone_options.pretrained_cfg",
            ),
            ("model", {"backbone": "test_resnot"}, "Did you mean 'test_resnet'?"),
            ("model", {"attention": "sdcb"}, "sdcb"),
            ("model", {"aggregation": "xfa"}, "xfa"),
            ("inference", {"threshold": 0.5}, "unknown key 'threshold'"),
        ],
    )
    def test_values_that_cannot_be(self, section, values, part, folder):
        change_config(folder, lambda content: content[section].update(values))
        refused(folder, folder / CONFIG, part)

    def test_lists_come_back_as_tuples(self):
        config = config_from_json(ModelConfig, {"pyramid_channels": [4, 8, 12, 16], "pixel_mean": [1.0, 2.0, 3.0]})
        assert config.pyramid_channels == (4, 8, 12, 16)
        assert config.pixel_mean == (1.0, 2.0, 3.0)
        with pytest.raises(ConfigError, match="unknown key 'backbones'"):
            config_from_json(ModelConfig, {"backbones": "resnet50"})


class TestBackboneWeights:
    def test_layers_that_the_network_leaves_out_are_passed_over(self, tmp_path):
        torch.manual_seed(1)
        donor = small_network(seed=1).backbone.net.state_dict()
        save_file(donor | {"classifier.weight": torch.zeros(3)}, tmp_path / "backbone.safetensors")
        network = small_network()
        load_backbone(network, tmp_path / "backbone.safetensors")
        for key, value in network.backbone.net.state_dict().items():
            assert torch.equal(value, donor[key])

    def test_weights_of_another_model_are_refused(self, tmp_path):
        save_file({"classifier.weight": torch.zeros(3)}, tmp_path / "backbone.safetensors")
        with pytest.raises(CheckpointError, match=r"backbone\.safetensors: the weights do not fit .*missing"):
            load_backbone(small_network(), tmp_path / "backbone.safetensors")


def test_the_small_configuration_is_valid_json():
    config = small_config()
    assert config_from_json(ModelConfig, json.loads(json.dumps(vars(config)))) == config
