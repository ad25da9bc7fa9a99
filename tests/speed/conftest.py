import pytest

from yoso.speed.entry import EntrySpec, TimingSettings


@pytest.fixture
def make_spec(tiny_model):
    """Return a function that makes a spec of the tiny model."""

    def make(runtime="torch", size=(64, 96), model=None, **settings):
        return EntrySpec(f"tiny {runtime}", model or str(tiny_model), runtime, size, TimingSettings(**settings))

    return make
