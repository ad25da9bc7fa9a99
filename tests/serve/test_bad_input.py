"""Whatever a client sends: a problem document that says what is wrong, and never a 500."""

import base64
import json
import random
import struct
import zlib

import pytest
from small_server import LIMITS, client_of, settings, small_image

from yoso.serve.app import create

IMAGE = small_image()
RAW = {"content-type": "image/png"}


def problem(response, status, kind, *words):
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (response.status_code, document["status"], document["type"]) == (status, status, f"urn:yoso:{kind}")
    assert document["request_id"] == response.headers["x-request-id"]
    assert "\n" not in document["detail"]
    for word in words:
        assert word in document["detail"]


def post(client, content, kind="image/png", path="/v1/panoptic"):
    return client.post(path, content=content, headers={"content-type": kind})


def bomb(width, height):
    """A PNG of a few bytes that claims to be large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


def test_too_many_pixels_are_refused_before_decoding(client, engine, monkeypatch):
    monkeypatch.setattr("yoso.serve.service.read_upload", lambda _: pytest.fail("decoded"))
    problem(post(client, bomb(60_000, 50_000)), 413, "too-large", "60000 x 50000", "200 megapixels")
    problem(post(client, bomb(10_000, 10_000)), 413, "too-large", "10000 x 10000", "0.1 million pixels")
    problem(post(client, bomb(2000, 20)), 422, "unreadable-image", "2000 x 20", "50 times")
    response = client.post("/v1/panoptic?input_size=1000", content=bomb(300, 200), headers=RAW)
    problem(response, 413, "too-large", "1500 x 1000", "input_size")
    assert engine.num_started == 0


@pytest.mark.parametrize(
    ("content", "status", "kind", "words"),
    [
        (b"", 422, "unreadable-image", "empty"),
        (b"GIF89a", 415, "unsupported-media-type", "JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "unsupported-media-type", "formats"),
        (bomb(0, 5), 415, "unsupported-media-type", "formats"),
        (IMAGE[: len(IMAGE) // 2], 422, "unreadable-image", "damaged"),
        (small_image(kind="JPEG")[:300], 422, "unreadable-image", "damaged"),
        (b"\x80\x04K\x01.", 415, "unsupported-media-type", "formats"),
    ],
    ids=["empty", "gif header", "postscript", "no pixels", "half a PNG", "part of a JPEG", "pickle"],
)
def test_images(client, content, status, kind, words):
    problem(post(client, content), status, kind, words)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("treshold=1", "unknown option 'treshold'"),
        ("object_mask_treshold=1", "Did you mean 'object_mask_threshold'?"),
        ("object_mask_threshold=2", "from 0 to 1"),
        ("overlap_threshold=nan", "from 0 to 1"),
        ("overlap_threshold=x", "from 0 to 1"),
        ("input_size=0", "input_size"),
        ("input_size=-5x3", "input_size"),
        ("input_size=99999", "32768"),
        ("output=mask", "unknown output 'mask'"),
        ("output=", "unknown output ''"),
        ("output=rle&output=overlay", "given twice"),
        ("image=/etc/passwd", "unknown option 'image'"),
        ("url=http://localhost/x.png", "unknown option 'url'"),
    ],
)
def test_options(client, query, words):
    problem(client.post(f"/v1/panoptic?{query}", content=IMAGE, headers=RAW), 422, "invalid-option", words)


@pytest.mark.parametrize(
    "member",
    [
        *({"input_size": [0, 5]}, {"input_size": {}}, {"input_size": 10**400}, {"object_mask_threshold": True}),
        *({"overlap_threshold": [0.5]}, {"output": 5}, {"output": [5]}, {"model": 5}),
    ],
)
def test_json_options_of_a_wrong_type(client, member):
    body = json.dumps({"image": base64.b64encode(IMAGE).decode(), **member})
    response = post(client, body, "application/json")
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"


def test_an_option_in_two_places(client):
    response = client.post("/v1/panoptic?model=quick", files={"image": IMAGE}, data={"model": "other"})
    problem(response, 422, "invalid-option", "'model' is given twice")


def test_an_unknown_model(client):
    response = client.post("/v1/panoptic?model=quik", content=IMAGE, headers=RAW)
    problem(response, 404, "unknown-model", "Did you mean 'quick'?")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "image/svg+xml"])
def test_media_types(client, kind):
    problem(post(client, IMAGE, kind), 415, "unsupported-media-type", "multipart/form-data")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_compressed_bodies(client, encoding):
    response = client.post("/v1/panoptic", content=IMAGE, headers={**RAW, "content-encoding": encoding})
    problem(response, 415, "unsupported-media-type", "uncompressed")


def test_a_body_that_is_too_large_with_and_without_a_length(client):
    content = b"x" * (LIMITS.body_bytes + 1)
    problem(post(client, content), 413, "too-large", "0.2 MB")
    problem(post(client, (content[i : i + 1000] for i in range(0, len(content), 1000))), 413, "too-large", "0.2 MB")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"[]", "JSON list"),
        (b"[" * 100_000, "not JSON"),
        (b'{"image": NaN}', "not JSON"),
        (b'{"image": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"{}", "no text 'image'"),
        (b'{"image": 5}', "no text 'image'"),
        (b'{"image": "data:image/png;base64,xx"}', "not base64"),
        (b'{"image": "\xc3\xa4"}', "not base64"),
    ],
)
def test_json_bodies(client, body, words):
    problem(post(client, body, "application/json"), 400, "malformed-request", words)


def test_json_with_too_many_values():
    from dataclasses import replace

    with client_of(create(settings(limits=replace(LIMITS, json_values=100)))) as client:
        body = b'{"image": [' + b"0," * 101 + b"0]}"
        problem(post(client, body, "application/json"), 413, "too-large", "100 values")


def form(*parts, boundary=b"b", end=b"--b--\r\n"):
    text = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + body + b"\r\n" for head, body in parts)
    return text + end


FILE = b'Content-Disposition: form-data; name="image"; filename="x.png"'


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (form((FILE, IMAGE)), "multipart/form-data", "boundary"),
        (form((FILE, IMAGE)), "multipart/form-data; boundary=other", "form"),
        (form((FILE, IMAGE), end=b""), "multipart/form-data; boundary=b", "closing boundary"),
        (form((FILE, IMAGE))[:200], "multipart/form-data; boundary=b", "closing boundary"),
        (form(), "multipart/form-data; boundary=b", "form"),
        (b"", "multipart/form-data; boundary=b", "form"),
        (form((b"Content-Disposition: form-data", b"x")), "multipart/form-data; boundary=b", "name"),
        (form((b"X: y", b"x")), "multipart/form-data; boundary=b", "form"),
        (form((FILE, IMAGE), (FILE, IMAGE)), "multipart/form-data; boundary=b", "form"),
        (form((FILE, IMAGE)), "multipart/form-data; boundary=" + "b" * 300, "form"),
        (form((b'Content-Disposition: form-data; name="image"', IMAGE)), "multipart/form-data; boundary=b", "a file"),
        (
            form((FILE, IMAGE), *((b'Content-Disposition: form-data; name="%d"' % i, b"") for i in range(20))),
            "multipart/form-data; boundary=b",
            "form",
        ),
    ],
)
def test_forms(client, body, kind, words):
    response = post(client, body, kind)
    assert response.status_code in {400, 422}, response.text
    problem(response, response.status_code, response.json()["type"].removeprefix("urn:yoso:"), words)


def test_two_files(client):
    response = client.post("/v1/panoptic", files=[("image", IMAGE), ("image", IMAGE)])
    problem(response, 400, "malformed-request", "form")
    response = client.post("/v1/panoptic", files={"mask": IMAGE})
    problem(response, 400, "malformed-request", "'mask'", "only 'image'")


def test_paths_and_methods(client):
    problem(client.get("/nothing"), 404, "not-found")
    problem(client.get("/../../etc/passwd"), 404, "not-found")
    problem(client.get("/models/..%2f..%2fconfig.json"), 404, "not-found")
    response = client.get("/v1/panoptic")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


def test_an_error_of_ours_is_a_500_that_tells_nothing(client, engine, caplog):
    engine.error = RuntimeError("secret /path")
    response = post(client, IMAGE)
    problem(response, 500, "internal-error", "log")
    assert "secret" not in response.text
    assert any(record.exc_info and "secret" in str(record.exc_info[1]) for record in caplog.records)
    engine.error = None
    assert post(client, IMAGE).status_code == 200


def malformed(seed):
    """Return the media type and body of one malformed upload."""
    chance = random.Random(seed)
    kind = chance.choice(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
    content = bytearray(small_image(chance.randint(1, 12), chance.randint(1, 12), kind))
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(content))
        action = chance.randrange(4)
        if action == 0:
            content[place] = chance.randrange(256)
        elif action == 1:
            del content[place : place + chance.randint(1, 40)]
        elif action == 2:
            content[place:place] = chance.randbytes(chance.randint(1, 40))
        else:
            content[place : place + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        content = content or bytearray(b"x")
    how = seed % 3
    if how == 0:
        return f"image/{kind.lower()}", bytes(content)
    if how == 1:
        body = bytearray(form((FILE, bytes(content))))
        if chance.random() < 0.5:
            body[chance.randrange(len(body))] = chance.randrange(256)
        return "multipart/form-data; boundary=b", bytes(body)
    text = bytearray(json.dumps({"image": base64.b64encode(content).decode(), "output": "rle,polygons"}).encode())
    if chance.random() < 0.5:
        text[chance.randrange(len(text))] = chance.randrange(256)
    return "application/json", bytes(text)


@pytest.mark.filterwarnings("ignore")
def test_hundreds_of_malformed_uploads(client):
    found = set()
    for seed in range(510):
        kind, body = malformed(seed)
        response = post(client, body, kind)
        assert response.status_code in {200, 400, 413, 415, 422}, (seed, response.text)
        found.add(response.status_code)
        if response.status_code != 200:
            problem(response, response.status_code, response.json()["type"].removeprefix("urn:yoso:"))
    assert found >= {200, 400, 415, 422}
    assert client.get("/v2/health/ready").status_code == 200
