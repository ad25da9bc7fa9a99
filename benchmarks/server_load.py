"""Measure a server under load: throughput and latency with 1, 8 and 64 clients, overload, and memory.

    python benchmarks/server_load.py --output benchmarks/results/server_load.json

Every client sends the next request as soon as it has the answer to the last one, over loopback and one connection per
client. The overhead is the latency of one client minus that of the bare predictor, which decodes the same file. The
overload part sends requests of small images from ten times as many clients as the queue and the threads hold. The
memory part sends 10,000 requests of small images to a server whose network is a stand-in that gives fixed segments.

Output: benchmarks/results/server_load.json
"""

import argparse
import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

import yoso
from yoso.files import read_json, read_upload, write_json
from yoso.inference.engine import Timings
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Segment
from yoso.provenance import provenance

MODEL = "facades-mnv2"
IMAGE = Path(__file__).parents[1] / "examples" / "building.jpg"
CLIENTS = (1, 8, 64)
SMALL = "32x64"
"""Input size of the parts that count requests rather than pixels."""

OVERLOAD_QUEUE = 20
"""Images that wait in the overload part; with the one that runs, they are a tenth of the clients."""


class Server:
    """A `yoso serve` process on a free port."""

    def __init__(self, queue: int = 64, timeout: int = 30, stand_in: bool = False) -> None:
        """Start it, and wait until its model is loaded."""
        words = ["serve", "--model", MODEL, "--port", "0", "--queue", str(queue), "--timeout", str(timeout)]
        program = [__file__, "--stand-in"] if stand_in else ["-m", "yoso"]
        self.process = subprocess.Popen([sys.executable, *program, *words], stderr=subprocess.PIPE, encoding="utf-8")
        assert self.process.stderr is not None
        self.host, self.port = _address(self.process.stderr.readline())
        threading.Thread(target=self._drop_log, daemon=True).start()
        while self.get("/v2/health/ready")[0] != 200:
            time.sleep(0.05)

    def _drop_log(self) -> None:
        assert self.process.stderr is not None
        for _ in self.process.stderr:
            pass

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", path)
        response = connection.getresponse()
        found = response.status, response.read()
        connection.close()
        return found

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """End it; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def _address(line: str) -> tuple[str, int]:
    parts = urlsplit(line.split(" at ")[1].split()[0])
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


class Load:
    """Statuses and latencies of many requests."""

    def __init__(self) -> None:
        """Begin with none."""
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []

    async def client(self, server: Server, message: bytes, end: float, most: int) -> None:
        """Send one request after the other until a time or a number of requests."""
        reader, writer = await asyncio.open_connection(server.host, server.port)
        while time.perf_counter() < end and sum(self.statuses.values()) < most:
            start = time.perf_counter()
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            status, length = int(head[9:12]), int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            self.statuses[status] += 1
            if status == 200:
                self.seconds.append(time.perf_counter() - start)
            else:
                await asyncio.sleep(0.02)
        writer.close()

    def result(self, wall: float) -> dict[str, Any]:
        """Return counts, throughput and percentiles of the accepted requests."""
        p50, p95, p99 = np.percentile(self.seconds, [50, 95, 99]) * 1000
        return {
            "requests": sum(self.statuses.values()),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "accepted_per_second": round(len(self.seconds) / wall, 2),
            "p50_milliseconds": round(float(p50), 2),
            "p95_milliseconds": round(float(p95), 2),
            "p99_milliseconds": round(float(p99), 2),
        }


def request(content: bytes, query: str = "") -> bytes:
    """Return a whole HTTP request."""
    head = f"POST /v1/panoptic{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    return head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content


def load(server: Server, message: bytes, clients: int, seconds: float, most: int = 10**9) -> dict[str, Any]:
    """Send requests from some clients at a time."""
    found = Load()

    async def all_clients() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(found.client(server, message, end, most) for _ in range(clients)))

    start = time.perf_counter()
    asyncio.run(all_clients())
    return {"clients": clients, **found.result(time.perf_counter() - start)}


def levels(content: bytes, seconds: float) -> list[dict[str, Any]]:
    """Measure 1, 8 and 64 clients."""
    server = Server()
    found = [load(server, request(content), clients, seconds) for clients in CLIENTS]
    server.stop()
    return found


def overhead(content: bytes, seconds: float) -> dict[str, float]:
    """Compare one client with the bare predictor, in turns, so that both meet the same machine."""
    server = Server()
    alone: list[float] = []
    served: list[float] = []
    predictor = yoso.load(MODEL)
    connection = http.client.HTTPConnection(server.host, server.port)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(served) < 10:
        start = time.perf_counter()
        predictor(read_upload(content))
        alone.append(1000 * (time.perf_counter() - start))
        start = time.perf_counter()
        connection.request("POST", "/v1/panoptic", content, {"Content-Type": "image/jpeg", "Host": "localhost"})
        response = connection.getresponse()
        response.read()
        served.append(1000 * (time.perf_counter() - start))
        assert response.status == 200
    connection.close()
    server.stop()
    alone_median, served_median = float(np.median(alone)), float(np.median(served))
    return {
        "predictor_milliseconds": round(alone_median, 2),
        "server_milliseconds": round(served_median, 2),
        "overhead_milliseconds": round(served_median - alone_median, 2),
        "overhead_share": round(served_median / alone_median - 1, 4),
        "pairs": len(served),
    }


def small_image() -> bytes:
    """Return a JPEG of 64 x 48."""
    stream = BytesIO()
    with Image.open(IMAGE) as image:
        image.resize((64, 48)).save(stream, format="JPEG")
    return stream.getvalue()


def memory(requests: int) -> dict[str, Any]:
    """Send many requests of small images; return the memory of the server after each tenth of them."""
    server, message = Server(stand_in=True), request(small_image(), "?output=panoptic_png,rle,polygons")
    load(server, message, 8, 60.0, 500)  # what is allocated once
    marks = [server.memory_bytes]
    sent = 0
    for _ in range(10):
        sent += load(server, message, 8, 60.0, requests // 10)["requests"]
        marks.append(server.memory_bytes)
    server.stop()
    return {"requests": sent, "megabytes": [round(mark / 1e6, 1) for mark in marks], "network": "a stand-in"}


def overload(seconds: float) -> dict[str, Any]:
    """Send small images from ten times as many clients as the server holds."""
    server = Server(queue=OVERLOAD_QUEUE)
    capacity = OVERLOAD_QUEUE + 1
    found = load(server, request(small_image(), f"?input_size={SMALL}"), 10 * capacity, seconds)
    status = server.stop()
    return {**found, "capacity": capacity, "input_size": SMALL, "exit_status": status}


class FixedSegments:
    """Stands in for a network: all pixels are one segment."""

    runtime = "none"
    device = "cpu"
    precision = "fp32"

    def segment(self, pixels: np.ndarray, request: Any) -> tuple[PanopticArrays, Timings]:
        """Return one segment."""
        height, width = request.output_size
        segments = [Segment(1, 0, 1.0, height * width, (0, 0, width, height))]
        return PanopticArrays(np.ones((height, width), np.int32), segments), Timings(0.0, 0.0, 0.0, 0.0)

    def logits(self, pixels: np.ndarray, request: Any) -> Any:
        """The server needs none."""
        raise NotImplementedError


def serve_stand_in(words: list[str]) -> int:
    """Run `yoso serve` with a stand-in for the network."""
    from yoso.apps.cli import main as run
    from yoso.serve import models

    bundled = yoso.load(MODEL)
    models.load = lambda *_: yoso.Predictor(FixedSegments(), bundled.categories, bundled.inference)
    return run(words)


def main() -> None:
    """Measure and write the JSON file; torch is loaded here alone, so that the stand-in stays small."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--seconds", type=float, default=15.0, help="per number of clients")
    parser.add_argument("--requests", type=int, default=10_000, help="of the memory part")
    parser.add_argument("--parts", default="levels,overhead,overload,memory", help="the other ones stay in the file")
    args = parser.parse_args()
    import torch

    content = IMAGE.read_bytes()
    result = read_json(args.output) if args.output.exists() else {}
    parts = {
        "levels": lambda: levels(content, args.seconds),
        "overhead": lambda: overhead(content, args.seconds),
        "overload": lambda: overload(args.seconds),
        "memory": lambda: memory(args.requests),
    }
    for name in args.parts.split(","):
        result[name] = parts[name]()
    result |= {"model": MODEL, "image": f"{IMAGE.name}, 640 x 427, default input size"}
    result |= provenance(torch.device("cpu"))
    write_json(args.output, result, indent=1)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stand-in"]:
        sys.exit(serve_stand_in(sys.argv[2:]))
    main()
