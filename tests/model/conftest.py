"""Networks and figures that the tests of the model room share."""

from functools import cache

import pytest
import torch
from golden_figures import GOLDEN, Figures, network_of


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
