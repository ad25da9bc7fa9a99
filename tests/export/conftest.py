"""A small network, exported once for all tests; tracing it takes longer than everything that is done with the files."""

import pytest
import torch

from yoso.categories import Categories, Category
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.settings import InferenceConfig
from yoso.weights.load import load_model
from yoso.weights.model_folder import Model, save_model


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory):
    """A model folder: a network that runs in milliseconds, with weights that give some segments."""
    config = ModelConfig(
        backbone="test_resnet",
        aggregation_channels=16,
        hidden_channels=32,
        feedforward_channels=64,
        num_queries=9,
        num_heads=4,
        temperature=0.5,
        position_frequencies=2,
    )
    categories = Categories(
        [
            Category(3, "square", True, (220, 40, 40)),
            Category(7, "sky", False, (80, 140, 240)),
            Category(9, "ground", False, (9, 9, 9)),
        ]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = YOSO(config, len(categories)).eval()
        last = network.decoder.stages[-1].class_branch[-1]
        torch.nn.init.normal_(last.weight, std=0.5)
        torch.nn.init.zeros_(last.bias)
    about = {"data": "none, random weights", "licence": "MIT"}
    model = Model(network, categories, InferenceConfig(0.3, 0.1, (96, 192)), about)
    return save_model(tmp_path_factory.mktemp("small") / "model", model, half=True)


@pytest.fixture(scope="session")
def small_model(small_folder):
    """The same, loaded."""
    return load_model(small_folder)
