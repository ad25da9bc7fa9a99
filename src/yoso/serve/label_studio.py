"""Label Studio's ML backend: predictions as brush masks. Tasks hold their images as data URIs; nothing is fetched."""

import re
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from yoso.inference.predictor import Predictor, Result
from yoso.serve.api import JSON, service_of, unless_disconnected
from yoso.serve.masks import brush_rle
from yoso.serve.openapi import responses
from yoso.serve.problems import Problem
from yoso.serve.uploads import from_base64, query_options, read_json_object

router = APIRouter(prefix="/label-studio", tags=["Label Studio"])

OBJECT = {JSON: {"schema": {"type": "object"}}}
BODY = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "properties": {
                    "label_config": {"type": "string"},
                    "tasks": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"data": {"type": "object"}},
                            "required": ["data"],
                        },
                    },
                },
                "required": ["label_config", "tasks"],
            }
        }
    },
}
MAX_TASKS = 16
_TAG = re.compile(r"<\s*(BrushLabels|Label|Image)\b([^<>]*)>")
_ATTRIBUTE = re.compile(r"([A-Za-z]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


@router.get("/health", responses=responses(OBJECT, "loading"))
async def health(request: Request) -> JSONResponse:
    """Say that the backend is ready."""
    name, _ = service_of(request).models.get()
    return JSONResponse({"status": "UP", "model_class": name})


@router.post("/setup", responses=responses(OBJECT, "malformed-request", "loading"), openapi_extra={"requestBody": BODY})
async def setup(request: Request) -> JSONResponse:
    """Accept a project; its label configuration comes again with every prediction."""
    service = service_of(request)
    await read_json_object(request, service.limits)
    name, _ = service.models.get()
    return JSONResponse({"model_version": name})


@router.post(
    "/predict",
    responses=responses(
        OBJECT, "malformed-request", "invalid-option", "unreadable-image", "unknown-model", "queue-full", "loading"
    ),
    openapi_extra={"requestBody": BODY},
)
async def predict(request: Request) -> JSONResponse:
    """Segment the images of some tasks; `?model=NAME` chooses the model."""
    service = service_of(request)
    given = query_options(request)
    if unknown := given.keys() - {"model"}:
        raise Problem("invalid-option", f"unknown option {min(unknown)[:40]!r}; there is only 'model'")
    body = await read_json_object(request, service.limits)
    config, tasks = body.get("label_config"), body.get("tasks")
    if not isinstance(config, str) or not isinstance(tasks, list) or len(tasks) > MAX_TASKS:
        raise Problem("malformed-request", f"give 'label_config', a text, and 'tasks', a list of at most {MAX_TASKS}")
    brush = Brush(config)
    results = []
    for task in tasks:
        image = _image_of(task, brush.variable)
        results.append(await unless_disconnected(request, service.segment(given.get("model"), image, {}, brush.drawn)))
    return JSONResponse({"results": results})


def _image_of(task: Any, variable: str) -> bytes:
    data = task.get("data") if isinstance(task, dict) else None
    text = data.get(variable) if isinstance(data, dict) else None
    head, _, content = text.partition(",") if isinstance(text, str) else ("", "", "")
    if not re.fullmatch(r"data:image/[a-z+.-]+;base64", head):
        raise Problem("invalid-option", f"a task's {variable[:40]!r} is not a data URI of an image; nothing is fetched")
    return from_base64(content)


class Brush:
    """The part of a label configuration that masks go to.

    Attributes:
        variable: of a task's data that holds the image.
    """

    def __init__(self, config: str) -> None:
        """Find the tags `Image`, `BrushLabels` and `Label` in a label configuration.

        Raises:
            Problem: a tag or one of its attributes is missing.
        """
        # Only the attributes of three tags matter, and an XML parser would expand entities.
        tags = [(kind, {n: a or b for n, a, b in _ATTRIBUTE.findall(rest)}) for kind, rest in _TAG.findall(config)]
        brushes = [own for kind, own in tags if kind == "BrushLabels"]
        images = {own.get("name"): own.get("value", "") for kind, own in tags if kind == "Image"}
        names = [own.get("value", "") for kind, own in tags if kind == "Label"]
        if not brushes or not images.get(brushes[0].get("toName"), "").startswith("$"):
            raise Problem("invalid-option", "label_config has no BrushLabels for an Image with a value $NAME")
        self._from, self._to = brushes[0].get("name", ""), brushes[0].get("toName", "")
        self.variable = images[self._to][1:]
        self._labels = {name.lower(): name for name in names}

    def drawn(self, name: str, _: Predictor, pixels: np.ndarray, result: Result) -> dict[str, Any]:
        """Return a prediction: one brush mask per segment whose class is one of the labels."""
        height, width = pixels.shape[:2]
        regions: list[dict[str, Any]] = []
        for info in result["segments_info"]:
            label = self._labels.get(info["label"].lower())
            if label is None:
                continue
            runs = brush_rle(result["segmentation"] == info["id"])
            regions.append(
                {
                    "id": str(info["id"]),
                    "from_name": self._from,
                    "to_name": self._to,
                    "type": "brushlabels",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": info["score"],
                    "value": {"format": "rle", "rle": runs, "brushlabels": [label]},
                }
            )
        scores: list[float] = [region["score"] for region in regions]
        return {"model_version": name, "score": sum(scores) / len(scores) if scores else 0.0, "result": regions}
