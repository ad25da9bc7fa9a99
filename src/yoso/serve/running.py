"""Running a server: its socket, its processes, its end."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import tempfile
from dataclasses import dataclass
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from yoso.errors import ConfigError
from yoso.serve.app import Application, create
from yoso.serve.metrics import PROCESSES_FOLDER
from yoso.serve.models import Models
from yoso.serve.problems import MEDIA_TYPE, Problem
from yoso.serve.records import log_to_stderr
from yoso.serve.settings import Limits, ServerSettings

GRACE_SECONDS = 2.0
"""Between the time limit of a request, which has an answer, and the end of its connection."""

THREADS = "OMP_NUM_THREADS"


class ServerConfig(uvicorn.Config):
    """Configuration of uvicorn with the limits of the server."""

    def __init__(self, app: Any, limits: Limits, **options: Any) -> None:
        """Set what is safe.

        Args:
            app: an ASGI application, or with `factory` what makes one.
            limits: on requests.
            options: more of uvicorn's.
        """
        super().__init__(
            app,
            http=GuardedProtocol,
            ws="websockets-sansio",
            ws_max_size=limits.body_bytes,
            ws_max_queue=2,
            # Compressed messages could be much larger than what was sent.
            ws_per_message_deflate=False,
            h11_max_incomplete_event_size=limits.header_bytes,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=int(limits.drain_seconds) + 1,
            **options,
        )
        self.limits = limits


class GuardedProtocol(H11Protocol):
    """A connection that ends if a request does not arrive in time, and that is refused if there are too many."""

    _timer: asyncio.TimerHandle | None = None

    @property
    def _limits(self) -> Limits:
        assert isinstance(self.config, ServerConfig)
        return self.config.limits

    def connection_made(self, transport: Any) -> None:
        """Begin a connection."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(Problem("too-many-connections", "the server has too many connections; try again later"))
            return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request; the time for it begins with its first byte."""
        if self.transport.is_closing():
            return
        self._start_timer()
        super().data_received(data)
        state = self.conn.their_state
        is_waiting = state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0])
        if not is_waiting:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection over; WebSockets have limits of their own."""
        self._stop_timer()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or has too large headers."""
        self._refuse(Problem("malformed-request", "this is not an HTTP/1.1 request, or its headers are too large"))

    def _refuse(self, problem: Problem) -> None:
        content = json.dumps(problem.document("")).encode("ascii")
        lines = [
            f"HTTP/1.1 {problem.status} {problem.title}",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(content)}",
            "Connection: close",
            *(["Retry-After: 1"] if problem.status == 503 else []),
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii") + content)
        self.transport.close()

    def _start_timer(self) -> None:
        if self._timer is None:
            seconds = self._limits.upload_seconds + GRACE_SECONDS
            self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _DrainingServer(uvicorn.Server):
    """Refuses new work as soon as a signal asks the server to end."""

    def __init__(self, config: ServerConfig, application: Application) -> None:
        super().__init__(config)
        self._application = application

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        self._application.service.queue.drain()
        super().handle_exit(sig, frame)


@dataclass(frozen=True)
class AppFactory:
    """Makes the application in each worker process."""

    settings: ServerSettings

    def __call__(self) -> ASGIApp:
        """Return the application."""
        log_to_stderr()
        return create(self.settings).asgi


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: a name or address of this machine.
        port: 0 to 65535; 0 is any free one.

    Raises:
        ConfigError: the port is in use or reserved, or the address is not one of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"--host {host}: is not a known name or address; use 127.0.0.1") from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigError(_cannot_listen(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: another program uses this port of {host}; choose another one, or 0 for any free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"--port {port}: permission denied; choose a port from 1024 on"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: is not an address of this machine; use 127.0.0.1, or 0.0.0.0 for all of its addresses"
    return f"--host {host} --port {port}: cannot be used ({error.strerror})"


def address_of(listener: socket.socket) -> str:
    """Return the URL under which a socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"


def run(settings: ServerSettings, listener: socket.socket, workers: int = 1) -> None:
    """Serve until a signal ends the server. Accepted requests are finished first.

    Args:
        settings: of the server.
        listener: see `listen`.
        workers: number of processes, each with its own models.

    Raises:
        YosoError: a model cannot be loaded.
    """
    log_to_stderr()
    if settings.threads * workers > 1:
        cores = len(os.sched_getaffinity(0))
        os.environ.setdefault(THREADS, str(max(1, cores // (settings.threads * workers))))
    if workers == 1:
        _run_here(settings, listener)
        return
    _check_models(settings)
    with tempfile.TemporaryDirectory(prefix="yoso-metrics-") as folder:
        os.environ.setdefault(PROCESSES_FOLDER, folder)
        config = ServerConfig(AppFactory(settings), settings.limits, factory=True, workers=workers)
        Multiprocess(config, sockets=[listener]).run()


def _run_here(settings: ServerSettings, listener: socket.socket) -> None:
    failures: list[Exception] = []

    def fail(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    application = create(settings, fail)
    server = _DrainingServer(ServerConfig(application.asgi, settings.limits), application)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again after it has ended well
        server.run(sockets=[listener])
    if failures:
        raise failures[0]


def _check_models(settings: ServerSettings) -> None:
    """Load each model once, so that an error is told once rather than by every process.

    Raises:
        YosoError: a model cannot be loaded.
    """
    failures: list[Exception] = []
    models = Models(settings.sources, settings.options)
    models.start(failures.append)
    models.wait()
    if failures:
        raise failures[0]
