"""The API of this project, in process: what comes back, in every form of request."""

import base64
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_server import CATEGORIES, quick_predictor, small_image

from yoso.drawing.rendering import render
from yoso.files import read_upload, rgb_to_id
from yoso.inference.engine import Request

ROOT = Path(__file__).parents[2]
IMAGE = small_image()
RAW = {"content-type": "image/png"}


def post(client, query="", task="panoptic", image=IMAGE):
    response = client.post(f"/v1/{task}{query}", content=image, headers=RAW)
    assert response.status_code == 200, response.text
    return response.json()


def png(text):
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        return np.array(image)


def test_the_result_is_the_predictor_s(client, engine):
    result = quick_predictor(engine)(read_upload(IMAGE))
    found = post(client, "?output=panoptic_png,overlay")
    assert found["segments_info"] == result["segments_info"]
    assert (found["model"], found["task"], found["image_size"]) == ("quick", "panoptic", {"height": 30, "width": 40})
    assert (rgb_to_id(png(found["panoptic_png"])) == result["segmentation"]).all()
    infos = [info | {"color": CATEGORIES[info["label_id"]].color} for info in result["segments_info"]]
    assert (png(found["overlay_png"]) == render(read_upload(IMAGE), {**result, "segments_info": infos})).all()


@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_every_form_of_request_gives_the_same(client, task):
    options = {"model": "other", "object_mask_threshold": "0.6", "output": "panoptic_png,rle,polygons"}
    raw = client.post(f"/v1/{task}", content=IMAGE, headers=RAW, params=options)
    form = client.post(f"/v1/{task}", files={"image": ("x.png", IMAGE)}, data=options)
    body = {"image": base64.b64encode(IMAGE).decode(), **options, "object_mask_threshold": 0.6}
    assert raw.status_code == 200
    assert raw.json() == form.json() == client.post(f"/v1/{task}", json=body).json()
    as_list = client.post(f"/v1/{task}", json={**body, "output": ["panoptic_png", "rle", "polygons"]})
    assert raw.json() == as_list.json()
    assert raw.json()["model"] == "other"


def test_semantic_joins_the_segments_of_a_class(client):
    panoptic, semantic = (post(client, "?output=panoptic_png", task) for task in ("panoptic", "semantic"))
    infos = {info["label"]: info for info in semantic["segments_info"]}
    assert list(infos) == ["square", "sky", "ground"]
    assert [infos[name]["id"] for name in infos] == [1, 2, 3]
    squares = [info for info in panoptic["segments_info"] if info["label"] == "square"]
    assert len(squares) == 2
    assert infos["square"]["area"] == sum(info["area"] for info in squares)
    assert infos["square"]["score"] == max(info["score"] for info in squares)
    assert infos["square"]["bbox"] == [0, 0, 40, 30]
    classes = rgb_to_id(png(semantic["panoptic_png"]))
    for info in semantic["segments_info"]:
        assert (classes == info["label_id"] + 1).sum() == info["area"]


def test_instance_keeps_the_things(client):
    found = post(client, "?output=panoptic_png", "instance")
    assert {info["label"] for info in found["segments_info"]} == {"square"}
    assert set(np.unique(rgb_to_id(png(found["panoptic_png"])))) == {0, *(i["id"] for i in found["segments_info"])}


def test_thresholds_and_input_size_reach_the_model(client, engines, monkeypatch):
    seen = []
    real = engines["quick"].segment
    monkeypatch.setattr(
        engines["quick"], "segment", lambda pixels, request: seen.append(request) or real(pixels, request)
    )
    post(client, "?object_mask_threshold=0.25&overlap_threshold=0.5&input_size=32x48")
    post(client, "?input_size=native")
    post(client)
    request: Request = seen[0]
    assert (request.thresholds.object_mask, request.thresholds.overlap, request.input_size) == (0.25, 0.5, (32, 48))
    assert seen[1].input_size is None
    assert (seen[2].thresholds.object_mask, seen[2].input_size) == (0.0, (64, 128))


def test_no_segments(client):
    found = post(client, "?object_mask_threshold=1&output=panoptic_png,overlay,rle,polygons")
    assert found["segments_info"] == []
    assert not png(found["panoptic_png"]).any()
    assert (png(found["overlay_png"]) == read_upload(IMAGE)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_formats(client, kind):
    image = small_image(20, 10, kind)
    assert post(client, image=image)["image_size"] == {"height": 10, "width": 20}


def test_an_upright_image_by_its_orientation(client):
    stream = BytesIO()
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(stream, format="JPEG", exif=exif)
    assert post(client, image=stream.getvalue())["image_size"] == {"height": 20, "width": 10}


def test_models(client):
    first, second = client.get("/v1/models").json()["models"]
    assert (first["name"], first["is_default"], first["state"], first["license"]) == ("quick", True, "ready", "MIT")
    assert (second["name"], second["is_default"], second["input_size"]) == ("other", False, [64, 128])
    assert first["classes"][1] == {"label_id": 1, "label": "sky", "is_thing": False, "color": [30, 30, 200]}


def test_the_bundled_model_gives_what_predict_gives():
    from small_server import client_of, settings

    import yoso
    from yoso.serve.app import create
    from yoso.serve.settings import Limits

    content = (ROOT / "examples" / "building.jpg").read_bytes()
    with client_of(create(settings("facades-mnv2", limits=Limits())), yoso.load) as client:
        found = post(client, "?output=panoptic_png&input_size=160x320", image=content)
    expected = yoso.load("facades-mnv2")(ROOT / "examples" / "building.jpg", input_size=(160, 320))
    assert found["segments_info"] == json.loads(json.dumps(expected["segments_info"]))
    assert len(found["segments_info"]) > 3
    assert (rgb_to_id(png(found["panoptic_png"])) == expected["segmentation"]).all()
