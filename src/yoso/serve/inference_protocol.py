"""The Open Inference Protocol (v2), for clients of KServe, Triton and OpenVINO Model Server."""

from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from yoso.errors import ConfigError, did_you_mean
from yoso.inference.predictor import Predictor, Result
from yoso.installation import installed_version
from yoso.serve.api import JSON, service_of, unless_disconnected
from yoso.serve.openapi import COUNT, responses
from yoso.serve.options import read_options
from yoso.serve.problems import busy
from yoso.serve.tensors import HEADER_LENGTH, read_inference, write_inference

router = APIRouter(tags=["Open Inference Protocol"])

VERSION = "1"
INPUTS = [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, 3]}]
OUTPUTS = {
    "segmentation": ("INT32", [-1, -1]),
    "label_ids": ("INT64", [-1]),
    "labels": ("BYTES", [-1]),
    "is_thing": ("BOOL", [-1]),
    "scores": ("FP32", [-1]),
    "areas": ("INT64", [-1]),
    "bboxes": ("INT64", [-1, 4]),
}
"""Datatype and shape of each output. Element i of all but the first describes segment i + 1."""

TENSOR = {
    "type": "object",
    "properties": {
        "name": {"const": "image"},
        "datatype": {"enum": ["UINT8", "BYTES"]},
        "shape": {"type": "array", "items": COUNT},
        "data": {"type": "array"},
        "parameters": {"type": "object"},
    },
    "required": ["name", "datatype", "shape"],
}
INFER_BODY = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "parameters": {"type": "object"},
                    "inputs": {"type": "array", "items": TENSOR, "minItems": 1, "maxItems": 1},
                    "outputs": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"name": {"enum": list(OUTPUTS)}}},
                    },
                },
                "required": ["inputs"],
            },
            "example": {
                "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 2, 3], "data": [0, 0, 0, 255, 255, 255]}]
            },
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
OBJECT = {JSON: {"schema": {"type": "object"}}}
PATHS = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


@router.get("/v2", responses=responses(OBJECT))
async def server_metadata() -> JSONResponse:
    """Return the name, version and extensions of the server."""
    content = {"name": "yoso", "version": installed_version(), "extensions": ["binary_tensor_data"]}
    return JSONResponse(content)


@router.get("/v2/health/live", responses=responses(OBJECT))
async def live() -> JSONResponse:
    """Say that the server runs."""
    return JSONResponse({"live": True})


@router.get("/v2/health/ready", responses=responses(OBJECT, "loading"))
async def ready(request: Request) -> JSONResponse:
    """Say whether all models are ready and the server is not shutting down."""
    service = service_of(request)
    if service.queue.is_draining:
        raise busy("draining", "the server is shutting down")
    for name in service.models.names:
        service.models.get(name)
    return JSONResponse({"ready": True})


async def model_metadata(request: Request, model: str, version: str = VERSION) -> JSONResponse:
    """Return the inputs and outputs of a model."""
    _check_version(version)
    service_of(request).models.state(model)
    outputs = [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in OUTPUTS.items()]
    content = {"name": model, "versions": [VERSION], "platform": "yoso", "inputs": INPUTS, "outputs": outputs}
    return JSONResponse(content)


async def model_ready(request: Request, model: str, version: str = VERSION) -> JSONResponse:
    """Say whether a model is ready."""
    _check_version(version)
    service_of(request).models.get(model)
    return JSONResponse({"name": model, "ready": True})


async def infer(request: Request, model: str, version: str = VERSION) -> Response:
    """Segment an image that is sent as a tensor: pixels, or the bytes of a file."""
    _check_version(version)
    service = service_of(request)
    sent = read_inference(await request.body(), request.headers.get(HEADER_LENGTH), service.limits)
    outputs = sent.outputs if sent.outputs is not None else dict.fromkeys(OUTPUTS, sent.is_binary)
    for name in outputs:
        if name not in OUTPUTS:
            raise ConfigError(f"unknown output {name[:40]!r}.{did_you_mean(name, OUTPUTS)}")
    options = read_options(sent.parameters)
    head: dict[str, Any] = {"model_name": model, "model_version": VERSION}
    if sent.request_id is not None:
        head["id"] = sent.request_id

    def finish(_: str, predictor: Predictor, pixels: np.ndarray, result: Result) -> tuple[bytes, int | None]:
        return write_inference(head, _arrays(result), outputs)

    done = service.segment(model, sent.image, options.settings, finish)
    body, length = await unless_disconnected(request, done)
    if length is None:
        return Response(body, media_type=JSON)
    return Response(body, headers={HEADER_LENGTH: str(length)}, media_type="application/octet-stream")


def _check_version(version: str) -> None:
    if version != VERSION:
        raise ConfigError(f"unknown version {version[:40]!r}; models have the version {VERSION}")


def _arrays(result: Result) -> dict[str, np.ndarray]:
    infos = result["segments_info"]
    return {
        "segmentation": result["segmentation"],
        "label_ids": np.array([info["label_id"] for info in infos], np.int64),
        "labels": np.array([info["label"] for info in infos], object),
        "is_thing": np.array([info["is_thing"] for info in infos], bool),
        "scores": np.array([info["score"] for info in infos], np.float32),
        "areas": np.array([info["area"] for info in infos], np.int64),
        "bboxes": np.array([info["bbox"] for info in infos], np.int64).reshape(-1, 4),
    }


for _path in PATHS:
    _unknown = ("unknown-model", "invalid-option", "loading")
    router.get(_path, responses=responses(OBJECT, *_unknown))(model_metadata)
    router.get(f"{_path}/ready", responses=responses(OBJECT, *_unknown))(model_ready)
    router.post(
        f"{_path}/infer",
        responses=responses(
            {JSON: {"schema": {"type": "object"}}, "application/octet-stream": {"schema": {"type": "string"}}},
            *("malformed-request", "unreadable-image", "queue-full", *_unknown),
        ),
        openapi_extra={"requestBody": INFER_BODY},
    )(infer)
