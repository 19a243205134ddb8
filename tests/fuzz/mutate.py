"""Mutations of protobuf messages, of bytes and of JSON values, all drawn from one generator of random numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

WHOLE = (0, 1, -1, 2, 3, 7, 127, 255, -(2**31), 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**63))
NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "x", "?", "-1", "N", "a" * 2000, "../../x", "[/x]", "\x1b[2J", "é" * 3, "\x00", "NaN", "{", "axis")
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}  # fmt: skip
_LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Change, insert, drop, repeat or cut off a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 64))
        how = rng.randrange(6)
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            changed[at:at] = rng.randbytes(length)
        elif how == 2:
            del changed[at : at + length]
        elif how == 3:
            changed[at:at] = changed[at : at + length]
        elif how == 4:
            changed[at : at + length] = bytes([rng.choice((0, 255))]) * length
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def mutate_message(message: Message, rng: random.Random) -> None:
    """Change a few fields of a message or of those in it, in place."""
    words = _words(message)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kinds: dict[str, list[Message]] = {}
        for one in _messages(message):
            kinds.setdefault(one.DESCRIPTOR.name, []).append(one)
        _mutate_field(rng.choice(kinds[rng.choice(sorted(kinds))]), words, rng)


def _messages(message: Message) -> Iterator[Message]:
    """A message and all in it, but for the contents of large repeated fields."""
    pending = [message]
    while pending:
        one = pending.pop()
        yield one
        for field, value in one.ListFields():
            if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                pending += list(value) if field.is_repeated else [value]


def _words(message: Message) -> list[str]:
    """The names in a model: what a name is mistaken for is mostly another one."""
    found = []
    for one in _messages(message):
        for field, value in one.ListFields():
            if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type == FieldDescriptor.TYPE_STRING:
                found += list(value) if field.is_repeated else [value]
    return sorted(set(found))[:5000]


def _mutate_field(message: Message, words: list[str], rng: random.Random) -> None:
    present = [field for field, _ in message.ListFields()]
    fields = present if present and rng.random() < 0.8 else list(message.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.is_repeated:
        _mutate_repeated(getattr(message, field.name), field, words, rng)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, _scalar(getattr(message, field.name), field, words, rng))


def _mutate_repeated(values: Any, field: FieldDescriptor, words: list[str], rng: random.Random) -> None:
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    if not len(values) or rng.random() < 0.1:
        if is_message:
            values.add()
        else:
            values.append(_scalar(None, field, words, rng))
        return
    at, how = rng.randrange(len(values)), rng.randrange(4)
    if how == 0:
        del values[at]
    elif how == 1 and is_message:
        values.add().CopyFrom(values[at])
    elif how == 1:
        values.append(values[at])
    elif is_message:
        other = type(values[at])()
        other.CopyFrom(values[rng.randrange(len(values))])
        values[at].CopyFrom(other)
    else:
        values[at] = _scalar(values[at], field, words, rng)


def _scalar(value: Any, field: FieldDescriptor, words: list[str], rng: random.Random) -> Any:
    if field.cpp_type in _INTEGERS:
        low, high = _LIMITS[field.cpp_type]
        near = (value or 0) + rng.choice((-1, 1, 2))
        return min(max(rng.choice((*WHOLE, near, near, rng.randrange(30))), low), high)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice((*NUMBERS, rng.uniform(-2, 2)))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return not value
    if field.type == FieldDescriptor.TYPE_BYTES:
        return mutate_bytes(value or b"", rng)
    return rng.choice((*TEXTS, *(rng.choice(words) for _ in range(20 if words else 0))))


def mutate_json(value: Any, rng: random.Random) -> Any:
    """Change a JSON value somewhere: another type, a key less, an extreme number, deep nesting."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        changed = dict(value)
        how = rng.random()
        if how < 0.1:
            del changed[key]
        elif how < 0.2:
            changed[rng.choice(TEXTS)] = changed.pop(key)
        else:
            changed[key] = mutate_json(changed[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        changed_list = list(value)
        at = rng.randrange(len(value))
        if rng.random() < 0.3:
            del changed_list[at]
        else:
            changed_list[at] = mutate_json(value[at], rng)
        return changed_list
    number = 10 ** rng.choice((1, 3, 30, 300)) if rng.random() < 0.2 else rng.choice(WHOLE)
    others = [None, True, False, number, rng.choice(NUMBERS), rng.choice(TEXTS), [], {}, [value], {"x": value}]
    others += [[[value] * 3] * 3, {"names": {"0": "a"}}, [30_000, 30_000], 30_000, "1" * 5_000]
    return rng.choice(others)


def written_json(value: Any, rng: random.Random) -> bytes:
    """JSON text, sometimes with damaged bytes, another encoding or a byte order mark."""
    data = json.dumps(value).encode()
    how = rng.random()
    if how < 0.15:
        return mutate_bytes(data, rng)
    if how < 0.2:
        return json.dumps(value).encode("utf-16")
    if how < 0.25:
        return b"\xef\xbb\xbf" + data
    if how < 0.28:
        return b"[" * rng.choice((10, 2_000, 100_000))
    return data
