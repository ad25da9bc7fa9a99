"""What is checked of every request before anything else happens. Paths come from the scope, as the router sees them."""

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yoso.serve.metrics import Metrics
from yoso.serve.problems import Problem, busy
from yoso.serve.records import problem_response, refuse
from yoso.serve.settings import Limits, ServerSettings

_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")

READING = {"GET", "HEAD", "OPTIONS"}


class Guard:
    """Middleware that refuses what the settings do not allow.

    It checks, in this order: number of requests in progress, size of the headers, Host header, web origin, API key,
    Content-Encoding, size and duration of the body; and it gives up on clients that do not read their response.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics, public: Collection[str]) -> None:
        """Wrap an application.

        Args:
            app: to wrap.
            settings: hosts, origins, key and limits.
            metrics: to record in.
            public: paths that need no key.
        """
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._public = frozenset(public)
        self._num_active = 0
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; see ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        limits = self._settings.limits
        connection = HTTPConnection(scope)
        try:
            self._check(connection)
        except Problem as problem:
            await refuse(connection, problem_response(connection, problem, self._metrics), receive, send)
            return
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._held_bytes += size
            if self._held_bytes > limits.all_bodies_bytes:
                raise busy("too-many-connections", "all requests in progress are too large together; try again later")

        self._num_active += 1
        self._metrics.connections.inc()
        try:
            if scope["type"] == "http":
                await self._app(scope, _limited(receive, limits, hold), _timed(send, limits))
            else:
                await self._app(scope, receive, send)
        finally:
            self._num_active -= 1
            self._held_bytes -= held
            self._metrics.connections.dec()

    def _check(self, connection: HTTPConnection) -> None:
        limits = self._settings.limits
        if self._num_active >= limits.connections:
            raise busy("too-many-connections", f"{limits.connections} requests are in progress; try again later")
        _check_header_size(connection.scope, limits)
        check_host(connection.headers.getlist("host"), self._settings.hosts)
        self._check_origin(connection)
        self._check_key(connection)
        _check_body_headers(connection, limits)

    def _check_origin(self, connection: HTTPConnection) -> None:
        """Refuse what other web sites make a browser do, unless they are allowed to."""
        origin = connection.headers.get("origin")
        if origin is None or (connection.scope.get("method") in READING):
            return
        is_own = urlsplit(origin).netloc.lower() == connection.headers.get("host", "").lower() != ""
        if not is_own and origin not in self._settings.origins:
            raise Problem(
                "forbidden-origin", f"the origin {origin[:100]!r} is not allowed; start with --origin to allow it"
            )

    def _check_key(self, connection: HTTPConnection) -> None:
        key = self._settings.key
        if key is None or connection.scope["path"] in self._public or connection.scope.get("method") == "OPTIONS":
            return
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else connection.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), key.encode("utf-8")):
            detail = "send the API key in the header X-API-Key, or as Authorization: Bearer KEY"
            raise Problem("unauthorized", detail, {"WWW-Authenticate": "Bearer"})


def check_host(hosts: list[str], allowed: Collection[str]) -> None:
    """Check the Host header. A web site that points its own name at this machine cannot use the server.

    Args:
        hosts: all Host headers of the request.
        allowed: names besides localhost. IP addresses are always allowed, because no web site can take one over.

    Raises:
        Problem: there is not exactly one, or it has another name.
    """
    found = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    if found and (found["name"] == "localhost" or found["name"] in allowed or _is_address(found["name"])):
        return
    given = ", ".join(hosts)[:100]
    raise Problem("unknown-host", f"the Host header {given!r} is not known here; start with --allow-host to allow it")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _check_header_size(scope: Scope, limits: Limits) -> None:
    """Check the size of complete headers; the protocol stops incomplete ones."""
    size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size + len(scope.get("raw_path") or b"") + len(scope["query_string"]) > limits.header_bytes:
        raise Problem("headers-too-large", f"the headers have more than {limits.header_bytes:,} bytes; send fewer")


def _check_body_headers(connection: HTTPConnection, limits: Limits) -> None:
    encoding = connection.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(
            "unsupported-media-type", f"the body has Content-Encoding {encoding[:40]!r}; send it uncompressed"
        )
    length = connection.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise _too_large(limits)


def _too_large(limits: Limits) -> Problem:
    return Problem("too-large", f"the body has more than {limits.body_bytes / 1e6:g} MB; send a smaller image")


def _limited(receive: Receive, limits: Limits, hold: Callable[[int], None]) -> Receive:
    """Count the bytes of a body, and limit the time it takes to arrive.

    Args:
        receive: of ASGI.
        limits: of one body.
        hold: called with the size of each part; it refuses what is too much together with other requests.
    """
    received = 0
    is_complete = False
    end = asyncio.get_running_loop().time() + limits.upload_seconds

    async def limited() -> Message:
        nonlocal received, is_complete
        if is_complete:
            return await receive()
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            detail = f"the body did not arrive within {limits.upload_seconds:g} seconds"
            raise Problem("upload-timeout", detail, {"Connection": "close"}) from None
        size = len(message.get("body", b""))
        received += size
        hold(size)
        is_complete = not message.get("more_body", False)
        if received > limits.body_bytes:
            raise _too_large(limits)
        return message

    return limited


def _timed(send: Send, limits: Limits) -> Send:
    """Give up on a client that does not read."""

    async def timed(message: Message) -> None:
        try:
            async with asyncio.timeout(limits.upload_seconds):
                await send(message)
        except TimeoutError:
            raise Problem("client-closed", "the client does not read its response") from None

    return timed
