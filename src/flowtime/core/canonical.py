"""Canonical JSON and the hashes made of it.

Canonical JSON: UTF-8, keys sorted by code point, no white space, no NaN or infinity, negative zero as
zero, floats that are integers below 2^53 written as integers, all other floats in their shortest
round-trip digits. Two documents with the same meaning have the same bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

JSON = dict[str, Any]


def dump(value: object) -> bytes:
    """`value` (JSON types, tuples allowed) as canonical JSON."""
    return msgspec.json.encode(_normal(value), order="sorted")


def load(data: bytes) -> Any:
    """The value in JSON text, canonical or not, with integers of any size; raises ValueError."""
    return msgspec.json.decode(data)


def sha256(data: bytes) -> str:
    """`sha256:` and the 64 hex digits of the hash of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hash_of(value: object) -> str:
    """`sha256:...` over the canonical JSON of `value`."""
    return sha256(dump(value))


def number(value: float) -> int | float:
    """`value` in the form that canonical JSON writes: an integer where it is one below 2^53."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _normal(value: Any) -> Any:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    return value
