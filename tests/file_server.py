"""A web server on this machine for the tests of downloads; it can do whatever servers do wrong."""

import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class FileServer:
    """Serves files by name; use as a context manager.

    Attributes:
        files: name -> content, bytes or the path of a file.
        ranges: answer requests for ranges with ranges.
        validator: of every file, in `ETag`; None sends none.
        faults: what to do wrong, one per request until there are none left: a status to answer with, or "truncate",
            "reset" or "silence" after half of what was asked for, "other range", "no length", "slow" (ten parts with
            pauses between them), "held" (the second half once `released` is set).
        length: what `Content-Length` says instead of the length.
        pause_seconds: of "slow".
        released: an event.
        redirects: name -> address to go to instead.
        requests: (path, value of Range) of every request so far.
    """

    def __init__(self, files: dict[str, bytes | Path]) -> None:
        self.files = files
        self.redirects: dict[str, str] = {}
        self.ranges = True
        self.validator = '"1"'
        self.faults: list[int | str] = []
        self.length: str | None = None
        self.pause_seconds = 0.1
        self.released = threading.Event()
        self.requests: list[tuple[str, str | None]] = []
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"home": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "FileServer":
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    home: FileServer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        home = self.home
        asked = self.headers["Range"]
        home.requests.append((self.path, asked))
        name = urlsplit(self.path).path.lstrip("/")
        if name in home.redirects:
            self.send_response(302)
            self.send_header("Location", home.redirects[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        fault = home.faults.pop(0) if home.faults else None
        content = home.files.get(name)
        if isinstance(fault, int) or content is None:
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        content = content.read_bytes() if isinstance(content, Path) else content
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if not home.ranges or self.headers["If-Range"] != home.validator:
            start = 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.answer(content, start, fault)

    def answer(self, content: bytes, start: int, fault: str | None) -> None:
        body = content[start:]
        self.send_response(206 if start else 200)
        if fault != "no length":
            self.send_header("Content-Length", self.home.length or str(len(body)))
        if start:
            first = start + 1 if fault == "other range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.home.validator:
            self.send_header("ETag", self.home.validator)
        self.end_headers()
        half = (len(body) + 1) // 2
        if fault == "slow":
            self.trickle(body)
            return
        self.wfile.write(body[:half] if fault in ("truncate", "reset", "silence", "held") else body)
        if fault == "held":
            self.home.released.wait()
            self.wfile.write(body[half:])
        if fault == "silence":
            self.home.closing.wait(5)
        if fault == "reset":  # an RST in place of a FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def trickle(self, body: bytes) -> None:
        step = len(body) // 10 + 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.home.closing.wait(self.home.pause_seconds)
