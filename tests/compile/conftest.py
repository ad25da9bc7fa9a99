"""Compiling traces Python, and the shape checker's wrappers cannot be traced: these tests need a session without it."""

import pytest


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--jaxtyping-packages", default=None):
        return
    skip = pytest.mark.skip(reason="torch.compile and torch.export need a session without the shape checker")
    for item in items:
        if item.get_closest_marker("compiled"):
            item.add_marker(skip)
