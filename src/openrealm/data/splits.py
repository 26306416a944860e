"""The original's rule for taking development questions out of a training file; knows no files.

A question is for development where FarmHash's 64-bit fingerprint of it, in buckets of 100,000,
ends in 0. Of WebQuestions' 3,778 training questions that leaves 3,417 to train on.
Source: orqa/preprocessing/create_data_splits.py, tf.strings.to_hash_bucket_fast.
"""

from __future__ import annotations

from collections.abc import Sequence

from openrealm.data.qa import Question

_BUCKETS, _EVERY = 100_000, 10
_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def is_development(question: str) -> bool:
    """Whether the original keeps a training question for development."""
    return fingerprint64(question.encode("utf-8")) % _BUCKETS % _EVERY == 0


def split_development(
    questions: Sequence[Question],
) -> tuple[list[Question], list[Question]]:
    """Questions to train on, and those that the rule keeps for development."""
    train = [question for question in questions if not is_development(question.text)]
    return train, [question for question in questions if is_development(question.text)]


def fingerprint64(data: bytes) -> int:
    """FarmHash's Fingerprint64, which is the same on every machine.

    There is a package for it, but it has to be compiled, and this is all of it that is needed.
    """
    if len(data) <= 16:
        return _up_to_16(data)
    if len(data) <= 32:
        return _up_to_32(data)
    return _up_to_64(data) if len(data) <= 64 else _long(data)


def _up_to_16(data: bytes) -> int:
    size = len(data)
    mul = _K2 + 2 * size
    if size >= 8:
        a, b = _word(data, 0) + _K2, _word(data, size - 8)
        return _mix(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if size >= 4:
        return _mix(size + (_half(data, 0) << 3), _half(data, size - 4), mul)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _shift(y * _K2 & _MASK ^ z * _K0 & _MASK) * _K2 & _MASK
    return _K2


def _up_to_32(data: bytes) -> int:
    size = len(data)
    mul = _K2 + 2 * size
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, size - 8) * mul, _word(data, size - 16) * _K2
    return _mix(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, mul)


def _up_to_64(data: bytes) -> int:
    size = len(data)
    mul = _K2 + 2 * size
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, size - 8) * mul, _word(data, size - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _mix(y, a + _rotate(b + _K2, 18) + c, mul)
    e, f = _word(data, 16) * mul, _word(data, 24)
    g, h = (y + _word(data, size - 32)) * mul, (z + _word(data, size - 24)) * mul
    return _mix(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)


def _long(data: bytes) -> int:
    size = len(data)
    x, y = 81, 81 * _K1 + 113 & _MASK
    z = _shift(y * _K2 + 113 & _MASK) * _K2
    v = w = (0, 0)
    x = x * _K2 + _word(data, 0)
    end = (size - 1) // 64 * 64
    for at in range(0, end, 64):
        x, y, z, v, w = _round(data, at, x, y, z, v, w, mul=_K1, nine=1)
    mul = _K1 + ((z & 0xFF) << 1)
    w = (w[0] + (size - 1 & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x, y, z, v, w = _round(data, size - 64, x, y, z, v, w, mul=mul, nine=9)
    return _mix(
        _mix(v[0], w[0], mul) + _shift(y) * _K0 + z,
        _mix(v[1], w[1], mul) + x,
        mul,
    )


Pair = tuple[int, int]


def _round(
    data: bytes, at: int, x: int, y: int, z: int, v: Pair, w: Pair, *, mul: int, nine: int
) -> tuple[int, int, int, Pair, Pair]:
    """Mixes 64 bytes into the state. The last round multiplies two of its terms by nine."""
    x = _rotate(x + y + v[0] + _word(data, at + 8), 37) * mul
    y = _rotate(y + v[1] + _word(data, at + 48), 42) * mul
    x = (x & _MASK) ^ (w[1] * nine & _MASK)
    y = y + v[0] * nine + _word(data, at + 40) & _MASK
    z = _rotate(z + w[0], 33) * mul & _MASK
    v = _weak(data, at, v[1] * mul, x + w[0])
    w = _weak(data, at + 32, z + w[1], y + _word(data, at + 16))
    return z, y, x, v, w


def _weak(data: bytes, at: int, a: int, b: int) -> Pair:
    first, second, third, fourth = (_word(data, at + 8 * n) for n in range(4))
    a = a + first
    b = _rotate(b + a + fourth, 21)
    c = a
    a = a + second + third
    b = b + _rotate(a, 44)
    return a + fourth & _MASK, b + c & _MASK


def _mix(u: int, v: int, mul: int) -> int:
    u, v = u & _MASK, v & _MASK
    a = _shift((u ^ v) * mul & _MASK)
    return _shift((v ^ a) * mul & _MASK) * mul & _MASK


def _shift(value: int) -> int:
    return value ^ value >> 47


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return value >> bits | value << 64 - bits & _MASK


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _half(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
