"""Errors as RFC 9457 problem documents: every response that is not a success has one."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from yoso.errors import ConfigError, ImageError, YosoError

MEDIA_TYPE = "application/problem+json"
CLIENT_CLOSED = 499
"""Status in logs and metrics of a request whose client went away; nobody receives it."""

TITLES = {
    "malformed-request": (400, "The request is malformed"),
    "unknown-host": (400, "The Host header is not one of this server's names"),
    "unauthorized": (401, "The API key is missing or wrong"),
    "forbidden-origin": (403, "This web origin may not call the server"),
    "not-found": (404, "There is no such page"),
    "unknown-model": (404, "The model is not served here"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "upload-timeout": (408, "The request took too long to arrive"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The media type is not supported"),
    "invalid-option": (422, "An option is not valid"),
    "unreadable-image": (422, "The image cannot be used"),
    "queue-full": (429, "The server is busy"),
    "client-closed": (CLIENT_CLOSED, "The client closed the connection"),
    "headers-too-large": (431, "The headers are too large"),
    "internal-error": (500, "The server failed"),
    "loading": (503, "The model is loading"),
    "model-failed": (503, "The model could not be loaded"),
    "draining": (503, "The server is shutting down"),
    "too-many-connections": (503, "The server has too many connections"),
    "deadline-exceeded": (503, "The request was not finished in time"),
}
"""Status and title of each kind of problem; its `type` is `urn:yoso:KIND`."""


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """A request that is answered with a problem document."""

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Describe what is wrong with one request.

        Args:
            kind: a key of `TITLES`.
            detail: one line: what is wrong, and what to do.
            headers: further headers of the response.
        """
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = TITLES[kind]
        self.detail = detail
        self.headers = dict(headers or {})

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the problem document; `error` is for clients of the Open Inference Protocol."""
        return {
            "type": f"urn:yoso:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "error": self.detail,
            "request_id": request_id,
        }

    def response(self, request_id: str) -> Response:
        """Return the response with the problem document."""
        content = json.dumps(self.document(request_id))
        return Response(content, self.status, self.headers, MEDIA_TYPE)


def busy(kind: str, detail: str, seconds: int = 1) -> Problem:
    """Return a problem that goes away by itself: the client may try again after some seconds."""
    return Problem(kind, detail, {"Retry-After": str(seconds)})


def as_problem(error: Exception) -> Problem:
    """Return the problem that an error of this package stands for; an unknown error is the server's own."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ImageError):
        is_too_large = any(words in str(error) for words in ("not enough memory", "megapixels"))
        return Problem("too-large" if is_too_large else "unreadable-image", str(error))
    if isinstance(error, ConfigError):
        return Problem("invalid-option", str(error))
    if isinstance(error, YosoError):
        return Problem("malformed-request", str(error))
    return Problem("internal-error", "an unexpected error occurred; the server's log has the details")


def http_problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem for an error of the framework, such as 404 or 405."""
    kind = {404: "not-found", 405: "method-not-allowed"}.get(status, "malformed-request")
    return Problem(kind, detail or HTTPStatus(status).phrase, headers)
