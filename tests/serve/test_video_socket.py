"""The WebSocket for frames: identities, problems that do not end it, and who may open it."""

import json

import pytest
from small_server import client_of, settings, small_image
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from yoso.serve.app import create

IMAGE = small_image()
KEY = "a-key-of-some-length"


def test_frames_have_identities_that_hold(client):
    with client.websocket_connect("ws://localhost/v1/video?output=panoptic_png") as socket:
        found = []
        for _ in range(3):
            socket.send_bytes(IMAGE)
            found.append(json.loads(socket.receive_text()))
    assert [one["frame"] for one in found] == [0, 1, 2]
    tracks = [{info["id"]: info["track_id"] for info in one["segments_info"]} for one in found]
    assert tracks[0] == tracks[1] == tracks[2]
    assert len(set(tracks[0].values())) == 4
    assert found[0]["panoptic_png"]


def test_frames_without_identities(client):
    with client.websocket_connect("ws://localhost/v1/video?tracking=false&model=other") as socket:
        socket.send_bytes(IMAGE)
        found = json.loads(socket.receive_text())
    assert found["model"] == "other"
    assert "track_id" not in found["segments_info"][0]


def test_a_bad_frame_has_a_problem_and_the_next_one_a_result(client):
    with client.websocket_connect("ws://localhost/v1/video") as socket:
        for content, kind in ((b"x", "unsupported-media-type"), (IMAGE[:400], "unreadable-image")):
            socket.send_bytes(content)
            assert json.loads(socket.receive_text())["type"] == f"urn:yoso:{kind}"
        socket.send_bytes(small_image(20, 10))
        assert json.loads(socket.receive_text())["frame"] == 2
        socket.send_bytes(IMAGE)  # of another size than the frame before
        assert json.loads(socket.receive_text())["type"] == "urn:yoso:invalid-option"


def test_text_ends_it(client):
    with client.websocket_connect("ws://localhost/v1/video") as socket:
        socket.send_text("hello")
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
    assert caught.value.code == 1003


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?traking=1", {}, 422),
        ("?tracking=maybe", {}, 422),
        ("?model=none", {}, 404),
        ("", {"origin": "https://evil.example"}, 403),
        ("", {"host": "evil.example"}, 400),
    ],
)
def test_refusals(client, query, headers, status):
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect(f"ws://localhost/v1/video{query}", headers=headers),
    ):
        pass
    assert caught.value.status_code == status
    assert caught.value.headers["content-type"] == "application/problem+json"


def test_it_needs_the_key():
    with client_of(create(settings(key=KEY))) as client:
        with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect("ws://localhost/v1/video"):
            pass
        assert caught.value.status_code == 401
        with client.websocket_connect(
            "ws://localhost/v1/video", headers={"x-api-key": "a-key-of-some-length"}
        ) as socket:
            socket.send_bytes(IMAGE)
            assert json.loads(socket.receive_text())["frame"] == 0


def test_over_a_real_socket(server):
    from websockets.sync.client import connect

    with connect(f"{server[0].replace('http', 'ws')}/v1/video") as socket:
        socket.send(IMAGE)
        assert json.loads(socket.recv(timeout=10))["segments_info"][0]["track_id"] >= 1
