import pytest

from yoso.speed.entry import Entry, Settings


@pytest.fixture
def entry(tiny_model):
    """Make an entry of the tiny model."""

    def make(runtime="torch", size=(64, 96), model=None, **settings):
        return Entry(f"tiny {runtime}", model or str(tiny_model), runtime, size, Settings(**settings))

    return make
