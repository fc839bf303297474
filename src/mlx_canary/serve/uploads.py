"""The form of a request that sends a recording: read from the network, within bounds."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData

from mlx_canary.serve.failures import RequestError
from mlx_canary.serve.forms import form_schema

_MOST_FIELDS, _MOST_FIELD_BYTES = 32, 2**16

_MULTIPART = {"multipart/form-data": {"schema": form_schema()}}
FORM: dict[str, Any] = {"requestBody": {"required": True, "content": _MULTIPART}}
"""The form for the OpenAPI document."""


async def read_upload(request: Request, stack: AsyncExitStack) -> FormData:
    """The request's form, for as long as the stack lasts.

    Raises:
        RequestError: It is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RequestError(415, "invalid_form", f"The body is {kind or 'nothing'!r:.60}; expected multipart/form-data.")
    form = request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=_MOST_FIELD_BYTES)
    try:
        return await stack.enter_async_context(form)
    except FormParserError as error:  # which older versions of Starlette leave to their callers
        raise RequestError(400, "invalid_form", f"The multipart form is broken: {error}.") from error
    except UnicodeError as error:  # the encoding named "undefined", which refuses everything
        raise RequestError(
            400, "invalid_form", f"The form is not written in the charset that it names: {error}."
        ) from error
