"""The few lines of Protocol Buffers' wire format that let a file be written piece by piece.

A field is a tag, its length and its bytes; the tag is the field's number and the wire type 2 for
everything that has a length; numbers are base-128, lowest digits first.
"""

from __future__ import annotations

from enum import IntEnum

WITH_LENGTH = 2


class Field(IntEnum):
    """Numbers of fields in ONNX's messages, all below 16, so that a tag is one byte."""

    MODEL_GRAPH = 7
    GRAPH_INITIALIZER = 5
    TENSOR_RAW = 9


def varint(value: int) -> bytes:
    """A number in base 128; every byte but the last has its highest bit set."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put(field: Field, count: int) -> bytes:
    """What stands before the `count` bytes of a field."""
    return bytes((field << 3 | WITH_LENGTH,)) + varint(count)


def length(count: int) -> int:
    """Bytes of a field of `count` bytes with what stands before it."""
    return 1 + len(varint(count)) + count
