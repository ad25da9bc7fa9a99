"""Networks and figures that the tests of the model room share."""

from functools import cache

import pytest
import torch
from golden_figures import GOLDEN, Figures, network_of

from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tensors of these tests are too small to share among threads, which then mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def official_network():
    """The official networks by name, built once; not to be changed."""
    return cache(network_of)


@pytest.fixture(params=["sample", pytest.param("full", marks=pytest.mark.data)], scope="session")
def figures(request):
    """Official figures by file name: the committed sample, and the full ones where the test data is."""
    folder = request.getfixturevalue("shared") / "golden" if request.param == "full" else GOLDEN
    return cache(lambda name: Figures.read(folder / f"{name}.npz"))


@pytest.fixture
def small_network():
    """Builds a network of which every part is there and none is large; the weights are random, and always the same."""

    def build(num_classes: int = 5, **changes) -> YOSO:
        torch.manual_seed(0)
        return YOSO(small_config(**changes), num_classes)

    return build


def small_config(**changes) -> ModelConfig:
    """Return a configuration of a network that runs in milliseconds."""
    small = {
        "backbone": "test_resnet",
        "backbone_norm": "trainable",
        "aggregation_channels": 16,
        "hidden_channels": 32,
        "feedforward_channels": 64,
        "num_queries": 7,
        "num_heads": 4,
    }
    return ModelConfig(**(small | changes))
