"""Signed publications of policies: one bundle, overlay or shadow each, and which of them hold.

What holds is a function of the set of publications, never of the order or number in which they arrive: they are taken
in the order of `issued_ms`, which is signed. So whoever can write where they are kept can add nothing, alter nothing
and, by sending an old one again, bring nothing back.
"""

import hashlib
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from topology.contract.codec import canonical_json
from topology.contract.errors import PolicyRefusal, PublicationRefused
from topology.contract.events import ID_CHARACTERS_MAX, Id
from topology.policy.bundle import Version
from topology.policy.documents import DOCUMENT_BYTES_MAX, without
from topology.policy.overlays import VerifySignature

DOMAIN = b"sluicegate policy publication 1\n"
"""Stands before what is signed, so that no signature of a grant or an overlay can pass for one of a publication."""

ENVELOPE_BYTES_MAX = 2 * DOCUMENT_BYTES_MAX
"""A document as a JSON string is longer than itself, and a handful of short fields."""

VERSION_NONE = "0.0.0"


class PublicationKind(StrEnum):
    """What is published: the bundle that decides, a tenant's overlay, a candidate that is judged beside the bundle."""

    BUNDLE = "bundle"
    OVERLAY = "overlay"
    SHADOW = "shadow"


class Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One publication. `id` is the policy's or the tenant's; `document` its YAML or JSON, empty: it is withdrawn.

    `rollback` lets a version take effect that is below the one before it. `issued_ms` is Unix epoch milliseconds.
    """

    kind: PublicationKind
    id: Id
    version: Version
    issued_ms: Annotated[int, Meta(ge=0)]
    document: str = ""
    rollback: bool = False
    key_id: Annotated[str, Meta(max_length=ID_CHARACTERS_MAX)] = ""
    signature: str = ""

    @property
    def key(self) -> str:
        """What its record is keyed by: its own, so that compaction drops repetitions and nothing else."""
        return f"{self.kind.value}/{self.id}/{self.issued_ms}/{hashlib.sha256(self.message()).hexdigest()[:12]}"

    @property
    def subject(self) -> tuple[PublicationKind, str]:
        """What it replaces an earlier publication of."""
        return self.kind, self.id

    @property
    def title(self) -> str:
        """How logs and errors name it."""
        return f"{self.kind.value} {self.id}@{self.version}"

    def message(self) -> bytes:
        """What is signed: everything but the signature."""
        return DOMAIN + canonical_json(without(msgspec.to_builtins(self), "signature"))


def signed(envelope: Envelope, key_id: str, sign: Callable[[bytes], str]) -> Envelope:
    """The envelope under that key's signature."""
    unsigned = structs.replace(envelope, key_id=key_id, signature="")
    return structs.replace(unsigned, signature=sign(unsigned.message()))


def open_envelope(raw: bytes | None, keys: Iterable[str], is_signed: VerifySignature) -> Envelope:
    """The envelope in a record's value. Raises PublicationRefused where nothing of it may be believed."""
    if raw is None:
        raise PublicationRefused(
            PolicyRefusal.TOMBSTONE, "a bare tombstone; what is withdrawn needs a signed publication"
        )
    if len(raw) > ENVELOPE_BYTES_MAX:
        raise PublicationRefused(PolicyRefusal.OVERSIZED, f"{len(raw)} bytes, at most {ENVELOPE_BYTES_MAX}")
    try:
        envelope = msgspec.json.decode(raw, type=Envelope)
        message = envelope.message()
    except (msgspec.MsgspecError, ValueError) as exc:  # its text may quote what anybody wrote there
        raise PublicationRefused(PolicyRefusal.MALFORMED, f"not a publication ({type(exc).__name__})") from exc
    if envelope.key_id not in keys:
        raise PublicationRefused(PolicyRefusal.UNKNOWN_KEY, f"{envelope.title}: no key of that id is configured")
    if not is_signed(message, envelope.key_id, envelope.signature):
        raise PublicationRefused(
            PolicyRefusal.BAD_SIGNATURE, f"{envelope.title}: key {envelope.key_id} did not sign this"
        )
    return envelope


def holding(envelopes: Iterable[Envelope], version_min: str = VERSION_NONE) -> tuple[Envelope | None, list[Envelope]]:
    """Of one subject's publications the one that holds, None where there is none, and those whose version is too low.

    A version may not be below that of the publication issued before it, except by `rollback`, nor ever below
    `version_min`.
    """
    held: Envelope | None = None
    low: list[Envelope] = []
    for envelope in sorted(envelopes, key=lambda each: (each.issued_ms, each.signature)):
        floor = version_min if held is None or envelope.rollback else max(version_min, held.version, key=_numbers)
        if _numbers(envelope.version) < _numbers(floor):
            low.append(envelope)
        else:
            held = envelope
    return held, low


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
