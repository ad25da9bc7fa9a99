"""Model folders and the Hugging Face hub: what goes out is a model folder, and it comes back."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

import yoso
from small_networks import small_network
from yoso.apps.cli import main
from yoso.categories import Categories, Category
from yoso.errors import CheckpointError, ConfigError
from yoso.preprocess import resize, resized_size
from yoso.settings import InferenceConfig
from yoso.weights.find import find_model
from yoso.weights.hub import HubModel
from yoso.weights.load import load_model
from yoso.weights.model_folder import Model, save_model

CATEGORIES = Categories([Category(3, "car", True, (1, 2, 3)), Category(8, "sky", False, (4, 5, 6))])
FILES = {"model.safetensors", "config.json", "preprocessor_config.json", "README.md"}


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """As HF_HUB_OFFLINE=1, which huggingface_hub reads when it is imported; and an empty hub cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def model():
    return Model(small_network(len(CATEGORIES)).eval(), CATEGORIES, InferenceConfig(0.3, 0.6, (64, 128)), {"data": "-"})


def same(ours, theirs):
    images = torch.randint(0, 256, (1, 3, 64, 64))
    with torch.no_grad():
        return all(torch.equal(*pair) for pair in zip(ours(images), theirs(images), strict=True))


class TestRoundTrip:
    def test_through_the_mixin(self, model, tmp_path):
        HubModel(model).save_pretrained(tmp_path / "saved")
        assert {path.name for path in (tmp_path / "saved").iterdir()} == FILES
        again = HubModel.from_pretrained(str(tmp_path / "saved"))
        assert same(again, model.network)
        assert not again.training
        assert again.saved.categories == CATEGORIES
        assert again.saved.inference == model.inference
        assert again.saved.about == model.about

    def test_a_saved_folder_is_a_model_folder(self, model, tmp_path):
        HubModel(model).save_pretrained(tmp_path / "saved")
        save_model(tmp_path / "plain", model)
        for name in FILES - {"README.md"}:
            assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
        assert same(load_model(tmp_path / "saved").network, model.network)
        assert yoso.load(tmp_path / "saved", "cpu").categories == model.categories

    def test_a_model_folder_is_read_by_the_mixin(self, model, tmp_path):
        again = HubModel.from_pretrained(save_model(tmp_path / "plain", model))
        assert same(again, model.network)

    def test_card_licence_and_figures_travel(self, model, tmp_path):
        folder = save_model(tmp_path / "plain", model, {"pq": 0.5})
        (folder / "README.md").write_text("my card")
        (folder / "LICENSE").write_text("my licence")
        first = HubModel.from_pretrained(folder)
        first.save_pretrained(tmp_path / "second")
        for name in ("README.md", "LICENSE", "metrics.json"):
            assert (tmp_path / "second" / name).read_bytes() == (folder / name).read_bytes()
        first.save_pretrained(folder)  # over itself
        assert (folder / "README.md").read_text() == "my card"
        assert same(HubModel.from_pretrained(folder), model.network)

    def test_the_card_says_what_it_is(self, model, tmp_path):
        HubModel(model).save_pretrained(tmp_path / "saved")
        card = (tmp_path / "saved" / "README.md").read_text()
        for part in ("library_name: yoso", "pipeline_tag: image-segmentation", "- panoptic-segmentation"):
            assert part in card

    def test_damaged_weights_are_refused(self, model, tmp_path):
        folder = save_model(tmp_path / "plain", model)
        (folder / "model.safetensors").write_bytes(b"no weights")
        with pytest.raises(CheckpointError, match=r"model\.safetensors: is damaged"):
            HubModel.from_pretrained(folder)

    def test_what_is_pushed(self, model, tmp_path, monkeypatch):
        pushed = {}

        class Api:
            def __init__(self, **_):
                pass

            def create_repo(self, repo_id, **_):
                return type("Repository", (), {"repo_id": repo_id})

            def upload_folder(self, repo_id, folder_path, **_):
                pushed[repo_id] = shutil.copytree(folder_path, tmp_path / "remote")
                return "done"

        monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
        HubModel(model).push_to_hub("me/mine")
        assert {path.name for path in pushed["me/mine"].iterdir()} == FILES
        assert same(load_model(pushed["me/mine"]).network, model.network)


class TestPulling:
    @pytest.fixture
    def pulled(self, model, tmp_path):
        """The hub's cache as it is after `me/mine` was pulled."""
        root, commit = tmp_path / "hub" / "models--me--mine", "0123456789abcdef" * 2 + "01234567"
        save_model(root / "snapshots" / commit, model)
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(commit)
        return root / "snapshots" / commit

    def test_by_name(self, pulled, model):
        assert find_model("hf:me/mine") == pulled
        assert same(load_model("hf:me/mine").network, model.network)
        assert yoso.load("hf:me/mine", "cpu").categories == model.categories
        assert same(HubModel.from_pretrained("me/mine"), model.network)

    def test_yoso_offline_forbids_the_mixin_to_fetch(self, pulled, model, monkeypatch):
        asked = []

        def watched(name):
            function = getattr(huggingface_hub, name)

            def call(*arguments, **options):
                asked.append((name, options["local_files_only"]))
                return function(*arguments, **options)

            return call

        monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", watched("hf_hub_download"))
        monkeypatch.setattr("yoso.weights.hub.snapshot_download", watched("snapshot_download"))
        monkeypatch.setenv("YOSO_OFFLINE", "1")
        assert same(HubModel.from_pretrained("me/mine"), model.network)
        assert asked == [("hf_hub_download", True), ("snapshot_download", True)]

    def test_a_runtime_that_is_asked_for_is_not_ignored(self, pulled):
        with pytest.raises(
            ConfigError, match=r"holds no model\.onnx; make it: yoso export --model hf:me/mine --format onnx"
        ):
            yoso.load("hf:me/mine", "cpu", "onnxruntime")

    def test_on_the_command_line(self, pulled, tmp_path, capsys):
        Image.new("RGB", (64, 32)).save(tmp_path / "photo.png")
        words = ["predict", str(tmp_path / "photo.png"), "--output", str(tmp_path / "out"), "--model"]
        assert main([*words, "hf:me/mine", "--offline"]) == 0
        assert main([*words, "hf:me/other"]) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line.startswith("error: hf:me/other: cannot be fetched (")

    @pytest.mark.parametrize("name", ["hf:", "hf:me/mine/too", "hf:../x"])
    def test_names_that_cannot_be(self, name):
        with pytest.raises(CheckpointError, match=f"^{name}: cannot be fetched"):
            find_model(name)


class TestPreprocessing:
    @pytest.mark.parametrize("input_size", [(64, 128), (50, 60), None])
    def test_it_says_what_is_done(self, model, input_size, tmp_path):
        """Another program that does what the file says gives the network what we give it."""
        model = Model(model.network, CATEGORIES, InferenceConfig(0.3, 0.6, input_size))
        folder = save_model(tmp_path / "plain", model)
        facts = json.loads((folder / "preprocessor_config.json").read_text())
        photo = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
        image = Image.fromarray(photo)
        if facts["do_resize"]:
            edges = facts["size"]
            scale = min(edges["shortest_edge"] / min(image.size), edges["longest_edge"] / max(image.size))
            size = tuple(int(side * scale + 0.5) for side in image.size)
            image = image.resize(size, Image.Resampling(facts["resample"]))
        assert facts["do_normalize"]
        assert not facts["do_rescale"]
        values = (np.asarray(image, np.float32) - np.float32(facts["image_mean"])) / np.float32(facts["image_std"])
        height, width = (-(-side // facts["size_divisor"]) * facts["size_divisor"] for side in values.shape[:2])
        padded = np.zeros((height, width, 3), np.float32)
        padded[: values.shape[0], : values.shape[1]] = values
        ours = resize(photo, resized_size(photo.shape[:2], model.inference.input_size)).copy()
        prepared = model.network.prepare([torch.from_numpy(ours).permute(2, 0, 1)])
        np.testing.assert_allclose(prepared[0].permute(1, 2, 0).numpy(), padded, rtol=1e-6, atol=1e-6)
