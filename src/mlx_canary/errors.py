"""Every error that Canary MLX raises on purpose.

    CanaryError
    ├── AudioError          a recording cannot be read, or its samples make no sense
    ├── CheckpointError     a converted model folder cannot be loaded
    ├── ConversionError     a source checkpoint cannot be converted, or is not safe to read
    ├── PromptError         a language, task or option that the checkpoint does not have
    ├── AlignmentError      a text cannot be aligned with a recording
    ├── ModelNotFoundError  no such model name, folder or file
    ├── EvaluationError     a manifest cannot be read, or a benchmark is not possible
    ├── ServerError         the server cannot be started as asked
    └── BackendError        MLX itself is missing or unusable

One more is in `writers`: OutputError, a ValueError, for a transcript that cannot be written. A message says
what was found, what was expected and what to do. Commands, servers and runs of many recordings tell it; none is
swallowed.
"""


class CanaryError(Exception):
    """The base of all errors that a caller can act on."""


class AudioError(CanaryError, ValueError):
    """A recording cannot be read, or its samples make no sense."""


class CheckpointError(CanaryError, ValueError):
    """A converted model folder is incomplete, damaged or of an unknown version."""


class ConversionError(CanaryError, ValueError):
    """A source checkpoint cannot be converted, or is not safe to read."""


class PromptError(CanaryError, ValueError):
    """A language, task or option that the loaded checkpoint does not have."""


class AlignmentError(CanaryError, ValueError):
    """A text cannot be aligned with a recording: too long for it, or no means of finding times."""


class ModelNotFoundError(CanaryError, LookupError):
    """No model of that name, folder or file."""


class EvaluationError(CanaryError, ValueError):
    """A manifest cannot be read, a package that scores is missing, or a benchmark is not possible as asked."""


class ServerError(CanaryError, RuntimeError):
    """The server cannot be started as asked, or a package that it needs is missing."""


class BackendError(CanaryError, RuntimeError):
    """MLX is missing, or has no backend on this machine."""
