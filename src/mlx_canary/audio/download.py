"""Fetch a recording over http(s) into a file, within bounds.

Only http and https, also after redirects; a size limit and time limits. Knows nothing about sound.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import quote, urlsplit

from mlx_canary.errors import AudioError
from mlx_canary.version import __version__

SILENCE_SECONDS = 30.0
"""Longest wait for the next bytes."""

TOTAL_SECONDS = 6 * 3600.0
"""Longest wait for the whole recording."""

_BLOCK_BYTES = 2**20
_URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"


def is_url(text: str) -> bool:
    """Whether a source is an http(s) address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def public_part(url: str) -> str:
    """The address without what may be secret: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "The URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def download(url: str, file: IO[bytes], *, max_bytes: int) -> None:
    """Write what an http(s) address holds into a file.

    Proxies come from the environment, as usual. Certificates are checked.

    Raises:
        AudioError: The address is malformed or carries a password; the server cannot be reached, is not
            trusted, refuses, redirects to something other than http(s), sends a web page, sends more than
            `max_bytes`, or stops in the middle.
    """
    name = public_part(url)
    try:
        if "@" in urlsplit(url).netloc:
            raise AudioError(f"{name}: an address with a user name is not read. Download the file yourself.")
        request = urllib.request.Request(
            quote(url, safe=_URL_CHARACTERS), headers={"User-Agent": f"mlx-canary/{__version__}"}
        )
        with _opener().open(request, timeout=SILENCE_SECONDS) as response:
            _copy(response, file, name, max_bytes)
    except urllib.error.HTTPError as error:
        error.close()
        raise AudioError(_refused(name, error)) from error
    except urllib.error.URLError as error:
        raise AudioError(_unreachable(name, error.reason)) from error
    except TimeoutError as error:
        raise AudioError(f"{name}: the server sent nothing for {SILENCE_SECONDS:g} s. Try again later.") from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise AudioError(f"{name} cannot be read: {str(error) or type(error).__name__}. Try again.") from error
    except ValueError as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError(f"{name} is not a URL: {error}.") from error


def _copy(response: http.client.HTTPResponse, file: IO[bytes], name: str, max_bytes: int) -> None:
    content_type = response.headers.get_content_type()
    if content_type in ("text/html", "application/xhtml+xml"):
        raise AudioError(f"{name} is a web page, not a recording. Give the address of the sound file itself.")
    too_large = f"{name} is larger than the limit of {max_bytes / 2**30:g} GiB. Download it to a file yourself."
    expected = response.length  # None where the server does not say
    if expected is not None and expected > max_bytes:
        raise AudioError(too_large)
    n_bytes, deadline = 0, time.monotonic() + TOTAL_SECONDS
    while block := response.read1(_BLOCK_BYTES):
        n_bytes += len(block)
        if n_bytes > max_bytes:
            raise AudioError(too_large)
        if time.monotonic() > deadline:
            raise AudioError(f"{name} was not there after {TOTAL_SECONDS / 3600:g} hours. Download it yourself.")
        file.write(block)
    if expected is not None and n_bytes < expected:
        raise AudioError(f"{name}: the connection ended after {n_bytes} of {expected} bytes. Try again.")


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s), and never from https back to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise urllib.error.HTTPError(req.full_url, code, "redirected elsewhere", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https alone: urllib's own would also read file, ftp and data addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _HttpRedirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _refused(name: str, error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        return f"{name} redirects in a circle or to something that is not http(s). It is not followed."
    advice = {
        401: "It needs a login: download the file yourself.",
        403: "It needs a login: download the file yourself.",
        404: "Check the address.",
        410: "Check the address.",
    }.get(error.code, "Try again later.")
    return f"{name}: the server answered {error.code} {error.msg}. {advice}"


def _unreachable(name: str, reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"{name}: the server's certificate is not trusted ({reason.verify_message})."
    if isinstance(reason, ssl.SSLError):
        return f"{name}: no secure connection ({reason.reason or reason}). Is it an http address?"
    if isinstance(reason, TimeoutError):
        return f"{name}: the server did not answer within {SILENCE_SECONDS:g} s. Try again later."
    return f"{name} cannot be reached: {reason}. Check the address and the network."
