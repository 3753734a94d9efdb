"""Reading a pickle without running it.

A pickle is a program for a stack machine that may import and call anything. Here the machine is ours: it
builds plain containers, and where the program asks to import or call, it notes the wish as data. Nothing
is looked up, so there is nothing that could run.
"""

import io
import pickletools
import struct
import warnings
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MAX_OPCODES = 2_000_000
"""A large training checkpoint has a few hundred thousand."""

Value = Any
"""What a pickle can describe: scalars, lists, tuples, dictionaries, and the three kinds of wish below."""


class PickleError(ValueError):
    """The bytes are not a whole pickle, or an absurd one."""


@dataclass(frozen=True)
class Global:
    """The wish to import `module.name`."""

    name: str


@dataclass(frozen=True)
class Persistent:
    """A reference to something outside the pickle, such as the storage of a tensor."""

    identity: Value


@dataclass(eq=False, slots=True)
class Call:
    """The wish to call something, and what was then to be put into the result."""

    function: Value
    arguments: tuple[Value, ...]
    items: dict[Value, Value] = field(default_factory=dict)
    state: Value = None


@dataclass(frozen=True)
class InertPickle:
    """What a pickle describes."""

    value: Value
    globals: frozenset[str]
    """Everything it wants to import."""


class Clipped:
    """A file of which no more is asked at once than it has, so that a length it claims can allocate nothing."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self.readline, self.tell = file.readline, file.tell

    def read(self, n_bytes: int) -> bytes:
        """The next bytes, as many as are there."""
        return self._file.read(min(n_bytes, self._size_bytes))


def read_pickle(stream: BinaryIO | Clipped) -> InertPickle:
    """Read one pickle and leave `stream` behind its end.

    Raises:
        PickleError: truncated, malformed, or longer than `MAX_OPCODES`.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts with odd escapes, which are no worse than others
            # genops needs read, readline and tell alone.
            for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
                if count >= MAX_OPCODES:
                    raise PickleError(f"more than {MAX_OPCODES} instructions")
                machine.step(opcode.name, argument)
        return InertPickle(machine.stack.pop(), frozenset(machine.globals))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise PickleError(" ".join(str(error).split())[:200] or type(error).__name__) from None


def read_entry(content: bytes) -> InertPickle:
    """Read the one pickle that some bytes are.

    Raises:
        PickleError: as `read_pickle`.
    """
    return read_pickle(io.BytesIO(content))


class _Machine:
    """Stack, marks and memo of the pickle machine; bounded by the number of instructions it is fed."""

    def __init__(self) -> None:
        self.stack: list[Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, Value] = {}
        self.globals: set[str] = set()

    def step(self, name: str, argument: Value) -> None:
        """Carry out one instruction."""
        match name:
            case "PROTO" | "FRAME" | "STOP" | "READONLY_BUFFER":
                pass
            case "MARK":
                self.marks.append(len(self.stack))
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "APPEND":
                _extend(self.stack[-2], [self.stack.pop()])
            case "APPENDS" | "ADDITEMS":
                values = self._since_mark()
                _extend(self.stack[-1], values)
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                _set_items(self.stack[-1], [key, value])
            case "SETITEMS":
                values = self._since_mark()
                _set_items(self.stack[-1], values)
            case "BUILD":
                state = self.stack.pop()
                if isinstance(self.stack[-1], Call):
                    self.stack[-1].state = state
            case _:
                self.stack.append(self._made(name, argument))

    def _made(self, name: str, argument: Value) -> Value:
        """Return the value that an instruction puts on the stack."""
        match name:
            case "NONE":
                return None
            case "NEWTRUE" | "NEWFALSE":
                return name == "NEWTRUE"
            case "EMPTY_LIST" | "EMPTY_SET":
                return []
            case "LIST" | "FROZENSET":
                return self._since_mark()
            case "EMPTY_DICT":
                return {}
            case "DICT":
                made: dict[Value, Value] = {}
                _set_items(made, self._since_mark())
                return made
            case "EMPTY_TUPLE":
                return ()
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                return tuple(self._popped(int(name[-1])))
            case "TUPLE":
                return tuple(self._since_mark())
            case "GLOBAL":
                return self._global(argument.replace(" ", ".", 1))
            case "STACK_GLOBAL":
                module, attribute = self._popped(2)
                return self._global(f"{module}.{attribute}")
            case "EXT1" | "EXT2" | "EXT4":
                return self._global(f"copyreg extension {argument}")
            case "INST":
                return Call(self._global(argument.replace(" ", ".", 1)), tuple(self._since_mark()))
            case "OBJ":
                function, *arguments = self._since_mark()
                return Call(function, tuple(arguments))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._popped(2)
                return _called(function, arguments)
            case "NEWOBJ_EX":
                function, arguments, _ = self._popped(3)
                return _called(function, arguments)
            case "PERSID":
                return Persistent(argument)
            case "BINPERSID":
                return Persistent(self.stack.pop())
            case "NEXT_BUFFER":
                return Persistent("buffer")
            case _:  # the literals: their value is the argument
                return argument

    def _global(self, name: str) -> Global:
        self.globals.add(name)
        return Global(name)

    def _popped(self, n: int) -> list[Value]:
        if len(self.stack) < n:
            raise PickleError("an instruction finds too little on the stack")
        values = self.stack[-n:]
        del self.stack[-n:]
        return values

    def _since_mark(self) -> list[Value]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values


def _called(function: Value, arguments: Value) -> Call:
    # pickle writes a tuple, and TorchScript a member's bare value; a long list is not copied at every call.
    return Call(function, arguments if isinstance(arguments, tuple) else (arguments,))


def _extend(target: Value, values: list[Value]) -> None:
    if isinstance(target, list):
        target.extend(values)


def _set_items(target: Value, values: list[Value]) -> None:
    items = target if isinstance(target, dict) else target.items if isinstance(target, Call) else {}
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Other keys name nothing that we look for, and hashing a deeply nested tuple can exhaust the C stack.
        if isinstance(key, str | int):
            items[key] = value
