"""The text of a model_config.yaml in, plain Python values out.

Reads what OmegaConf reads: no tags, no dates, `1e-5` is a number, and a key may occur once. Keys are texts, as they
are written. Depth and what aliases expand to are bounded before anything is built, and integers have 64 bits.
Interpolations stay as they are: see interpolate.py.
"""

import re
from typing import Any, ClassVar

import yaml

from mlx_canary.errors import ConversionError

_MAX_DEPTH = 20
_MAX_NODES = 200_000
_MAX_SCALAR = 1 << 16
_MAX_INTEGER = 1 << 64
# libyaml, where PyYAML was built with it, reads the 16,384 words of a vocabulary ten times faster.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # chosen at run time
    """YAML 1.1 as OmegaConf understands it."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} occurs twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        self.flatten_mapping(node)  # the keys of `<<` join the others
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return dict(super().construct_mapping(node, deep))

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        value = int(self.construct_yaml_int(node))
        if abs(value) >= _MAX_INTEGER:
            raise yaml.MarkedYAMLError(problem="an integer of more than 64 bits", problem_mark=node.start_mark)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
# YAML 1.1 takes `1e-5`, without a point, for a text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.[\d_]*(e[-+]?\d+)?|\.\d[\d_]*(e[-+]?\d+)?|\d[\d_]*e[-+]?\d+|\.inf)$|\.nan$", re.I),
    list("-+0123456789."),
)


def load_yaml(raw: bytes, what: str) -> object:
    """Parse a configuration file.

    Args:
        raw: Its bytes.
        what: Its name, for messages.

    Raises:
        ConversionError: It is no plain YAML, or would grow beyond reason.
    """
    try:
        text = raw.decode("utf-8")
        _check_events(text, what)
        return yaml.load(text, _Loader)
    except ConversionError:
        raise
    # ValueError: bytes that are not UTF-8, and numbers with more digits than Python converts.
    except (yaml.YAMLError, ValueError) as error:
        if "nesting depth" in str(error):  # PyYAML 6.0.4 and later have a limit of their own, far beyond ours
            raise _too_deep(what) from None
        raise ConversionError(f"{what} is not valid YAML: {_one_line(error)}") from None


def _check_events(text: str, what: str) -> None:
    """Go through the file without building anything."""
    budget = _Budget(what)
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.NodeEvent):
            budget.node(event)
        if isinstance(event, yaml.CollectionEndEvent):
            budget.close()


class _Budget:
    """How deep the nodes are, and how many there are once each alias is replaced by what it stands for."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._counts = [0]
        self._open: list[str | None] = []
        self._anchors: dict[str, int] = {}

    def node(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._add(self._alias(str(event.anchor)))
            return
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ConversionError(f"{self._what} uses the YAML tag {tag[:200]!r}; only plain values are read.")
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        else:
            self._descend(event.anchor)

    def close(self) -> None:
        count, anchor = self._counts.pop() + 1, self._open.pop()
        if anchor:
            self._anchors[anchor] = count
        self._add(count)

    def _alias(self, anchor: str) -> int:
        if anchor in self._open:
            raise ConversionError(f"{self._what} has the anchor {anchor!r} inside itself.")
        # An unknown anchor is the parser's to report.
        return self._anchors.get(anchor, 1)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if len(event.value) > _MAX_SCALAR:
            raise ConversionError(f"{self._what} has a value of {len(event.value)} characters.")
        if event.anchor:
            self._anchors[event.anchor] = 1
        self._add(1)

    def _descend(self, anchor: str | None) -> None:
        self._counts.append(0)
        self._open.append(anchor)
        if len(self._open) > _MAX_DEPTH:
            raise _too_deep(self._what)

    def _add(self, count: int) -> None:
        self._counts[-1] += count
        if self._counts[-1] > _MAX_NODES:
            raise ConversionError(f"{self._what} expands to more than {_MAX_NODES} values. Do not trust this file.")


def _too_deep(what: str) -> ConversionError:
    return ConversionError(f"{what} is nested more than {_MAX_DEPTH} levels deep.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
