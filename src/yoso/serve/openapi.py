"""The API's description: schemas, parameters, request bodies and problem responses, in OpenAPI 3.1."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from yoso.serve import problems
from yoso.serve.results import OUTPUTS, TASKS
from yoso.serve.uploads import IMAGE, RAW_TYPES

Schema = dict[str, Any]

SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
PNG: Schema = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
SEGMENT_EXAMPLE = {
    "id": 1,
    "label_id": 11,
    "label": "window",
    "is_thing": True,
    "score": 0.93,
    "area": 1840,
    "bbox": [212, 80, 40, 46],
}


def _object(properties: dict[str, Schema], required: list[str] | None = None, **more: Any) -> Schema:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": needed, **more}


OPTIONS: dict[str, Schema] = {
    "model": {"type": "string", "description": "name of a model; by default, the server's first one"},
    "object_mask_threshold": SHARE | {"description": "minimum class score of a query; by default, the model's"},
    "overlap_threshold": SHARE
    | {"description": "minimum share of a mask that must stay visible; by default, the model's"},
    "input_size": {
        "type": "string",
        "pattern": "^([1-9][0-9]{0,4}(x[1-9][0-9]{0,4})?|native)$",
        "description": "SHORTER, SHORTERxLONGEST in pixels, or native; by default, the model's",
    },
    "output": {
        "type": "string",
        "pattern": f"^({'|'.join(OUTPUTS)})(,({'|'.join(OUTPUTS)}))*$",
        "description": f"what to return, separated by commas: {', '.join(OUTPUTS)}",
    },
}

SCHEMAS: dict[str, Schema] = {
    "Problem": _object(
        {
            "type": {"type": "string", "enum": [f"urn:yoso:{kind}" for kind in problems.TITLES]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "error": {"type": "string", "description": "the detail, as the Open Inference Protocol names it"},
            "request_id": {"type": "string"},
        },
        description="An RFC 9457 problem document.",
        example={
            "type": "urn:yoso:unreadable-image",
            "title": "The image cannot be used",
            "status": 422,
            "detail": "image: is damaged and cannot be read as an image (image file is truncated); replace it",
            "error": "image: is damaged and cannot be read as an image (image file is truncated); replace it",
            "request_id": "5d7f9f2e8f3f4c0f9d7b6f3f7a1b2c3d",
        },
    ),
    "Segment": _object(
        {
            "id": COUNT | {"description": "value in the panoptic PNG; semantic: label_id + 1"},
            "label_id": COUNT | {"description": "class index of the model"},
            "label": {"type": "string"},
            "is_thing": {"type": "boolean"},
            "score": SHARE,
            "area": COUNT | {"description": "in pixels"},
            "bbox": {"type": "array", "items": COUNT, "minItems": 4, "maxItems": 4, "description": "x, y, w, h"},
            "polygons": {
                "type": "array",
                "items": {"type": "array", "items": COUNT},
                "description": "outlines [x1, y1, x2, y2, ...] in pixel edges; holes run counterclockwise",
            },
            "rle": _object(
                {"size": {"type": "array", "items": COUNT}, "counts": {"type": "string"}},
                description="COCO's compressed run lengths; size is [height, width]",
            ),
        },
        list(SEGMENT_EXAMPLE),
        example=SEGMENT_EXAMPLE,
    ),
    "Result": _object(
        {
            "model": {"type": "string"},
            "task": {"type": "string", "enum": list(TASKS)},
            "image_size": _object({"height": COUNT, "width": COUNT}),
            "segments_info": {"type": "array", "items": {"$ref": "#/components/schemas/Segment"}},
            "panoptic_png": PNG | {"description": "segment ids as R + 256 G + 65536 B; 0 is void"},
            "overlay_png": PNG,
        },
        ["model", "task", "image_size", "segments_info"],
    ),
    "Model": _object(
        {
            "name": {"type": "string"},
            "state": {"type": "string", "enum": ["loading", "ready", "failed"]},
            "is_default": {"type": "boolean"},
            "runtime": {"type": "string"},
            "device": {"type": "string"},
            "object_mask_threshold": SHARE,
            "overlap_threshold": SHARE,
            "input_size": {"oneOf": [{"type": "array", "items": COUNT}, {"const": "native"}]},
            "license": {"type": ["string", "null"]},
            "classes": {
                "type": "array",
                "items": _object(
                    {
                        "label_id": COUNT,
                        "label": {"type": "string"},
                        "is_thing": {"type": "boolean"},
                        "color": {"type": "array", "items": COUNT, "minItems": 3, "maxItems": 3},
                    }
                ),
            },
        },
        ["name", "state", "is_default"],
    ),
    "Models": _object({"models": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}),
}

PARAMETERS = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in OPTIONS.items()]

IMAGE_BODY: Schema = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": _object(
                {IMAGE: {"type": "string", "contentMediaType": "application/octet-stream"}, **OPTIONS},
                [IMAGE],
                additionalProperties=False,
            )
        },
        "application/json": {
            "schema": _object(
                {IMAGE: {"type": "string", "contentEncoding": "base64"}, **OPTIONS},
                [IMAGE],
                additionalProperties=False,
            ),
            "example": {IMAGE: "iVBORw0KGgo...", "output": "panoptic_png,rle"},
        },
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in RAW_TYPES},
    },
}


def refers(name: str) -> Schema:
    """Return the reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def responses(success: Schema, *kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the responses of an operation.

    Args:
        success: content of the response 200 by media type.
        kinds: of problems, keys of `problems.TITLES`; those that any request can have are added.
    """
    found: dict[int | str, dict[str, Any]] = {200: {"description": "success", "content": success}}
    everywhere = (
        "headers-too-large",
        "unknown-host",
        "unauthorized",
        "forbidden-origin",
        "too-large",
        "unsupported-media-type",
    )
    for kind in (*everywhere, "upload-timeout", "too-many-connections", "internal-error", *kinds):
        status, title = problems.TITLES[kind]
        content = {problems.MEDIA_TYPE: {"schema": refers("Problem")}}
        found.setdefault(status, {"description": title, "content": content})
    for status in (429, 503):
        if status in found:
            header = {"description": "seconds to wait", "schema": COUNT}
            found[status]["headers"] = {"Retry-After": header}
    return found


def describe(app: FastAPI, has_key: bool) -> None:
    """Give an application its OpenAPI document.

    Args:
        app: with all its routes.
        has_key: clients must send a key.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            content = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = content.setdefault("components", {})
            components["schemas"] = SCHEMAS
            if has_key:
                components["securitySchemes"] = {
                    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                    "bearer": {"type": "http", "scheme": "bearer"},
                }
                content["security"] = [{"key": []}, {"bearer": []}]
            app.openapi_schema = content
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
