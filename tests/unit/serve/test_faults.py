"""A fault of ours, seen from outside and in the log; without sockets."""

from __future__ import annotations

import asyncio
import logging

import httpx

from mlx_canary.serve.admission import Admission
from mlx_canary.serve.app import make_app
from mlx_canary.serve.metrics import Metrics
from mlx_canary.serve.settings import Settings
from mlx_canary.serve.state import State


def test_a_fault_has_an_id_and_a_code(flash, caplog):
    """Its answer had no x-request-id, and neither log nor metrics said what kind of error it was."""
    places, metrics = Admission("requests", 1, 1), Metrics()
    # Whether it is ready nobody can say: there is no thread.
    state = State(Settings(), flash, None, None, places, places, metrics)

    async def ask() -> httpx.Response:
        app = httpx.ASGITransport(make_app(state, None))
        async with httpx.AsyncClient(transport=app, base_url="http://localhost") as client:
            return await client.get("/health/ready", headers={"x-request-id": "mine"})

    with caplog.at_level(logging.INFO):
        answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
    assert answer.json()["error"]["code"] == "internal_error"
    fault, told = [record for record in caplog.records if record.name.startswith("mlx_canary")]
    assert fault.exc_info
    assert fault.facts["request_id"] == told.facts["request_id"] == "mine"
    assert told.facts["code"] == "internal_error"
    assert metrics.registry.get_sample_value("mlx_canary_errors_total", {"code": "internal_error"}) == 1
