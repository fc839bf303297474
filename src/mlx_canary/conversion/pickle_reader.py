"""A pickle of tensors without the power of pickle: bytes in, plain values out.

A small machine of our own instead of the standard library's Unpickler: it knows the opcodes that torch
writes for a state dict and no others, it calls nothing but the functions it is given, and it never imports.
Its memory is bounded by the pickle's own length and the number of its instructions, each of which makes one
small value at most: the memo is a dict (the C unpickler allocates whatever index a pickle names), and no length
is believed before the bytes are there.
"""

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mlx_canary.errors import ConversionError

_MARK = object()
# torch writes about 40 for a tensor, and the largest published model has 1510.
_MAX_INSTRUCTIONS = 400_000
# How a pickle builds objects or names code in other ways. Any other unknown byte is damage, or not from torch.
_REFUSED = {
    b"i": "INST",
    b"o": "OBJ",
    b"\x81": "NEWOBJ",
    b"\x92": "NEWOBJ_EX",
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"P": "PERSID",
}


class Function(NamedTuple):
    """A name in a pickle that may be called. It gets the arguments as they are and has to check them."""

    call: Callable[[tuple[object, ...]], object]


# What each allowed (module, name) stands for: a `Function`, or any inert value.
Globals = Mapping[tuple[str, str], object]


def read_pickle(data: bytes, known: Globals, persistent: Callable[[object], object], what: str) -> object:
    """Evaluate a pickle of protocol 2 to 5.

    Args:
        data: The pickle.
        known: The names that may occur.
        persistent: Turns a persistent id into a value.
        what: The pickle's name, for messages.

    Returns:
        What it describes, of dicts, lists, tuples, strings, numbers and what `known` and `persistent` return.

    Raises:
        ConversionError: It names, calls or does anything else, or it is damaged.
    """
    machine = _Machine(data, known, persistent, what)
    try:
        return machine.run()
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise ConversionError(f"{what} is damaged: its pickle makes no sense at byte {machine.at}.") from None


class _Machine:
    """A stack, a memo and a position. Each method named for a pickle opcode does what that opcode does."""

    def __init__(self, data: bytes, known: Globals, persistent: Callable[[object], object], what: str) -> None:
        self.at = 0
        self.data = data
        self.known = known
        self.persistent = persistent
        self.what = what
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        n_instructions = 0
        while (opcode := self.take(1)) != b".":
            if (n_instructions := n_instructions + 1) > _MAX_INSTRUCTIONS:
                raise ConversionError(
                    f"{self.what} has a pickle of more than {_MAX_INSTRUCTIONS} instructions, as no model needs. "
                    "Do not trust this file."
                )
            if opcode in _REFUSED:
                raise self.refusal(f"uses the pickle opcode {_REFUSED[opcode]}")
            if opcode not in _OPCODES:
                raise ConversionError(
                    f"{self.what} is damaged: byte {self.at - 1} of its pickle, {opcode!r}, "
                    "is nothing that torch writes."
                )
            _OPCODES[opcode](self)
        return self.stack.pop()

    def refusal(self, found: str) -> ConversionError:
        return ConversionError(
            f"{self.what} {found}, which no plain state dict does and which could run code. Do not trust this file."
        )

    def unknown(self, name: str) -> ConversionError:
        if name.startswith("torch."):
            return ConversionError(f"{self.what} uses {name!r}; only plain dense tensors are read.")
        return self.refusal(f"names {name!r}")

    def take(self, n_bytes: int) -> bytes:
        taken = self.data[self.at : self.at + n_bytes]
        if len(taken) < n_bytes:
            raise IndexError
        self.at += n_bytes
        return taken

    def number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return int(value)

    def line(self) -> str:
        end = self.data.index(b"\n", self.at) if b"\n" in self.data[self.at : self.at + 512] else self.at
        return self.take(end - self.at + 1)[:-1].decode()

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop_items(self) -> list[object]:
        """Everything above the last mark."""
        start = len(self.stack)
        while self.stack[start - 1] is not _MARK:
            start -= 1
            if not start:
                raise IndexError
        items = self.stack[start:]
        del self.stack[start - 1 :]
        return items

    def protocol(self) -> None:
        version = self.number("<B")
        if version > 5:
            raise self.refusal(f"is a pickle of protocol {version}")

    def pop(self, n_items: int) -> list[object]:
        """The topmost values, in the order in which they were pushed."""
        if n_items > len(self.stack):
            raise IndexError
        items = self.stack[-n_items:]
        del self.stack[-n_items:]
        return items

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise IndexError
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Nested tuples as keys can take for ever to hash.
            if not isinstance(key, (str, int)):
                raise self.refusal(f"has a dict key of type {type(key).__name__}")
            target[key] = value

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise IndexError
        target.extend(items)

    def find(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise IndexError
        if (module, name) not in self.known:
            raise self.unknown(f"{module}.{name}"[:200])
        self.push(self.known[module, name])

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise self.refusal("calls something that is no function")
        self.push(function.call(arguments))

    def build(self) -> None:
        """torch hangs version numbers on the state dict; they are dropped."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise self.refusal("sets attributes of an object")


_OPCODES: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": _Machine.protocol,
    b"\x95": lambda m: m.take(8),  # FRAME
    b"(": lambda m: m.push(_MARK),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),  # LONG1
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"X": lambda m: m.push(m.take(m.number("<I")).decode()),
    b"\x8c": lambda m: m.push(m.take(m.number("<B")).decode()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_items())),
    b"\x85": lambda m: m.push(tuple(m.pop(1))),
    b"\x86": lambda m: m.push(tuple(m.pop(2))),
    b"\x87": lambda m: m.push(tuple(m.pop(3))),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.pop_items()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m.set_items(m.pop(2)),
    b"u": lambda m: m.set_items(m.pop_items()),
    b"q": lambda m: m.memo.__setitem__(m.number("<B"), m.stack[-1]),
    b"r": lambda m: m.memo.__setitem__(m.number("<I"), m.stack[-1]),
    b"\x94": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"c": lambda m: m.find(m.line(), m.line()),
    b"\x93": lambda m: m.find(*m.pop(2)),
    b"Q": lambda m: m.push(m.persistent(m.stack.pop())),
    b"R": _Machine.reduce,
    b"b": _Machine.build,
}
