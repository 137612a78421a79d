"""A machine for the few pickle instructions of which weights files are made.

It is no unpickler that forbids some things: it knows nothing else. A pickle names
things by module and name; the machine looks a name up in the caller's table and never
imports. The standard unpickler is not enough even with such a table: one instruction
with a large number makes its C code fill gigabytes with zeros.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from gpu_worker.engines.weight_files.layout import Unreadable

Build = Callable[..., Any]
Globals = Mapping[str, Any]
"""`module name` → what a pickle may name: a `Build` that it may call, or a value."""
MOST_INSTRUCTIONS = 2_000_000
MARK = object()

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
}
EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = {"PROTO", "FRAME"}


def load(pickled: bytes, globals_: Globals, persistent: Build) -> Any:
    """The value of a pickle made of dictionaries, lists, tuples, text and numbers, of
    what `globals_` builds, and of what `persistent` makes of an outside reference.

    Raises `Unreadable` naming the first instruction or name that is none of these.
    """
    machine = _Machine(globals_, persistent)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
        if opcode.name == "STOP":
            return machine.pop()
        if count > MOST_INSTRUCTIONS:
            raise Unreadable("its table of contents is too long to be one")
        machine.do(opcode.name, argument)
    raise Unreadable("its table of contents breaks off")


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, globals_: Globals, persistent: Build) -> None:
        self._globals = globals_
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._instructions: dict[str, Callable[[Any], None]] = {
            "MARK": lambda _: self._stack.append(MARK),
            "BINPUT": self._remember,
            "LONG_BINPUT": self._remember,
            "MEMOIZE": lambda _: self._remember(len(self._memo)),
            "BINGET": lambda key: self._stack.append(self._memo[key]),
            "LONG_BINGET": lambda key: self._stack.append(self._memo[key]),
            "GLOBAL": lambda name: self._stack.append(self._named(name)),
            "TUPLE": lambda _: self._stack.append(tuple(self._pop_to_mark())),
            "APPEND": lambda _: self._extend([self.pop()]),
            "APPENDS": lambda _: self._extend(self._pop_to_mark()),
            "SETITEM": lambda _: self._set(self._take(2)),
            "SETITEMS": lambda _: self._set(self._pop_to_mark()),
            "REDUCE": self._call,
            # The state of an object. Of what is built here only a dictionary has one,
            # its `_metadata`, which is not needed.
            "BUILD": lambda _: self.pop(),
            "BINPERSID": lambda _: self._stack.append(self._persistent(self.pop())),
        }

    def do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in LITERALS:
            self._stack.append(argument)
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self._stack.append(EMPTY[name]())
        elif name in TUPLES:
            self._stack.append(tuple(self._take(TUPLES[name])))
        elif name in self._instructions:
            self._instructions[name](argument)
        elif name not in IGNORED:
            raise Unreadable(f"the pickle instruction {name} is not part of weights")

    def pop(self) -> Any:
        """The topmost value, taken from the stack."""
        if not self._stack or self._stack[-1] is MARK:
            raise Unreadable("its table of contents is no valid pickle")
        return self._stack.pop()

    def _take(self, count: int) -> list[Any]:
        taken = [self.pop() for _ in range(count)]
        return taken[::-1]

    def _pop_to_mark(self) -> list[Any]:
        taken = []
        while self._stack and self._stack[-1] is not MARK:
            taken.append(self._stack.pop())
        if not self._stack:
            raise Unreadable("its table of contents is no valid pickle")
        self._stack.pop()
        return taken[::-1]

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise Unreadable("its table of contents is no valid pickle")
        return self._stack[-1]

    def _remember(self, key: int) -> None:
        self._memo[key] = self._top(object)

    def _extend(self, values: list[Any]) -> None:
        self._top(list).extend(values)

    def _set(self, pairs: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Only text: the hash of nested tuples can take for ever.
            if type(key) is not str:
                raise Unreadable("a name in it is not text")
            target[key] = value

    def _named(self, name: str) -> Any:
        if name not in self._globals:
            raise Unreadable(
                f"it holds something other than weights and was not executed ({name[:100]!r})"
            )
        return self._globals[name]

    def _call(self, _: Any) -> None:
        build, arguments = self._take(2)
        if not callable(build) or not isinstance(arguments, tuple):
            raise Unreadable("its table of contents is no valid pickle")
        self._stack.append(build(*arguments))
