"""The one form of everything that the platform signs: a line with the domain and its version, then canonical JSON.

    sluicegate grant v1
    {"grant":"erotica_adult","key_id":"platform-2026",…}

The line is part of what is signed, so that no signature of one kind is valid for another, whatever its fields are.
"""

from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Final

from topology.contract.codec import canonical_json


class Signed(StrEnum):
    """The kind of a signed message: its domain."""

    GRANT = "grant"
    OVERLAY = "overlay"
    CANARY = "canary"
    POLICY = "policy"


class Proof(Enum):
    """The outcome of checking a signature. `UNDOMAINED`: the key signed it, but in the form of versions before 0.2."""

    GENUINE = "genuine"
    UNDOMAINED = "undomained"
    FALSE = "false"


CheckSignature = Callable[[Signed, object, str, str], Proof]
"""A function (kind, signed fields, key id, base64 signature) that says what the signature proves. It never raises."""

UNDOMAINED_REASON: Final = "is in the form of versions before 0.2, without its domain: sign it again"
"""The reason, after the word signature, that is given wherever such a signature is refused."""

_UNDOMAINED_PREFIXES: Final = {
    Signed.GRANT: b"",
    Signed.OVERLAY: b"",
    Signed.CANARY: b"sluicegate canary\0",
    Signed.POLICY: b"sluicegate policy publication 1\n",
}


def signed_message(kind: Signed, fields: object) -> bytes:
    """Return the bytes that are signed. Raises ValueError if a text in `fields` has half a surrogate pair."""
    return f"sluicegate {kind.value} v1\n".encode() + canonical_json(fields)


def undomained_message(kind: Signed, fields: object) -> bytes:
    """Return the bytes that versions before 0.2 signed. Raises ValueError as `signed_message` does."""
    return _UNDOMAINED_PREFIXES[kind] + canonical_json(fields)
