"""The description of the API is complete, and the server does what it says: schemathesis tries it."""

import contextlib
from unittest import SkipTest

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from small_server import client_of
from small_server import settings as server_settings

from yoso.serve import problems
from yoso.serve.app import create

schemathesis = pytest.importorskip("schemathesis")


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def test_every_operation_documents_its_responses(document):
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            assert {"200", "400", "401", "500"} <= responses.keys(), (path, method)
            assert operation.get("description") or operation.get("summary")
            for status, response in responses.items():
                if status != "200":
                    assert list(response["content"]) == [problems.MEDIA_TYPE], (path, status)
            if method == "post" and path != "/label-studio/setup":
                assert {"413", "415", "422", "429", "503"} <= responses.keys(), path
                assert operation["requestBody"]["content"]
    assert {"/v1/panoptic", "/v1/models", "/metrics", "/v2/models/{model}/infer"} <= document["paths"].keys()
    assert "securitySchemes" not in document["components"]


def test_with_a_key_the_document_says_so():
    key = "a-key-of-some-length"
    with client_of(create(server_settings(key=key))) as client:
        document = client.get("/openapi.json", headers={"x-api-key": key}).json()
    assert document["security"] == [{"key": []}, {"bearer": []}]


def checks():
    from schemathesis.checks import (
        content_type_conformance,
        not_a_server_error,
        response_schema_conformance,
        status_code_conformance,
    )

    return [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


def try_operations(address, num_examples, labels=None):
    """Send generated requests to operations, half of them against its description; check the responses."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    statuses = {}

    for found in schema.get_all_operations():
        operation = found.ok()
        if labels is not None and operation.label not in labels:
            continue
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=num_examples,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                response = case.call()
                case.validate_response(response, checks=checks())
                statuses.setdefault(case.operation.label, set()).add(response.status_code)

            # An operation without parameters cannot be called against its description.
            with contextlib.suppress(Unsatisfiable, SkipTest):
                check()
    return statuses


@pytest.mark.filterwarnings("ignore")
def test_schemathesis(server):
    labels = {"POST /v1/panoptic", "GET /v1/models", "GET /v2/models/{model}", "POST /v2/models/{model}/infer"}
    statuses = try_operations(server[0], 2, labels)
    assert statuses.keys() == labels
    assert {status for found in statuses.values() for status in found} >= {200, 404}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_at_length(server):
    assert len(try_operations(server[0], 100)) >= 10
