"""A real server on a socket: slow, rude and confused clients, shutdown, and clients of other projects."""

import contextlib
import http.client
import json
import socket
import time
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from small_server import LIMITS, quick_predictor, running, settings, small_image, wait_for

IMAGE = small_image()
SHORT = replace(LIMITS, upload_seconds=0.3, header_bytes=2000, connections=8)


@pytest.fixture(scope="module")
def impatient():
    """Address and application of a server with short time limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoso.serve.running.GRACE_SECONDS", 0.3)
        with running(settings(limits=SHORT)) as (address, application, _):
            yield address, application


def connect(address):
    parts = urlsplit(address)
    made = socket.create_connection((parts.hostname, parts.port), timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def head(length, kind="image/png", path="/v1/panoptic", more=""):
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


def answer(connection):
    """Read one response: its status and its JSON."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def rest(connection):
    """Read until the server closes the connection."""
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


def post(address, content=IMAGE, path="/v1/panoptic"):
    with connect(address) as connection:
        connection.sendall(head(len(content), path=path) + content)
        return answer(connection)


def test_an_image_over_a_socket(server, engine):
    address, _ = server
    status, found = post(address)
    assert status == 200
    assert len(found["segments_info"]) == 4


def test_a_body_in_small_pieces(server):
    with connect(server[0]) as connection:
        connection.sendall(head(len(IMAGE)))
        for start in range(0, len(IMAGE), 700):
            connection.sendall(IMAGE[start : start + 700])
        assert answer(connection)[0] == 200


def test_several_requests_on_one_connection(server):
    with connect(server[0]) as connection:
        for _ in range(3):
            connection.sendall(head(len(IMAGE)) + IMAGE)
            assert answer(connection)[0] == 200


def test_a_body_longer_than_declared(server):
    with connect(server[0]) as connection:
        connection.sendall(head(len(IMAGE)) + IMAGE + b"and more\r\n\r\n")
        found = rest(connection)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in found


def test_a_declared_length_above_the_limit_is_refused_before_the_body(server):
    with connect(server[0]) as connection:
        connection.sendall(head(10**9))
        status, document = answer(connection)
    assert (status, document["type"]) == (413, "urn:yoso:too-large")


@pytest.mark.parametrize(
    "request_text",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /v1/panoptic HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/panoptic HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
        b"POST /v1/panoptic HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["words", "large headers", "negative length", "two lengths", "encoding", "two hosts", "no host", "TLS"],
)
def test_requests_that_are_not_http(server, request_text):
    with connect(server[0]) as connection:
        connection.sendall(request_text)
        status, document = answer(connection)
    assert status in {400, 431, 501}
    assert document["type"].removeprefix("urn:yoso:") in {"malformed-request", "headers-too-large", "unknown-host"}


def test_a_body_that_stops_arriving_is_a_408(impatient):
    with connect(impatient[0]) as connection:
        connection.sendall(head(len(IMAGE)) + IMAGE[:100])
        status, document = answer(connection)
        assert (status, document["type"]) == (408, "urn:yoso:upload-timeout")
        assert rest(connection) == b""


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"POST /v1/panoptic HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_a_client_that_does_not_finish_its_headers_is_cut_off(impatient, start):
    with connect(impatient[0]) as connection:
        if start:
            connection.sendall(start)
        begin = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert rest(connection) == b""
        assert time.monotonic() - begin < 5


def test_an_endless_body_is_cut_off(impatient):
    with connect(impatient[0]) as connection:
        connection.sendall(head(10**12))
        assert answer(connection)[0] == 413

        def is_cut_off():
            try:
                connection.sendall(b"x" * 10_000)
            except OSError:
                return True
            return False

        wait_for(is_cut_off)


def test_too_many_connections(impatient):
    address, _ = impatient
    held = [connect(address) for _ in range(SHORT.connections)]
    time.sleep(0.05)
    try:
        with connect(address) as one_more:
            status, document = answer(one_more)
        assert (status, document["type"]) == (503, "urn:yoso:too-many-connections")
    finally:
        for connection in held:
            connection.close()

    def is_free():
        try:
            return post(address)[0] == 200
        except OSError:
            return False

    wait_for(is_free)


def test_a_client_that_leaves_frees_its_place_in_the_queue(server, engine):
    address, application = server
    engine.gate.clear()
    with connect(address) as first, connect(address) as second:
        first.sendall(head(len(IMAGE)) + IMAGE)
        wait_for(lambda: engine.num_started == 1)
        second.sendall(head(len(IMAGE)) + IMAGE)
        wait_for(lambda: len(application.service.queue._jobs) == 1)
        second.close()
        wait_for(lambda: len(application.service.queue._jobs) == 0)
        engine.gate.set()
        assert answer(first)[0] == 200
    assert engine.num_started == 1
    assert post(address)[0] == 200


def test_clients_that_leave_at_every_point(server):
    address, _ = server
    message = head(len(IMAGE)) + IMAGE
    for length in range(1, len(message), 97):
        connection = connect(address)
        connection.sendall(message[:length])
        if length % 2:  # a reset instead of an orderly end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    assert post(address)[0] == 200


def test_accepted_requests_are_finished_at_the_end(engine):
    import signal
    import threading

    with running(settings()) as (address, application, server):
        engine.gate.clear()
        with connect(address) as connection:
            connection.sendall(head(len(IMAGE)) + IMAGE)
            wait_for(lambda: engine.num_started == 1)
            server.handle_exit(signal.SIGTERM, None)
            assert application.service.queue.is_draining
            threading.Timer(0.2, engine.gate.set).start()
            assert answer(connection)[0] == 200
        wait_for(lambda: not any(thread.is_alive() for thread in application.service.queue._threads))
        with pytest.raises(OSError, match="refused"):
            connect(address)


@pytest.mark.filterwarnings("ignore")
def test_tritonclient(server, engine):
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(server[0].removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("quick")
    assert not client.is_model_ready("quik")
    assert client.get_server_metadata()["name"] == "yoso"
    assert client.get_model_metadata("quick")["inputs"][0]["name"] == "image"
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    expected = quick_predictor(engine)(pixels, object_mask_threshold=0.6)
    infos = expected["segments_info"]
    for is_binary in (True, False):
        image = http.InferInput("image", list(pixels.shape), "UINT8")
        image.set_data_from_numpy(pixels, binary_data=is_binary)
        names = ("segmentation", "label_ids", "labels", "is_thing", "scores", "areas", "bboxes")
        outputs = [http.InferRequestedOutput(name, binary_data=is_binary) for name in names]
        options = {"object_mask_threshold": 0.6}
        found = client.infer("quick", [image], outputs=outputs, request_id="7", parameters=options)
        assert (found.as_numpy("segmentation") == expected["segmentation"]).all()
        assert found.as_numpy("scores").tolist() == [info["score"] for info in infos]
        assert found.as_numpy("bboxes").tolist() == [info["bbox"] for info in infos]
        assert found.as_numpy("is_thing").tolist() == [info["is_thing"] for info in infos]
        labels = [label.decode() if isinstance(label, bytes) else label for label in found.as_numpy("labels")]
        assert labels == [info["label"] for info in infos]
        assert found.get_response()["id"] == "7"
    file = http.InferInput("image", [1], "BYTES")
    file.set_data_from_numpy(np.array([IMAGE], object))
    assert client.infer("quick", [file]).as_numpy("segmentation").shape == (30, 40)
    with pytest.raises(Exception, match="Did you mean 'quick'"):
        client.infer("quik", [file])
    with pytest.raises(Exception, match="uncompressed"):
        client.infer("quick", [file], request_compression_algorithm="gzip")
    client.close()
