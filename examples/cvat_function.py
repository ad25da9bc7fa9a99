"""Annotates CVAT tasks with masks from a running `yoso serve`.

    pip install cvat-cli
    yoso serve &
    cvat-cli task auto-annotate TASK_ID --function-file examples/cvat_function.py -p url=str:http://127.0.0.1:8000

The labels of the task must have the names of the model's classes. Parameters: `url` of the server, `model`, `key`.
"""

import base64
import io
import json
import urllib.request

import cvat_sdk.auto_annotation as cvataa
import numpy as np
from cvat_sdk.masks import encode_mask
from PIL import Image


class Server:
    """A function for CVAT that asks the server.

    Attributes:
        spec: the classes of the model.
    """

    def __init__(self, url: str, model: str, key: str) -> None:
        """Ask the server for its models.

        Args:
            url: of the server.
            model: name; empty for the server's first one.
            key: of the API, or empty.
        """
        self._url, self._headers = url.rstrip("/"), {"X-API-Key": key} if key else {}
        models = self._answer(urllib.request.Request(f"{self._url}/v1/models", headers=self._headers))["models"]
        (found,) = [one for one in models if (one["name"] == model if model else one["is_default"])]
        self._model = found["name"]
        labels = [cvataa.label_spec(one["label"], one["label_id"], type="mask") for one in found["classes"]]
        self.spec = cvataa.DetectionFunctionSpec(labels=labels)

    def detect(self, context: cvataa.DetectionFunctionContext, image: Image.Image) -> list:
        """Return the segments of an image as masks.

        Args:
            context: CVAT's settings for this task.
            image: to annotate.
        """
        query = f"model={self._model}&output=panoptic_png"
        if context.conf_threshold is not None:
            query += f"&object_mask_threshold={context.conf_threshold}"
        stream = io.BytesIO()
        image.convert("RGB").save(stream, format="PNG", compress_level=1)
        headers = {**self._headers, "Content-Type": "image/png"}
        request = urllib.request.Request(f"{self._url}/v1/panoptic?{query}", stream.getvalue(), headers)
        answer = self._answer(request)
        with Image.open(io.BytesIO(base64.b64decode(answer["panoptic_png"]))) as picture:
            rgb = np.asarray(picture).astype(np.int32)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        return [
            cvataa.mask(info["label_id"], encode_mask(ids == info["id"], _corners(info["bbox"])))
            for info in answer["segments_info"]
        ]

    def _answer(self, request: urllib.request.Request) -> dict:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)


def _corners(bbox: list[int]) -> list[int]:
    x, y, width, height = bbox
    return [x, y, x + width, y + height]


def create(url: str = "http://127.0.0.1:8000", model: str = "", key: str = "") -> Server:
    """Return the function; CVAT calls this with the parameters of the command line."""
    return Server(url, model, key)
