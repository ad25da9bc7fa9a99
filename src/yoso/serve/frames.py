"""`/v1/video`: a WebSocket that takes the frames of a video and gives segments with identities."""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.websockets import WebSocket

from yoso.errors import ConfigError
from yoso.inference.predictor import Predictor, Result
from yoso.serve.options import SegmentOptions, read_options
from yoso.serve.problems import as_problem
from yoso.serve.records import problem_response, request_id
from yoso.serve.results import described
from yoso.serve.service import Service
from yoso.serve.uploads import query_options
from yoso.tracking.tracker import Tracker
from yoso.values import flag

router = APIRouter()

log = logging.getLogger("yoso.serve")

TRACKING = "tracking"
INTERNAL_ERROR = 500
WRONG_DATA, TOO_SLOW = 1003, 1008
"""Codes of WebSocket."""


@dataclass(frozen=True)
class VideoRequest:
    """What a client asks for.

    Attributes:
        id: of the connection, in logs and problem documents.
        options: of every frame.
        tracker: gives segments their identities, if the client wants them.
    """

    id: str
    options: SegmentOptions
    tracker: Tracker | None
    _lock: Lock = field(default_factory=Lock)

    def tracked(self, result: Result) -> Result:
        """Return the result of the next frame, with identities if the client wants them."""
        if self.tracker is None:
            return result
        with self._lock:  # a frame that was not finished in time may still run beside the next one
            return self.tracker.update(result)


@router.websocket("/v1/video")
async def video(socket: WebSocket) -> None:
    """Segment frames: each binary message is an image file, and its answer is a text message with JSON.

    The query holds the options of `/v1/panoptic`, and `tracking=false` for no identities. An answer is a result with
    the number of the frame, or a problem document with it; frames that follow a problem are segmented as usual.
    """
    service: Service = socket.app.state.service
    try:
        request = _read_query(socket)
        service.models.get(request.options.model)
    except Exception as error:
        await socket.send_denial_response(problem_response(socket, as_problem(error), service.metrics))
        return
    await socket.accept()
    number = 0
    while (content := await _next_frame(socket, service.limits.upload_seconds)) is not None:
        await socket.send_text(await _answer(service, content, request, number))
        number += 1


def _read_query(socket: WebSocket) -> VideoRequest:
    """Return what the client asks for.

    Raises:
        Problem: an option is given twice.
        ConfigError: an option is unknown or has a wrong value, or SciPy is not installed.
    """
    given = query_options(socket)
    text = given.pop(TRACKING, "true")
    is_tracking = flag(text)
    if is_tracking is None:
        raise ConfigError(f"{TRACKING} is {text!r}; give true or false")
    return VideoRequest(request_id(socket), read_options(given), Tracker() if is_tracking else None)


async def _next_frame(socket: WebSocket, seconds: float) -> bytes | None:
    """Return the next frame; None if the client closed the connection, or if it was closed because of the client."""
    try:
        async with asyncio.timeout(seconds):
            message = await socket.receive()
    except TimeoutError:
        await socket.close(TOO_SLOW, f"no frame for {seconds:g} seconds")
        return None
    if message["type"] == "websocket.disconnect":
        return None
    if message.get("bytes") is None:
        await socket.close(WRONG_DATA, "send image files as binary messages")
        return None
    return message["bytes"]


async def _answer(service: Service, content: bytes, request: VideoRequest, number: int) -> str:
    """Segment a frame; return its JSON."""
    options = request.options

    def finish(name: str, predictor: Predictor, pixels: np.ndarray, result: Result) -> dict[str, Any]:
        return {"model": name, **described(pixels, request.tracked(result), predictor.categories, options.outputs)}

    try:
        found = await service.segment(options.model, content, options.settings, finish)
        return json.dumps({"frame": number, **found})
    except Exception as error:
        problem = as_problem(error)
        service.metrics.rejected(problem.kind)
        if problem.status == INTERNAL_ERROR:
            log.error("unexpected error", exc_info=error, extra={"facts": {"request_id": request.id}})
        return json.dumps({"frame": number, **problem.document(request.id)})
