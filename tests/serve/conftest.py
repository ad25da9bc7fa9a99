import pytest
from small_server import ENGINES, client_of, running, settings

from yoso.serve.app import create


@pytest.fixture(scope="session")
def engines():
    """The engines of all servers here, by model name."""
    return ENGINES


@pytest.fixture
def engine(engines):
    """The engine of the model `quick`, as it was before the test again afterwards."""
    found = engines["quick"]
    found.num_started = 0
    yield found
    found.gate.set()
    found.error = None


@pytest.fixture(scope="session")
def application():
    return create(settings("quick", "other"))


@pytest.fixture(scope="session")
def client(application):
    """A client in process of a server with two models."""
    with client_of(application) as client:
        yield client


@pytest.fixture(scope="session")
def server():
    """Address and application of a server on a socket."""
    with running(settings("quick", "other")) as (address, application, _):
        yield address, application
