"""A server with a model that needs no time: every image has a square, and sky and ground around it."""

import asyncio
import threading
import time
from contextlib import ExitStack, contextmanager
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from yoso.categories import Categories, Category
from yoso.errors import CheckpointError
from yoso.inference.engine import Timings
from yoso.inference.predictor import Predictor
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Segment
from yoso.serve.app import create
from yoso.serve.running import ServerConfig, _DrainingServer, address_of, listen
from yoso.serve.settings import Limits, ServerSettings
from yoso.settings import InferenceConfig

CATEGORIES = Categories(
    [
        Category(3, "square", True, (200, 30, 30)),
        Category(7, "sky", False, (30, 30, 200)),
        Category(9, "ground", False, (30, 200, 30)),
    ]
)
LIMITS = Limits(body_bytes=200_000, pixels=100_000, network_pixels=40_000, upload_seconds=2.0, request_seconds=5.0)


class QuickEngine:
    """Gives every image the same segments: two squares, sky above and ground below.

    Attributes:
        gate: predictions wait for it.
        num_started: how many predictions began.
        error: raised by every prediction, if there is one.
    """

    runtime = "onnxruntime"
    device = "cpu"
    precision = "fp32"
    has_embeddings = False

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.num_started = 0
        self.error = None

    def segment(self, pixels, request):
        self.num_started += 1
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        height, width = request.output_size
        segmentation = np.full((height, width), 1, np.int32)
        segmentation[height // 2 :] = 2
        segmentation[: max(1, height // 4), : max(1, width // 4)] = 3
        segmentation[-1, -1] = 4
        classes = {1: (1, 0.5), 2: (2, 0.625), 3: (0, 0.75), 4: (0, 0.875)}
        segments = []
        for number, (index, score) in classes.items():
            rows, columns = np.nonzero(segmentation == number)
            if len(rows) and request.thresholds.object_mask < score:
                x, y = int(columns.min()), int(rows.min())
                box = (x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1)
                segments.append(Segment(number, index, score, len(rows), box))
            else:
                segmentation[segmentation == number] = 0
        return PanopticArrays(segmentation, segments), Timings(0.0, 0.0, 0.0, 0.0)

    def logits(self, pixels, request):
        raise AssertionError("the server needs no logits")


def quick_predictor(engine):
    return Predictor(engine, CATEGORIES, InferenceConfig(0.0, 0.0, (64, 128)), {"license": "MIT"})


def loader(engines):
    """Stand in for `yoso.load`: each name of `engines` has its engine, and others do not exist."""

    def load(name, *_):
        if name not in engines:
            raise CheckpointError(f"no model or folder {name!r}.")
        return quick_predictor(engines[name])

    return load


def settings(*names, limits=LIMITS, **changes):
    return ServerSettings({name: name for name in names or ("quick",)}, limits=limits, **changes)


ENGINES = {"quick": QuickEngine(), "other": QuickEngine()}
"""Of all servers here, by model name."""


@contextmanager
def loading(load):
    """Use a stand-in for `yoso.load` for as long as models are loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoso.serve.models.load", load)
        yield


@contextmanager
def client_of(application, load=None):
    """Yield a client in process, once the models are loaded, by default those of `ENGINES`."""
    with ExitStack() as stack:
        with loading(load or loader(ENGINES)):
            client = stack.enter_context(TestClient(application.asgi, base_url="http://localhost"))
            application.service.models.wait()
        yield client


def small_image(width=40, height=30, kind="PNG"):
    """Return an image file as bytes."""
    stream = BytesIO()
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (height, width, 3)).astype(np.uint8)).save(stream, format=kind)
    return stream.getvalue()


@contextmanager
def running(server_settings):
    """Yield the address of a real server on a socket, and its application."""
    application = create(server_settings)
    listener = listen("127.0.0.1", 0)
    server = _DrainingServer(ServerConfig(application.asgi, server_settings.limits), application)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    address = address_of(listener)
    with loading(loader(ENGINES)):
        thread.start()
        wait_for(lambda: server.started and application.service.is_ready)
    try:
        yield address, application, server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def wait_for(condition, seconds=10):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
