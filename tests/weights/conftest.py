"""Every test of the weights room runs on one thread."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def single_threaded(one_thread):
    """See `one_thread`."""
