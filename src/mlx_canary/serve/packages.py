"""The packages of the extra `serve`; a sentence where they are missing."""

from __future__ import annotations

import importlib

from mlx_canary.errors import ServerError

NEEDED = ("fastapi", "python_multipart", "uvicorn", "websockets", "sqlalchemy", "prometheus_client")


def require_all() -> None:
    """Notice what is missing before a model is loaded.

    Raises:
        ServerError: A package is not installed.
    """
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            packages = " ".join(NEEDED).replace("_", "-")
            raise ServerError(
                f"The server needs the packages of the extra 'serve' ({error}). Install them with: "
                f"pip install {packages}"
            ) from error
