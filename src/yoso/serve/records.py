"""The outermost layer: request ids, structured logs, figures, security headers, and errors as problem documents."""

import json
import logging
import re
import sys
import time
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from yoso.serve.metrics import Metrics
from yoso.serve.page import CONTENT_SECURITY_POLICY, ISOLATION_HEADERS
from yoso.serve.problems import CLIENT_CLOSED, Problem, as_problem

log = logging.getLogger("yoso.serve")

REQUEST_ID = "X-Request-ID"
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY_HEADERS = {
    "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'",
    **ISOLATION_HEADERS,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response. Scripts come from files alone; the page needs WebAssembly and cross-origin isolation."""


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; `facts`, a dictionary in the record's `extra`, becomes part of the object."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            content["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(content)


def log_to_stderr() -> None:
    """Send the logs of the server and of uvicorn to standard error, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("yoso.serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    log.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def request_id(connection: HTTPConnection) -> str:
    """Return the id of a request, which logs, responses and problem documents share."""
    return getattr(connection.state, "request_id", "")


def problem_response(connection: HTTPConnection, problem: Problem, metrics: Metrics) -> Response:
    """Count a refused request, and return its response."""
    metrics.rejected(problem.kind)
    return problem.response(request_id(connection))


class Records:
    """Middleware around everything else."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an application.

        Args:
            app: to wrap.
            metrics: to record in.
        """
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; see ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        given = connection.headers.get(REQUEST_ID, "")
        connection.state.request_id = own = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        statuses: list[int] = []

        async def recorded(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                statuses.append(message["status"])
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = own
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            elif message["type"] == "websocket.accept":
                statuses.append(101)
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, receive, recorded)
        except Exception as error:
            problem = as_problem(error)
            if problem.status == 500:
                log.error("unexpected error", exc_info=error, extra={"facts": {"request_id": own}})
            if not statuses:
                await refuse(connection, problem_response(connection, problem, self._metrics), receive, recorded)
        finally:
            self._record(scope, statuses[0] if statuses else CLIENT_CLOSED, time.perf_counter() - start, own)

    def _record(self, scope: Scope, status: int, seconds: float, own: str) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope.get("method", "WEBSOCKET")
        method = method if method in {"GET", "HEAD", "POST", "OPTIONS", "WEBSOCKET"} else "other"
        self._metrics.request(route, method, status, seconds)
        facts = {
            "request_id": own,
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
            "client": (scope.get("client") or ("",))[0],
        }
        log.info("request", extra={"facts": facts})


async def refuse(connection: HTTPConnection, response: Response, receive: Receive, send: Send) -> None:
    """Answer a request, or refuse a WebSocket before it is open."""
    if connection.scope["type"] == "http":
        await response(connection.scope, receive, send)
        return
    await WebSocket(connection.scope, receive, send).send_denial_response(response)


def unexpected(request: Request, error: Exception) -> Response:
    """Return the response to an error that nothing else handled; `Records` logs it."""
    return as_problem(error).response(request_id(request))
