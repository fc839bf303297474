"""The OpenAPI document, and requests made up from it: whatever they say, none is a fault of the server."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from servers import Server, running


@pytest.fixture(scope="module")
def with_jobs(tmp_path_factory) -> Server:
    with running("--data-dir", str(tmp_path_factory.mktemp("jobs")), "--max-jobs", "5") as server:
        yield server


def test_made_up_requests(with_jobs):
    """Some for each route. By hand: `schemathesis run URL/openapi.json --checks not_a_server_error`."""
    schema = schemathesis.openapi.from_url(f"{with_jobs.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 12
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        def ask(case):
            case.call_and_validate(checks=[not_a_server_error])

        ask()


def test_every_route_is_documented(with_jobs):
    paths = httpx.get(f"{with_jobs.url}/openapi.json").json()["paths"]
    assert {"/v1/audio/transcriptions", "/v1/audio/translations", "/v1/jobs/{id}/result", "/v1/models"} <= set(paths)
    form = paths["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["file"]["format"] == "binary"
    assert {"target_language", "timestamp_granularities[]"} <= set(form["properties"])


def test_nothing_went_wrong_meanwhile(with_jobs):
    """In the log there is no traceback."""
    assert not [line for line in with_jobs.lines if '"exception"' in line or '"level": "error"' in line]
