"""Reads ``block_records.npy``, a pickled array of byte strings, without unpickling anything.

The file is ``numpy.save`` of a one-dimensional object array: a header, then a pickle, which is a
program. It is read here by a machine that knows no more of that language than numpy needs to write
such an array: it calls nothing and imports nothing, and whatever else the program asks for is
refused by name and place. Records are handed out one by one; memory does not grow with the file.
Knows nothing of what the records are.
"""

from __future__ import annotations

import ast
import pickletools
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from openrealm.errors import InputError

_MAGIC = b"\x93NUMPY"
# An honest pickle of an array has at most a dozen values waiting; a batch of records is none.
_MAX_DEPTH = 64
_MAX_HEADER = 1 << 16

# The functions that such a pickle names, and what each must be given.
_RECONSTRUCT = {
    f"{module} _reconstruct" for module in ("numpy.core.multiarray", "numpy._core.multiarray")
}
_NDARRAY, _DTYPE, _ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
# Protocol 2 has no byte strings: it has them encoded, and the empty one made by a call.
_EMPTY = {"__builtin__ bytes", "builtins bytes"}
_GLOBALS = {*_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE, *_EMPTY}

# Opcodes by their argument: none, or a number in so many bytes.
_BARE = frozenset(b"(.)NR\x85\x86\x87tb]ae\x88\x89\x93\x94")
_NUMBERS = {
    ord("K"): "<B",  # BININT1
    ord("M"): "<H",  # BININT2
    ord("J"): "<i",  # BININT
    ord("q"): "<B",  # BINPUT
    ord("r"): "<I",  # LONG_BINPUT
    ord("h"): "<B",  # BINGET
    ord("j"): "<I",  # LONG_BINGET
    0x80: "<B",  # PROTO
    0x95: "<Q",  # FRAME
}
_SIZED = {
    ord("C"): "<B",  # SHORT_BINBYTES
    ord("B"): "<I",  # BINBYTES
    0x8E: "<Q",  # BINBYTES8
    0x8C: "<B",  # SHORT_BINUNICODE
    ord("X"): "<I",  # BINUNICODE
}
_TEXT = frozenset(b"\x8cX")
_NAMES = {ord(op.code): op.name for op in pickletools.opcodes}


class _Symbol:
    """Something that unpickling would create; here it is only a name."""

    def __init__(self, name: str) -> None:
        self.name = name


_MARK = _Symbol("a mark")


@dataclass(slots=True)
class _List:
    """Stands for the list of records, which are handed out and not kept."""

    count: int = 0


class _File:
    """The file's bytes in order; counts them, and refuses to run past the end."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.size = path.stat().st_size
        self.at = 0

    def read(self, size: int) -> bytes:
        # Asked first: a length of gigabytes in a small file must not reserve them.
        if size > self.size - self.at:
            self.refuse(f"is cut short: it ends in the middle, after {self.size} bytes")
        self.at += size
        return self._file.read(size)

    def line(self) -> str:
        line = self._file.readline(256)
        self.at += len(line)
        return line.rstrip(b"\n").decode("utf-8", "replace")

    def refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self.path} {what}; nothing of it was executed or imported")


def read_block_records(path: Path) -> Iterator[bytes]:
    """The records of a ``block_records.npy`` in order.

    The file is read twice: first for which values are used again, so that no other is kept.

    Raises:
        InputError: It is anything else than a whole one-dimensional object array of byte strings;
            the message says what and where. Raised before the first record where the header or
            an opcode is wrong, else in the place where the fault is.
    """
    with _opened(path) as file:
        count = _read_header(file)
        wanted = {argument for op, argument in _opcodes(file) if op in b"hj"}
        if file.at != file.size:
            file.refuse(f"goes on for {file.size - file.at} bytes after the end of its array")
    with _opened(path) as file:
        _read_header(file)
        yield from _Machine(file, count, wanted).run()


def count_block_records(path: Path) -> int:
    """How many records a ``block_records.npy`` says it has.

    Raises:
        InputError: It is no one-dimensional object array.
    """
    with _opened(path) as file:
        return _read_header(file)


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    try:
        file = open(path, "rb", buffering=1 << 20)  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    with file:
        yield _File(path, file)


def _read_header(file: _File) -> int:
    """The number of records that the header of the .npy file states."""
    if file.read(len(_MAGIC)) != _MAGIC:
        file.refuse("is no .npy file")
    version = tuple(file.read(2))
    if version not in ((1, 0), (2, 0), (3, 0)):
        file.refuse(f"is of version {version[0]}.{version[1]} of the .npy format, not 1.0 to 3.0")
    size: int = struct.unpack(
        "<H" if version == (1, 0) else "<I", file.read(2 + 2 * (version[0] > 1))
    )[0]
    if size > _MAX_HEADER:
        file.refuse(f"has a header of {size} bytes")
    try:
        header = ast.literal_eval(file.read(size).decode("latin1").strip())
        kind, is_fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f"{file.path} has a damaged header ({error})") from error
    if kind not in ("|O", "O"):
        file.refuse(f"holds {kind!r}, not an object array of byte strings")
    if not isinstance(shape, tuple) or len(shape) != 1 or type(shape[0]) is not int:
        file.refuse(f"holds an array of shape {shape}, not a list of records")
    if is_fortran is not False:
        file.refuse("is in Fortran order")
    count: int = shape[0]
    return count


def _opcodes(file: _File) -> Iterator[tuple[int, Any]]:
    """The opcodes with their arguments, up to STOP; one that no such array needs is refused."""
    while True:
        at = file.at
        op = file.read(1)[0]
        argument: Any = None
        if op in _SIZED:
            format_ = _SIZED[op]
            size = struct.unpack(format_, file.read(struct.calcsize(format_)))[0]
            argument = file.read(size)
            if op in _TEXT:
                argument = _text(file, argument)
        elif op in _NUMBERS:
            format_ = _NUMBERS[op]
            argument = struct.unpack(format_, file.read(struct.calcsize(format_)))[0]
        elif op == ord("c"):
            argument = f"{file.line()} {file.line()}"
            _check_global(file, argument, at)
        elif op not in _BARE:
            name = _NAMES.get(op, f"0x{op:02x}")
            file.refuse(
                f"has the pickle opcode {name} at byte {at}, of which such an array has none"
            )
        yield op, argument
        if op == ord("."):
            return


def _text(file: _File, argument: bytes) -> str:
    try:
        return argument.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        file.refuse(f"has text that is not UTF-8 before byte {file.at}")


def _check_global(file: _File, name: str, at: int) -> None:
    if name not in _GLOBALS:
        file.refuse(
            f"asks at byte {at} for '{name.replace(' ', '.')}', which is no part of an array "
            "of byte strings"
        )


class _Machine:
    """Follows the pickle of one array, and hands out the records of its list."""

    def __init__(self, file: _File, count: int, wanted: set[int]) -> None:
        self._file, self._count, self._wanted = file, count, wanted
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._num_memo = 0
        # Height of the stack at which what is pushed is a record; -1 outside of the list.
        self._records_at = -1
        self._list: _List | None = None

    def run(self) -> Iterator[bytes]:
        """The records; at the end the array must be whole."""
        stack = self._stack
        for op, argument in _opcodes(self._file):
            # A record stays until the next opcode: one may put it into the memo.
            if len(stack) == self._records_at + 1 and op not in b"\x94qr" and stack:
                record = stack[-1]
                if type(record) is bytes:
                    stack.pop()
                    assert self._list is not None
                    self._list.count += 1
                    yield record
            if op == ord("a"):
                yield self._appended()
            elif op in b"CB\x8e\x8cXKMJ":
                self._push(argument)
            elif op == 0x94:
                self._put(self._num_memo)
            elif op in b"qr":
                self._put(argument)
            elif op not in b"\x80\x95.":
                self._step(op, argument)
        array = self._stack.pop() if len(self._stack) == 1 else None
        if not isinstance(array, _Symbol) or array.name != "array":
            self._file.refuse("ends without its array")

    def _push(self, value: Any) -> None:
        if len(self._stack) >= _MAX_DEPTH:
            self._file.refuse(f"holds, before byte {self._file.at}, more than byte strings")
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            what = "a record is no byte string" if self._records_at >= 0 else "a value is missing"
            self._file.refuse(f"is not read on: {what} before byte {self._file.at}")
        return self._stack.pop()

    def _put(self, number: int) -> None:
        if not self._stack:
            self._file.refuse(f"is damaged: a value is missing before byte {self._file.at}")
        self._num_memo += 1
        if number in self._wanted:
            self._memo[number] = self._stack[-1]

    def _popped_to_mark(self) -> tuple[Any, ...]:
        if _MARK not in self._stack:
            self._file.refuse(f"is damaged: a mark is missing before byte {self._file.at}")
        mark = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        values = tuple(self._stack[mark + 1 :])
        del self._stack[mark:]
        return values

    def _step(self, op: int, argument: Any) -> None:
        if op in b"hj":
            if argument not in self._memo:
                self._file.refuse(f"is damaged: it uses value {argument}, which it never kept")
            self._push(self._memo[argument])
        elif op == ord("("):
            is_list = bool(self._stack) and self._stack[-1] is self._list and self._list is not None
            self._push(_MARK)
            if is_list:
                self._records_at = len(self._stack)
        elif op == ord("e"):
            self._end_of_batch()
        elif op == ord("]"):
            if self._list is not None:
                self._file.refuse(f"has a second list at byte {self._file.at - 1}")
            self._list = _List()
            self._push(self._list)
        elif op in b"\x85\x86\x87":
            parts = [self._pop() for _ in range(op - 0x84)]
            self._push(tuple(reversed(parts)))
        elif op == ord("t"):
            self._push(self._popped_to_mark())
        elif op == ord("c"):
            self._push(_Symbol(argument))
        elif op == 0x93:
            name, module = self._pop(), self._pop()
            _check_global(self._file, f"{module} {name}", self._file.at - 1)
            self._push(_Symbol(f"{module} {name}"))
        elif op == ord("R"):
            arguments, function = self._pop(), self._pop()
            self._push(self._reduced(function, arguments))
        elif op == ord("b"):
            self._build(self._pop())
        else:
            self._push({ord("N"): None, ord(")"): (), 0x88: True, 0x89: False}[op])

    def _appended(self) -> bytes:
        """The record of a batch of one."""
        record = self._pop()
        if type(record) is not bytes or not self._stack or self._stack[-1] is not self._list:
            self._not_bytes(record)
        assert self._list is not None
        self._list.count += 1
        return record

    def _end_of_batch(self) -> None:
        values = self._popped_to_mark()
        if not self._stack or self._stack[-1] is not self._list or self._records_at < 0:
            self._file.refuse(f"is damaged: it fills no list before byte {self._file.at}")
        self._records_at = -1
        if values:
            self._not_bytes(values[0])

    def _not_bytes(self, value: Any) -> NoReturn:
        number = self._list.count if self._list is not None else 0
        kind = "an array or a type" if isinstance(value, _Symbol) else f"a {type(value).__name__}"
        self._file.refuse(f"has {kind} as record {number}, where only byte strings may be")

    def _reduced(self, function: Any, arguments: Any) -> Any:
        """The result of one of the three known calls."""
        name = function.name if isinstance(function, _Symbol) else None
        if name in _RECONSTRUCT and _is_array_call(arguments):
            return _Symbol("empty array")
        if name == _DTYPE and _same(arguments, ("O8", False, True)):
            return _Symbol("empty dtype")
        if name in _EMPTY and arguments == ():
            return b""
        if name == _ENCODE and isinstance(arguments, tuple) and len(arguments) == 2:
            text, encoding = arguments
            if isinstance(text, str) and encoding == "latin1":
                try:
                    return text.encode("latin1")
                except UnicodeEncodeError:
                    pass
        return self._file.refuse(
            f"calls at byte {self._file.at - 1} something else than numpy's array of objects"
        )

    def _build(self, state: Any) -> None:
        target = self._stack[-1] if self._stack else None
        name = target.name if isinstance(target, _Symbol) else None
        if name == "empty dtype" and _same(state, (3, "|", None, None, None, -1, -1, 63)):
            self._stack[-1].name = "dtype"
            return
        if name != "empty array" or not isinstance(state, tuple) or len(state) != 5:
            self._file.refuse(
                f"is no array of byte strings: it builds another thing at byte {self._file.at - 1}"
            )
        version, shape, dtype, is_fortran, records = state
        is_right = (
            type(version) is int
            and version == 1
            and isinstance(dtype, _Symbol)
            and dtype.name == "dtype"
            and is_fortran is False
            and records is self._list
            and records is not None
        )
        if not is_right:
            self._file.refuse("is no array of byte strings in C order")
        if not _same(shape, (self._count,)) or records.count != self._count:
            self._file.refuse(f"holds {records.count} records where its header says {self._count}")
        self._stack[-1].name = "array"


def _is_array_call(arguments: Any) -> bool:
    """Whether these are the arguments with which numpy makes an empty array."""
    if not isinstance(arguments, tuple) or len(arguments) != 3:
        return False
    kind, shape, code = arguments
    return (
        isinstance(kind, _Symbol) and kind.name == _NDARRAY and _same(shape, (0,)) and code == b"b"
    )


def _same(value: Any, wanted: tuple[Any, ...]) -> bool:
    """Equality of plain tuples, where 0 may stand for False and 1 for True, as in older files."""
    return (
        isinstance(value, tuple)
        and all(v is None or type(v) in (int, bool, str) for v in value)
        and value == wanted
    )
