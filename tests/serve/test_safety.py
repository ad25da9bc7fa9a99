"""Who may call the server, and what every response carries."""

import json
import logging

import pytest
from small_server import client_of, settings, small_image

from yoso.serve.app import create
from yoso.serve.guard import check_host
from yoso.serve.problems import Problem
from yoso.serve.records import JsonFormatter

IMAGE = small_image()
RAW = {"content-type": "image/png"}
KEY = "a-key-of-some-length"


def post(client, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/panoptic", content=IMAGE, headers={**RAW, **names})


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]:8000", "10.0.0.7"])
def test_good_hosts(host):
    check_host([host], ())


@pytest.mark.parametrize(
    "hosts",
    [
        *([], [""], ["evil.example"], ["localhost.evil.example"], ["localhost", "localhost"], ["a@evil.example"]),
        *(["[::1"], ["evil.example/?x=localhost"], ["localhost/x@evil.example"], ["127.0.0.1.evil.example"]),
        *(["localhost:x:y"], ["localhost:"], ["localhost/v2"], ["ev\u0131l"], ["1"]),
    ],
)
def test_bad_hosts(hosts):
    with pytest.raises(Problem, match="Host header"):
        check_host(hosts, ())


def test_a_name_that_is_allowed():
    check_host(["vision.example:8000"], ("vision.example",))


def test_a_web_site_that_points_its_name_here_is_refused(client):
    response = client.get("/v1/models", headers={"host": "evil.example"})
    assert (response.status_code, response.json()["type"]) == (400, "urn:yoso:unknown-host")


def test_a_path_in_the_host_header_changes_nothing():
    with client_of(create(settings(key=KEY))) as client:
        response = client.get("/v1/models", headers={"host": "localhost/v2/health/live?"})
        assert response.status_code in {400, 401}


def test_other_web_sites_cannot_make_browsers_post(client):
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://localhost:81"):
        response = post(client, origin=origin)
        assert (response.status_code, response.json()["type"]) == (403, "urn:yoso:forbidden-origin")
        assert "access-control-allow-origin" not in response.headers
    assert post(client, origin="http://localhost").status_code == 200


def test_an_origin_that_is_allowed():
    with client_of(create(settings(origins=("https://good.example",)))) as client:
        response = post(client, origin="https://good.example")
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://good.example"
        refused = post(client, origin="https://evil.example")
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        asked = {"origin": "https://good.example", "access-control-request-method": "POST"}
        assert client.options("/v1/panoptic", headers=asked).status_code == 200


def test_a_key():
    with client_of(create(settings(key=KEY))) as client:
        for headers in (
            {},
            {"x_api_key": "wrong"},
            {"authorization": f"Basic {KEY}"},
            {"x_api_key": "\u00e4".encode()},
        ):
            response = post(client, **headers)
            assert (response.status_code, response.json()["type"]) == (401, "urn:yoso:unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
            assert KEY not in response.text
        assert post(client, x_api_key=KEY).status_code == 200
        assert post(client, authorization=f"Bearer {KEY}").status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/v2", "/v2/models/quick", "/nothing"):
            assert client.get(path).status_code == 401
        for path in ("/v2/health/live", "/v2/health/ready", "/", "/app.js", "/page.json"):
            assert client.get(path).status_code == 200
        assert client.get("/page.json").json()["key"] is True
        assert all(model["file"] is None for model in client.get("/page.json").json()["models"])


def test_the_key_is_not_shown():
    assert KEY not in repr(settings(key=KEY))


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nothing", "/metrics", "/app.js"])
def test_every_response_has_the_security_headers(client, path):
    headers = client.get(path).headers
    assert "script-src 'self' 'wasm-unsafe-eval';" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in headers


def test_the_page(client):
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" in response.text
    document = client.get("/page.json").json()
    assert document["server"] is True
    assert [model["name"] for model in document["models"]] == ["quick", "other"]
    assert client.get("/runtime/ort.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/models/quick.onnx.gz").status_code == 404


def test_the_page_offers_the_bundled_model():
    import gzip

    import yoso
    from yoso.serve.page import open_page_model
    from yoso.weights.layout import bundled_models

    with client_of(create(settings("facades-mnv2")), yoso.load) as client:
        (model,) = client.get("/page.json").json()["models"]
        content = client.get(f"/{model['file']}").content
    path = bundled_models()["facades-mnv2"] / "model.onnx"
    assert gzip.decompress(content) == open_page_model("facades-mnv2", path).onnx


def test_request_ids(client):
    assert client.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    for bad in ("a b", "x" * 65, "<script>"):
        given = client.get("/v1/models", headers={"x-request-id": bad}).headers["x-request-id"]
        assert len(given) == 32


def test_logs_are_json_with_the_request_s_id(client, caplog):
    with caplog.at_level(logging.INFO, "yoso.serve"):
        client.get("/v1/models?secret=1", headers={"x-request-id": "mine-2"})
    (record,) = (record for record in caplog.records if record.getMessage() == "request")
    line = json.loads(JsonFormatter().format(record))
    assert (line["request_id"], line["route"], line["status"], line["method"]) == ("mine-2", "/v1/models", 200, "GET")
    assert line["milliseconds"] > 0
    assert "secret" not in json.dumps(line)


def test_metrics(client):
    assert post(client).status_code == 200
    client.get("/some/path/that/nobody/knows")
    text = client.get("/metrics").text
    assert 'yoso_requests_total{method="POST",route="/v1/panoptic",status="200"}' in text
    assert 'route="other",status="404"' in text
    assert "nobody" not in text
    for stage in ("queue", "read", "resize", "network", "merge", "encode"):
        assert f'yoso_stage_seconds_count{{stage="{stage}"}}' in text


def test_bodies_that_are_too_large_together(engine):
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import replace

    from small_server import LIMITS, wait_for

    limits = replace(LIMITS, all_bodies_bytes=len(IMAGE) * 3 // 2)
    with client_of(create(settings(limits=limits))) as client, ThreadPoolExecutor(1) as pool:
        engine.gate.clear()
        first = pool.submit(post, client)
        wait_for(lambda: engine.num_started == 1)
        response = post(client)
        engine.gate.set()
        assert (response.status_code, response.json()["type"]) == (503, "urn:yoso:too-many-connections")
        assert first.result().status_code == 200
        assert post(client).status_code == 200


def test_too_many_requests_at_a_time(engine):
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import replace

    from small_server import LIMITS, wait_for

    with client_of(create(settings(limits=replace(LIMITS, connections=1)))) as client, ThreadPoolExecutor(1) as pool:
        engine.gate.clear()
        first = pool.submit(post, client)
        wait_for(lambda: engine.num_started == 1)
        response = client.get("/v1/models")
        engine.gate.set()
        assert (response.status_code, response.json()["type"]) == (503, "urn:yoso:too-many-connections")
        assert first.result().status_code == 200
        assert client.get("/v1/models").status_code == 200
