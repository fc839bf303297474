"""What can go wrong on the way to the hub, each in a sentence that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mlx_canary.errors import ModelNotFoundError
from mlx_canary.hub.names import HubModel

_LOG_IN = "log in with `hf auth login`"


class Unreachable(ModelNotFoundError):
    """The hub cannot be asked now; what is on this machine may do instead."""


@contextmanager
def explained(model: HubModel, downloading: bool = False) -> Iterator[None]:
    """Raise what happens inside as a sentence about a model.

    Raises:
        Unreachable: There is no way to the hub at the moment.
        ModelNotFoundError: The hub said no, or the disk did.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    failures: tuple[type[Exception], ...] = (OSError, ValueError, *client_errors())
    again = " The same command goes on where it stopped." if downloading else ""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise Unreachable(
            f"{model} is not on this machine, and HF_HUB_OFFLINE forbids downloading it. Unset it, or give a folder."
        ) from error
    except HfHubHTTPError as error:
        raise _refused(model, error) from error
    except failures as error:
        raise _failed(model, error, again) from error


def client_errors() -> tuple[type[Exception], ...]:
    """What the client below huggingface_hub raises when a connection fails; errors of the disk are not among them."""
    from huggingface_hub.errors import HfHubHTTPError

    # requests' RequestException, or httpx' HTTPError, whichever is there.
    return tuple(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ in ("RequestException", "HTTPError"))


def _refused(model: HubModel, error: Exception) -> ModelNotFoundError:
    """The hub's own no."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = int(getattr(getattr(error, "response", None), "status_code", 0))
    if isinstance(error, GatedRepoError):
        return ModelNotFoundError(
            f"{model.repository} is gated: accept its conditions at {_endpoint()}/{model.repository}, then {_LOG_IN}."
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(f"{model.repository} has no revision {model.revision!r}. Check its name.")
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFoundError(
            f"There is no folder {model} here, and no repository {model.repository} on {_endpoint()} that you may see. "
            f"Check the name; if it is private, {_LOG_IN}."
        )
    if status in (401, 403):
        return ModelNotFoundError(f"The hub does not let you have {model} ({status}). To show who you are, {_LOG_IN}.")
    if status == 429 or status >= 500:
        return Unreachable(f"{_endpoint()} answered {status} when asked for {model}. Try again later.")
    return ModelNotFoundError(f"{_endpoint()} answered {status} when asked for {model}: {_first_line(error)}.")


def _failed(model: HubModel, error: Exception, again: str) -> ModelNotFoundError:
    """The network's or the disk's."""
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT):
        return ModelNotFoundError(f"The disk is full while downloading {model}. Free some space.{again}")
    if code is not None and getattr(error, "filename", None) is not None:
        assert isinstance(error, OSError)
        return ModelNotFoundError(f"{error.filename} cannot be used: {error.strerror}. Mend that, or MLX_CANARY_CACHE.")
    if "Timeout" in type(error).__name__:  # each client has classes of its own
        return Unreachable(f"{_endpoint()} does not answer, so {model} cannot be had now. Try again later.{again}")
    return Unreachable(
        f"{model} cannot be downloaded from {_endpoint()}: {_first_line(error)}. Check the network, or download its "
        f".nemo file yourself and give its path.{again}"
    )


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
