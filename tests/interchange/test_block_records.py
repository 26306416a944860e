"""Tests of reading block_records.npy: numpy's own loader, which runs pickles, is the oracle."""

from __future__ import annotations

import io
import os
import pickle
import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.errors import InputError
from openrealm.interchange.block_records import count_block_records, read_block_records

SAME = b"a block that comes several times"
RECORDS = {
    "none": [],
    "one": [b"alone"],
    "two": [b"first", "zwölf Bücher".encode()],
    "short and empty": [b"", b"b", b"", b"x", b"b"],
    "one batch": [b"%d" % n for n in range(1000)],
    "one over a batch": [b"%d" % n for n in range(1001)],
    "several batches with repeats": [SAME if n % 7 == 0 else b"%d" % n for n in range(2500)],
    "long": [b"x" * 255, b"x" * 256, b"x" * 70_000, bytes(range(256)) * 3],
}


def array_of(values: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def npy(array: Any, *, protocol: int = 4, like: np.ndarray | None = None) -> bytes:
    """The bytes of a .npy file whose pickle is of any object at all."""
    header = np.lib.format.header_data_from_array_1_0(array if like is None else like)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    pickle.dump(array, file, protocol=protocol)
    return file.getvalue()


def read(tmp_path: Path, data: bytes) -> list[bytes]:
    path = tmp_path / "block_records.npy"
    path.write_bytes(data)
    return list(read_block_records(path))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", RECORDS)
def test_it_reads_what_numpy_reads(tmp_path: Path, name: str, protocol: int) -> None:
    data = npy(array_of(RECORDS[name]), protocol=protocol)
    wanted = np.load(io.BytesIO(data), allow_pickle=True)
    assert read(tmp_path, data) == wanted.tolist() == RECORDS[name]
    assert count_block_records(tmp_path / "block_records.npy") == len(wanted)


@pytest.mark.parametrize("name", RECORDS)
def test_it_reads_what_numpy_saves(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "saved.npy", array_of(RECORDS[name]), allow_pickle=True)
    assert list(read_block_records(tmp_path / "saved.npy")) == RECORDS[name]


@pytest.mark.parametrize("protocol", [2, 3])
def test_it_reads_the_spelling_of_the_other_numpy(tmp_path: Path, protocol: int) -> None:
    data = npy(array_of([b"one", b"two"]), protocol=protocol)
    spellings = [b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"]
    assert any(spelling in data for spelling in spellings)
    for spelling in spellings:
        other = data.replace(spellings[0], spelling).replace(spellings[1], spelling)
        assert read(tmp_path, other) == [b"one", b"two"]


@given(values=st.lists(st.binary(max_size=300), max_size=40), protocol=st.integers(2, 5))
def test_any_byte_strings_come_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes], protocol: int
) -> None:
    assert read(tmp_path_factory.mktemp("any"), npy(array_of(values), protocol=protocol)) == values


class _Command:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_record_that_is_a_command_is_refused_by_name_and_not_run(
    tmp_path: Path, protocol: int
) -> None:
    command = _Command(os.system, f"touch {tmp_path / 'ran'}")
    data = npy(array_of([b"one", command]), protocol=protocol)
    with pytest.raises(InputError) as refused:
        read(tmp_path, data)
    assert not (tmp_path / "ran").exists()
    assert "executed" in str(refused.value)
    if protocol >= 2:
        assert "posix.system" in str(refused.value)
        assert "byte" in str(refused.value)


def test_a_command_in_place_of_the_array_is_refused_by_name(tmp_path: Path) -> None:
    like = array_of([b"one"])
    for command in (_Command(os.getcwd), _Command(print, "x"), _Command(eval, "1")):
        with pytest.raises(InputError, match=r"getcwd|print|eval"):
            read(tmp_path, npy(command, like=like))


def test_the_functions_that_are_known_are_not_called_with_anything_else(tmp_path: Path) -> None:
    import _codecs

    like = array_of([b"one"])
    reconstruct = like.__reduce__()[0]
    commands = [
        _Command(_codecs.encode, "x", "rot13"),
        _Command(reconstruct, np.ndarray, (10**9,), b"b"),
        _Command(np.dtype, "V1000000000", False, True),
        _Command(np.ndarray, (10**9,)),
    ]
    for command in commands:
        with pytest.raises(InputError, match="calls at byte"):
            read(tmp_path, npy(array_of([command]), like=like))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("text", "str"),
        (None, "NoneType"),
        (7, "int"),
        (True, "bool"),
        ((b"a", b"b"), "a record is no byte string"),
        (np.dtype(object), "type"),
        ([b"a"], "second list"),
        ({b"a": 1}, "EMPTY_DICT"),
        (1.5, "BINFLOAT"),
        (bytearray(b"a"), "BYTEARRAY8"),
        (10**30, "LONG1"),
        ({b"a"}, "EMPTY_SET"),
        (np.array([1, 2]), "numpy|array"),
        (array_of([b"inner"]), "second list"),
        (np.bytes_(b"a"), "numpy"),
        (Path("x"), "pathlib"),
    ],
)
def test_a_record_that_is_no_byte_string_is_refused_by_its_kind(
    tmp_path: Path, value: object, kind: str
) -> None:
    with pytest.raises(InputError, match=kind):
        read(tmp_path, npy(array_of([b"one", value]), protocol=5))


def test_many_values_that_are_no_byte_strings_are_not_collected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than byte strings"):
        read(tmp_path, npy(array_of(list(range(900)))))


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    for protocol in (2, 4):
        data = npy(array_of([b"one", SAME, b"three", SAME]), protocol=protocol)
        for size in range(len(data)):
            with pytest.raises(InputError):
                read(tmp_path, data[:size])


def test_a_damaged_byte_is_never_worse_than_an_error(tmp_path: Path) -> None:
    dice = random.Random(0)
    for protocol in (2, 3, 4):
        data = npy(array_of([b"one", SAME, b"three", SAME]), protocol=protocol)
        for _ in range(1500):
            broken = bytearray(data)
            for _ in range(dice.choice((1, 1, 2, 3))):
                broken[dice.randrange(len(data))] = dice.randrange(256)
            try:
                found = read(tmp_path, bytes(broken))
            except InputError:
                continue
            assert len(found) == 4 and all(type(record) is bytes for record in found)


def test_a_length_of_gigabytes_in_a_small_file_reserves_nothing(tmp_path: Path) -> None:
    data = npy(array_of([b"x" * 300]))
    at = data.index(b"B" + (300).to_bytes(4, "little"))
    broken = data[: at + 1] + (0xFFFFFFF0).to_bytes(4, "little") + data[at + 5 :]
    with pytest.raises(InputError, match="cut short"):
        read(tmp_path, broken)


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="goes on for 2 bytes"):
        read(tmp_path, npy(array_of([b"one"])) + b"..")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([1.0, 2.0]), "float64|f8"),
        (np.array([b"one"]), "S3"),
        (np.empty((2, 2), dtype=object), r"shape \(2, 2\)"),
        (np.empty((), dtype=object), r"shape \(\)"),
    ],
)
def test_another_kind_of_array_is_refused_by_its_header(
    tmp_path: Path, array: np.ndarray, reason: str
) -> None:
    np.save(tmp_path / "other.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=reason):
        list(read_block_records(tmp_path / "other.npy"))


def test_fortran_order_is_refused(tmp_path: Path) -> None:
    data = npy(array_of([b"one"]))
    with pytest.raises(InputError, match="Fortran"):
        read(tmp_path, data.replace(b"'fortran_order': False", b"'fortran_order': True "))


@pytest.mark.parametrize("stated", [0, 2, 7])
def test_another_number_of_records_than_the_header_says_is_refused(
    tmp_path: Path, stated: int
) -> None:
    data = npy(array_of([b"1", b"2", b"3"]), like=np.empty(stated, dtype=object))
    with pytest.raises(InputError, match=f"3 records where its header says {stated}"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\x04\x00{a}\n"]
)
def test_what_is_no_npy_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError):
        read(tmp_path, data)


def test_a_file_that_is_not_there_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        count_block_records(tmp_path / "nothing.npy")


def test_memory_does_not_grow_with_the_number_of_records(tmp_path: Path) -> None:
    peaks = []
    for number in (2_000, 20_000):
        path = tmp_path / f"{number}.npy"
        np.save(path, array_of([b"%d " % n * 20 for n in range(number)]), allow_pickle=True)
        tracemalloc.start()
        for _ in read_block_records(path):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000
