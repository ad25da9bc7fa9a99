"""The API of this project: `/v1/panoptic`, `/v1/semantic`, `/v1/instance` and `/v1/models`."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from yoso.inference.predictor import Predictor, Result
from yoso.serve.openapi import IMAGE_BODY, PARAMETERS, refers, responses
from yoso.serve.options import read_options
from yoso.serve.problems import Problem
from yoso.serve.results import as_task, described
from yoso.serve.service import Service
from yoso.serve.uploads import read_request

T = TypeVar("T")

router = APIRouter()

JSON = "application/json"
SEGMENT_RESPONSES = responses(
    {JSON: {"schema": refers("Result")}},
    *("malformed-request", "unknown-model", "invalid-option", "unreadable-image", "queue-full", "deadline-exceeded"),
)
SEGMENT_EXTRA = {"requestBody": IMAGE_BODY, "parameters": PARAMETERS}


def service_of(request: Request) -> Service:
    """Return the service of the application that handles a request."""
    return request.app.state.service


async def unless_disconnected(request: Request, result: Coroutine[Any, Any, T]) -> T:
    """Wait for a result, and cancel it if the client goes away.

    Args:
        request: whose body was read to its end.
        result: to wait for.

    Raises:
        Problem: the client went away.
    """
    task = asyncio.ensure_future(result)
    watcher = asyncio.ensure_future(_disconnection(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem("client-closed", "the client closed the connection")
        return task.result()
    finally:
        watcher.cancel()
        task.cancel()


async def _disconnection(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _segment(request: Request, task: str) -> Response:
    service = service_of(request)
    image, given = await read_request(request, service.limits)
    options = read_options(given)

    def finish(name: str, predictor: Predictor, pixels: np.ndarray, result: Result) -> bytes:
        content = described(pixels, as_task(result, task), predictor.categories, options.outputs)
        return json.dumps({"model": name, "task": task, **content}).encode("ascii")

    done = service.segment(options.model, image, options.settings, finish)
    return Response(await unless_disconnected(request, done), media_type=JSON)


@router.post("/v1/panoptic", responses=SEGMENT_RESPONSES, openapi_extra=SEGMENT_EXTRA, tags=["segment"])
async def panoptic(request: Request) -> Response:
    """Segment an image: every pixel gets a class, every object an id."""
    return await _segment(request, "panoptic")


@router.post("/v1/semantic", responses=SEGMENT_RESPONSES, openapi_extra=SEGMENT_EXTRA, tags=["segment"])
async def semantic(request: Request) -> Response:
    """Segment an image into classes: one segment per class, with the id `label_id` + 1."""
    return await _segment(request, "semantic")


@router.post("/v1/instance", responses=SEGMENT_RESPONSES, openapi_extra=SEGMENT_EXTRA, tags=["segment"])
async def instance(request: Request) -> Response:
    """Find the objects in an image: the things of the panoptic result."""
    return await _segment(request, "instance")


@router.get("/v1/models", responses=responses({JSON: {"schema": refers("Models")}}), tags=["models"])
async def models(request: Request) -> JSONResponse:
    """List the models, with their classes, thresholds and state; the default one first."""
    return JSONResponse({"models": service_of(request).models.described()})
