"""Who may call: the names, web pages and keys that are let in, for HTTP and WebSockets alike.

The server runs on somebody's machine, where every web page that is open in a browser can reach it. So a request must
name the server by localhost, an address or a name that was allowed: a page that makes another name point here ("DNS
rebinding") has only that name. And if a web page sent it, that page must be the server's own or an allowed one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mlx_canary.errors import ServerError
from mlx_canary.serve.failures import RequestError, refuse
from mlx_canary.serve.settings import Settings

_PROTECTED = ("/v1/", "/metrics")
_KEY_PROTOCOL = "openai-insecure-api-key."
_HOST = re.compile(r"([\w.-]+)(:\d+)?", re.ASCII)
_ORIGIN = re.compile(r"([a-z][a-z\d+.-]*)://([\w.-]+|\[[\da-f:.]+\])(:\d+)?/?", re.ASCII)
_LOCAL_PAGES = ("null", "file://")  # what programs that show pages of their own send
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def host_name(given: str) -> str:
    """A name that somebody allows, as those of requests are compared with it: small letters, no port.

    Raises:
        ServerError: It is none.
    """
    if _is_address(address := given.strip("[]").lower()):
        return address
    if _HOST.fullmatch(given) is None:
        raise ServerError(f"--allow-host {given!r} is not the name of a host. Give one such as canary.example.org.")
    return _name_of(given)


def origin_of(given: str) -> str:
    """A web page's origin that somebody allows, as browsers write it.

    Raises:
        ServerError: It is none.
    """
    if given.lower() in _LOCAL_PAGES:
        return given.lower()
    found = _ORIGIN.fullmatch(given.lower())
    if found is None:
        raise ServerError(f"--allow-origin {given!r} is not a page's origin. Give one such as https://example.org.")
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" + ("" if port in (None, _USUAL_PORTS.get(scheme)) else port)


def api_key_of(given: str) -> str:
    """A key that somebody chose, as requests are compared with it: without space around it.

    Raises:
        ServerError: It is empty, or no header can hold it.
    """
    key = given.strip()
    if not key:
        raise ServerError("The API key is empty. Give one that is not, or none.")
    if not (key.isascii() and key.isprintable()):
        raise ServerError(
            "The API key has characters that HTTP headers cannot hold. Give one of ASCII letters and digits."
        )
    return key


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guards:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._names = {"localhost", settings.host.lower(), *settings.allow_hosts}
        self._key = None if settings.api_key is None else _digest(settings.api_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            error = self._problem(scope)
            if error is not None:
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._knows(_name_of(host)):
            message = f"This server does not go by the name {host!r:.100}. Allow it with --allow-host."
            return RequestError(403, "unknown_host", message)
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host) and origin not in self._settings.allow_origins:
            message = f"Web pages of {origin!r:.100} may not use this server. Allow them with --allow-origin."
            return RequestError(403, "unknown_origin", message)
        if self._key is not None and scope["path"].startswith(_PROTECTED) and scope.get("method") != "OPTIONS":
            return self._key_problem(headers, scope)
        return None

    def _knows(self, name: str) -> bool:
        return name in self._names or name.endswith(".localhost") or _is_address(name)

    def _is_own(self, origin: str, host: str) -> bool:
        return origin in (f"http://{host}", f"https://{host}")

    def _key_problem(self, headers: Headers, scope: Scope) -> RequestError | None:
        given = _given_key(headers, scope)
        if given is not None and hmac.compare_digest(_digest(given), self._key or b""):
            return None
        message = "The API key is wrong." if given is not None else "An API key is needed: Authorization: Bearer KEY."
        return RequestError(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})


def _digest(key: str) -> bytes:
    """Of one length, so that comparing tells nothing about the key's."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _given_key(headers: Headers, scope: Scope) -> str | None:
    """From the header; from browsers, whose WebSockets send no headers, among the protocols, as OpenAI does."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    for protocol in scope.get("subprotocols", []):
        if protocol.startswith(_KEY_PROTOCOL):
            return str(protocol.removeprefix(_KEY_PROTOCOL))
    return None


def _name_of(host: str) -> str:
    """A Host header without port, and without an address's brackets."""
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")
