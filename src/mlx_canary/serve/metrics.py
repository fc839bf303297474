"""What Prometheus may know: counts and times, never texts. `GET /metrics`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

router = APIRouter(tags=["operation"])

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """One server's numbers, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "mlx_canary_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "mlx_canary_request_seconds",
            "From a request to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._errors = Counter("mlx_canary_errors", "Requests refused or failed.", ["code"], registry=self.registry)
        self.audio = Counter("mlx_canary_audio_seconds", "Sound written down.", ["kind"], registry=self.registry)
        self._batches = Counter("mlx_canary_batches", "Batches decoded.", registry=self.registry)
        self._windows = Counter("mlx_canary_windows", "Windows decoded.", registry=self.registry)

    def count(self, route: str, method: str, status: int, seconds: float, code: str | None) -> None:
        """A request was answered."""
        method = method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "WEBSOCKET") else "other"
        self._requests.labels(route, method, str(status)).inc()
        if method != "WEBSOCKET":
            self._seconds.labels(route).observe(seconds)
        if code is not None:
            self._errors.labels(code).inc()

    def batch(self, n_windows: int) -> None:
        """A batch was decoded."""
        self._batches.inc()
        self._windows.inc(n_windows)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A number that is asked for when somebody wants to know it."""
        Gauge(f"mlx_canary_{name}", what, registry=self.registry).set_function(value)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus's text format."""
    found = request.app.state.canary.metrics.registry
    return Response(generate_latest(found), media_type=CONTENT_TYPE_LATEST)
