"""OmegaConf interpolations: a configuration in, the same with the simple ones replaced out.

`${a.b}`, `${multiply:2,${a.b}}` and texts around them. Anything else (environment variables, relative paths,
other functions, cycles) stays the text that it is: whoever needs the value then says that it is no number.
Knows nothing about what the keys mean.
"""

import re
from typing import Any

from mlx_canary.errors import ConversionError

_MAX_STEPS = 200_000
_MAX_DEPTH = 10
_MAX_TEXT = 4096
_MAX_NUMBER = 1 << 53
# An interpolation without another one inside.
_INNERMOST = re.compile(r"\$\{([^${}]*)\}")


def interpolate(config: dict[str, Any], what: str) -> dict[str, Any]:
    """Replace every interpolation that can be resolved inside `config`.

    Args:
        config: The parsed file. Paths start at its top, or at a top-level `model:`.
        what: Its name, for messages.

    Raises:
        ConversionError: Resolving would take beyond reason.
    """
    return dict(_Resolver(config, what).value(config, 0))


class _Unresolved(Exception):
    """This interpolation stays as it is."""


class _Resolver:
    def __init__(self, root: dict[str, Any], what: str) -> None:
        self._what = what
        model = root.get("model")
        self._roots = [root, model] if isinstance(model, dict) else [root]
        self._steps = 0

    def value(self, value: Any, depth: int) -> Any:
        """A copy of a value with its interpolations replaced."""
        self._count()
        if isinstance(value, dict):
            return {key: self.value(item, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, depth) for item in value]
        if isinstance(value, str) and "${" in value:
            return self._text_or_same(value, depth)
        return value

    def _count(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise ConversionError(f"{self._what} refers to itself too often to be resolved.")

    def _text_or_same(self, text: str, depth: int) -> Any:
        try:
            return self._text(text, depth)
        except _Unresolved:
            return text

    def _text(self, text: str, depth: int) -> Any:
        """Replace from the inside out; a text that is one interpolation takes the type of its value."""
        while match := _INNERMOST.search(text):
            self._count()
            found = self._one(match[1].strip(), depth + 1)
            if match[0] == text:
                return found
            if isinstance(found, (dict, list)):
                raise _Unresolved
            text = text[: match.start()] + str(found) + text[match.end() :]
            if len(text) > _MAX_TEXT:
                raise _Unresolved
        return text

    def _one(self, expression: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise _Unresolved
        function, colon, arguments = expression.partition(":")
        if not colon:
            return self._path(expression, depth)
        if function.strip() != "multiply":
            raise _Unresolved
        return _multiply(arguments.split(","))

    def _path(self, path: str, depth: int) -> Any:
        for root in self._roots:
            try:
                return self._resolved(_walk(root, path), depth)
            except (KeyError, IndexError, ValueError):
                continue
        raise _Unresolved

    def _resolved(self, value: Any, depth: int) -> Any:
        if isinstance(value, str) and "${" in value:
            return self._text(value, depth)
        return self.value(value, depth)


def _walk(value: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(value, list):
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value[key]
        else:
            raise KeyError(key)
    return value


def _multiply(factors: list[str]) -> int | float:
    product: int | float = 1
    for factor in factors:
        try:
            product *= int(factor) if re.fullmatch(r"\s*[-+]?\d{1,15}\s*", factor) else float(factor)
        except ValueError:
            raise _Unresolved from None
    if not abs(product) < _MAX_NUMBER:
        raise _Unresolved
    return product
