"""A reader of GGUF files, version 3: metadata and tensors, as far as the demo's model needs them.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: little-endian; a header, metadata as
typed key and value pairs, a directory of tensors, then their bytes at multiples of the alignment. Three types of
tensors are read: F32; Q4_1, in blocks of 32 values, each a 16-bit scale, a 16-bit minimum and 16 bytes with low nibbles
first; and Q8_0, in blocks of a 16-bit scale and 32 signed bytes.
"""

import struct
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32
BLOCK = 32
COUNT_MAX = 1 << 20
"""The most entries of one list: a file that says more is not read."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _LIST = 8, 9
_F32, _Q4_1, _Q8_0 = 0, 3, 8
_BLOCK_BYTES = {_Q4_1: 20, _Q8_0: 34}

Tensor = NDArray[np.float32]


class GgufError(ValueError):
    """The bytes are not a GGUF file that this module reads; `args` is (what is wrong)."""


class Gguf(Struct, frozen=True, kw_only=True):
    """A file: its metadata, and its tensors by name, with the slowest dimension first."""

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


class _Cursor:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 0

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._raw, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def count(self) -> int:
        value = self.scalar("Q")
        if value > COUNT_MAX:
            raise GgufError(f"{value} entries")
        return value

    def text(self) -> str:
        length = self.count()
        value = self._raw[self.at : self.at + length].decode("utf-8")
        self.at += length
        return value

    def value(self) -> Any:
        return self._of(self.scalar("I"))

    def _of(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _LIST:
            inner, length = self.scalar("I"), self.count()
            return [self._of(inner) for _ in range(length)]
        if kind not in _SCALARS:
            raise GgufError(f"metadata of type {kind}")
        return self.scalar(_SCALARS[kind])


def read_gguf(raw: bytes) -> Gguf:
    """Read a whole file. Raises GgufError for what it cannot read."""
    if raw[:4] != MAGIC:
        raise GgufError("not a GGUF file")
    cursor = _Cursor(raw)
    cursor.at = 4
    try:
        if (version := cursor.scalar("I")) != VERSION:
            raise GgufError(f"version {version}, not {VERSION}")
        tensor_count, value_count = cursor.count(), cursor.count()
        metadata: dict[str, Any] = {}
        for _ in range(value_count):
            name = cursor.text()
            metadata[name] = cursor.value()
        directory = [_entry(cursor) for _ in range(tensor_count)]
        start = -(-cursor.at // ALIGNMENT) * ALIGNMENT
        tensors = {name: _tensor(raw, start + offset, kind, shape) for name, shape, kind, offset in directory}
    except (struct.error, UnicodeDecodeError) as exc:
        raise GgufError(f"cut off or broken near byte {cursor.at}") from exc
    return Gguf(metadata=metadata, tensors=tensors)


def _entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Return a tensor's name, shape, type and offset; the file has the fastest dimension first."""
    name = cursor.text()
    dimensions = [cursor.count() for _ in range(cursor.scalar("I"))]
    return name, tuple(reversed(dimensions)), cursor.scalar("I"), cursor.scalar("Q")


def _tensor(raw: bytes, at: int, kind: int, shape: tuple[int, ...]) -> Tensor:
    count = int(np.prod(shape))
    size = 4 * count if kind == _F32 else count // BLOCK * _BLOCK_BYTES.get(kind, 0)
    data = np.frombuffer(raw[at : at + size], np.uint8)
    if kind not in (_F32, _Q4_1, _Q8_0):
        raise GgufError(f"a tensor of type {kind}")
    if data.size != size:
        raise GgufError("a tensor is cut off")
    if kind == _F32:
        return data.view(np.float32).reshape(shape)
    blocks = data.reshape(-1, _BLOCK_BYTES[kind])
    scale = _halves(blocks[:, 0:2])
    if kind == _Q8_0:
        return (blocks[:, 2:].view(np.int8).astype(np.float32) * scale).reshape(shape)
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1).astype(np.float32)
    return (nibbles * scale + _halves(blocks[:, 2:4])).reshape(shape)


def _halves(raw: NDArray[np.uint8]) -> Tensor:
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float32)
