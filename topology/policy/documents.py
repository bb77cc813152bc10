"""Policy documents: bytes to plain values, parts to structs, every fault collected with its path.

A document is YAML or JSON. Its hash is that of its canonical JSON, not of the structs, so that every version of this
program computes the same one.
"""

import hashlib
from collections.abc import Mapping
from typing import TypeVar, cast

import msgspec

from topology.contract.codec import canonical_json
from topology.contract.errors import PolicyError
from topology.policy.document_bounds import check_json, check_yaml

DOCUMENT_BYTES_MAX = 1_048_576
DOCUMENT_VALUES_MAX = 100_000
"""The most values in one document."""

T = TypeVar("T")


def digest(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, in lower-case hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def without(document: Mapping[str, object], *names: str) -> dict[str, object]:
    """Return the document without some top-level fields."""
    return {name: value for name, value in document.items() if name not in names}


def read_document(raw: bytes, what: str) -> dict[str, object]:
    """Read a document's fields as plain values. Raises PolicyError if it is not a mapping, too large or malformed."""
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise PolicyError(f"{what}: {len(raw)} bytes, at most {DOCUMENT_BYTES_MAX}")
    try:
        document = _decode(raw, what)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        raise PolicyError(f"{what}: neither YAML nor JSON ({type(exc).__name__})") from exc
    if not isinstance(document, dict):
        raise PolicyError(f"{what}: not a mapping")
    _check_size(document, what)
    return cast("dict[str, object]", document)


def _decode(raw: bytes, what: str) -> object:
    try:
        document = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        check_yaml(raw, what)
        return msgspec.yaml.decode(raw)
    check_json(raw, what)
    return document


def part(path: str, value: object, kind: type[T], reasons: list[str]) -> T | None:
    """Convert a value to a struct; return None if it does not fit, and add the reason with its path to `reasons`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        reasons.append(f"{path}: {exc}")
        return None


def parts(path: str, value: object, kind: type[T], reasons: list[str]) -> dict[str, T]:
    """Convert each entry of a mapping to a struct by itself, so that one bad entry does not hide the next."""
    if not isinstance(value, dict):
        reasons.append(f"{path}: not a mapping")
        return {}
    entries = cast("dict[str, object]", value)
    made = {name: part(f"{path}.{name}", entry, kind, reasons) for name, entry in entries.items()}
    return {name: entry for name, entry in made.items() if entry is not None}


def raise_all(reasons: list[str], what: str) -> None:
    """Raise PolicyError with every reason, if there are any."""
    if reasons:
        raise PolicyError(*(f"{what}: {reason}" for reason in reasons))


def _check_size(document: object, what: str) -> None:
    """Bound the number of values and refuse keys that are not text."""
    waiting, count = [document], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > DOCUMENT_VALUES_MAX:
            raise PolicyError(f"{what}: more than {DOCUMENT_VALUES_MAX} values")
        if isinstance(value, dict):
            entries = cast("dict[object, object]", value)
            odd = sorted({type(name).__name__ for name in entries if not isinstance(name, str)})
            if odd:
                raise PolicyError(f"{what}: a key reads as {odd[0]}, not as text; quote it")
            waiting.extend(entries.values())
        elif isinstance(value, list):
            waiting.extend(cast("list[object]", value))
