"""`GET /health/live` and `/health/ready`: for whoever keeps the server running.

They need no key, and tell nothing else.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from mlx_canary.serve.state import state_of

router = APIRouter(prefix="/health", tags=["operation"])


@router.get("/live")
async def live() -> dict[str, str]:
    """The server answers."""
    return {"status": "alive"}


@router.get("/ready", responses={503: {"description": "It does not take requests."}})
async def ready(request: Request) -> JSONResponse:
    """It takes requests: 503 once it is being stopped, or if the model's thread has ended."""
    state = state_of(request)
    if state.stopping.is_set():
        return JSONResponse({"status": "stopping"}, 503)
    if not state.worker.alive:
        return JSONResponse({"status": "the model's thread has ended"}, 503)
    return JSONResponse({"status": "ready"})
