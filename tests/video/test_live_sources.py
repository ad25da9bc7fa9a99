import io
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from small_clips import picture
from yoso.errors import VideoError
from yoso.video.frames import Selection
from yoso.video.live import LiveSource, StreamPatience
from yoso.video.sources import SourceOptions, open_source

QUICK = StreamPatience(0.5, 2, 0.01, 0.02)


class Fake:
    """A camera that gives some frames, with a pause before each, and is lost then."""

    def __init__(self, num_frames, pause=0.0):
        self.num_frames, self.pause, self.closed = num_frames, pause, False

    def frames(self):
        for number in range(self.num_frames):
            time.sleep(self.pause)
            yield lambda number=number: np.full((4, 4, 3), number, np.uint8)

    def close(self):
        self.closed = True


def connector(*results):
    """Return a function that gives one connection, or raises one error, per call."""
    waiting = list(results)

    def connect():
        result = waiting.pop(0) if waiting else VideoError("refused")
        if isinstance(result, Exception):
            raise result
        return result

    return connect


def test_a_slow_reader_gets_the_newest_frame_and_the_others_are_counted():
    source = LiveSource("camera", connector(Fake(60, 0.002)), QUICK, lambda _: None)
    seen = []
    frames = source.frames(Selection())

    def read_slowly():
        for frame in frames:
            seen.append(int(frame.image[0, 0, 0]))
            time.sleep(0.02)

    with pytest.raises(VideoError, match=r"camera: lost .* 2 tries to reconnect failed"):
        read_slowly()
    assert seen == sorted(set(seen))
    assert len(seen) < 30
    assert source.counts.delivered + source.counts.dropped == 60
    source.close()


def test_a_lost_source_comes_back_with_one_line_each():
    said, second = [], Fake(1000, 0.002)
    source = LiveSource("camera", connector(Fake(3), VideoError("refused"), second), QUICK, said.append)
    frames = list(source.frames(Selection(max_frames=8)))
    source.close()
    assert len(frames) == 8
    assert said == ["camera: connection lost (it ended); reconnecting", "camera: connected again"]
    assert source.counts.losses == 1
    assert second.closed


def test_the_first_connection_is_not_tried_again():
    with pytest.raises(VideoError, match="refused"):
        LiveSource("camera", connector(), QUICK, lambda _: None)


def test_closing_ends_the_capture():
    connection = Fake(10_000, 0.001)
    source = LiveSource("camera", connector(connection), QUICK, lambda _: None)
    next(source.frames(Selection()))
    source.close()
    assert connection.closed
    assert not [thread for thread in threading.enumerate() if thread.name == "yoso-capture"]


@pytest.fixture
def server():
    """An MJPEG stream that is cut after each of its first two connections' frames, and silent when told so."""

    class Handler(BaseHTTPRequestHandler):
        connections, is_silent = 0, False

        def log_message(self, format, *args):
            """Say nothing."""

        def do_GET(self):
            Handler.connections += 1
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(12 if Handler.connections < 3 else 400):
                content = io.BytesIO()
                Image.fromarray(picture(number)).save(content, format="JPEG")
                body = content.getvalue()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + body + b"\r\n")
                except OSError:
                    return
                time.sleep(0.01)
            if Handler.is_silent:
                time.sleep(2)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/camera", Handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_over_http_is_read_and_reconnected(server):
    address, handler = server
    said = []
    source = open_source(address, SourceOptions(patience=StreamPatience(2.0, 3, 0.01, 0.02), say=said.append))
    assert source.is_live
    frames = list(source.frames(Selection(max_frames=30)))
    source.close()
    assert len(frames) == 30
    assert handler.connections >= 2
    assert "connection lost" in said[0]
    assert said[1].endswith("connected again")


def test_a_stream_that_stalls_is_given_up_in_time(server):
    address, handler = server
    handler.is_silent, said = True, []
    source = open_source(address, SourceOptions(patience=StreamPatience(0.3, 0), say=said.append))
    begin = time.monotonic()
    with pytest.raises(VideoError, match=r"(lost|no frame for) .*check the source"):
        list(source.frames(Selection()))
    source.close()
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_no_such_stream(scheme):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(VideoError, match=r"cannot be read as video \(Connection refused\)"):
        open_source(f"{scheme}://127.0.0.1:{port}/x", SourceOptions(patience=QUICK))
