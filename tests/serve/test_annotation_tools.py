"""Label Studio's requests, as it sends them, and the CVAT function with CVAT's own types."""

import base64
import importlib.util
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_server import quick_predictor, small_image

from yoso.files import read_upload
from yoso.serve.masks import brush_rle

ROOT = Path(__file__).parents[2]
IMAGE = small_image()
CONFIG = """<View>
  <Image name="photo" value="$image" zoom="true"/>
  <BrushLabels name="tag" toName="photo">
    <Label value="Square" background="#f00"/>
    <Label value="sky"/>
  </BrushLabels>
</View>"""


def task(text):
    return {"id": 12, "data": {"image": text}, "meta": {}, "annotations": [], "predictions": []}


def body(*texts, config=CONFIG):
    return {"tasks": [task(text) for text in texts], "label_config": config, "project": "3.1700000000", "params": {}}


URI = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"


def test_label_studio(client, engine):
    assert client.get("/label-studio/health").json()["status"] == "UP"
    setup = {"project": "3.17", "schema": CONFIG, "hostname": "http://localhost:8080", "access_token": "x"}
    assert client.post("/label-studio/setup", json=setup).json() == {"model_version": "quick"}
    results = client.post("/label-studio/predict", json=body(URI, URI)).json()["results"]
    assert len(results) == 2
    expected = quick_predictor(engine)(read_upload(IMAGE))
    wanted = [info for info in expected["segments_info"] if info["label"] in {"square", "sky"}]
    assert len(wanted) == 3
    for info, region in zip(wanted, results[0]["result"], strict=True):
        assert (region["from_name"], region["to_name"], region["type"]) == ("tag", "photo", "brushlabels")
        assert (region["original_width"], region["original_height"]) == (40, 30)
        assert region["value"]["format"] == "rle"
        assert region["value"]["brushlabels"] == [{"square": "Square", "sky": "sky"}[info["label"]]]
        assert region["value"]["rle"] == brush_rle(expected["segmentation"] == info["id"])
    assert results[0]["model_version"] == "quick"


@pytest.mark.parametrize(
    "text", ["http://localhost/x.png", "/data/local-files/?d=x.png", "file:///etc/passwd", "", None]
)
def test_label_studio_images_are_never_fetched(client, text):
    response = client.post("/label-studio/predict", json=body(text))
    assert response.status_code == 422
    assert "nothing is fetched" in response.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"label_config": CONFIG, "tasks": 5}, 400),
        (body(URI, config="<View/>"), 422),
        (body(URI, config="<BrushLabels name='a' toName='b'/>"), 422),
        (body("data:image/png;base64,xx"), 400),
        ({"label_config": CONFIG, "tasks": [5]}, 422),
        ({"label_config": CONFIG, "tasks": [{}] * 17}, 400),
    ],
)
def test_label_studio_requests_that_are_wrong(client, content, status):
    assert client.post("/label-studio/predict", json=content).status_code == status


def test_cvat(server, engine):
    cvataa = pytest.importorskip("cvat_sdk.auto_annotation")
    spec = importlib.util.spec_from_file_location("cvat_function", ROOT / "examples" / "cvat_function.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = module.create(url=server[0], model="other")
    assert isinstance(function.spec, cvataa.DetectionFunctionSpec)
    assert [(label.name, label.id, label.type) for label in function.spec.labels] == [
        ("square", 0, "mask"),
        ("sky", 1, "mask"),
        ("ground", 2, "mask"),
    ]

    class Context:
        conf_threshold = 0.6

    with Image.open(BytesIO(IMAGE)) as image:
        shapes = function.detect(Context(), image)
    expected = quick_predictor(engine)(read_upload(IMAGE), object_mask_threshold=0.6)
    assert len(shapes) == len(expected["segments_info"]) == 3
    for shape, info in zip(shapes, expected["segments_info"], strict=True):
        *runs, left, top, right, bottom = (int(value) for value in shape["points"])
        assert (shape["label_id"], [left, top, right - left + 1, bottom - top + 1]) == (info["label_id"], info["bbox"])
        mask = np.repeat(np.arange(len(runs)) % 2, runs).reshape(bottom - top + 1, right - left + 1)
        assert mask.sum() == info["area"]
