"""Signed publications of policies (a bundle, overlay, shadow or budget each), and the rule that decides which hold.

The publications that hold are a function of the set of publications, never of their order of arrival or number: they
are taken in the order of `issued_ms`, which is signed. Somebody who can write to the topic can therefore add nothing,
alter nothing and, by sending an old publication again, bring nothing back.
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from topology.contract.errors import PolicyRefusal, PublicationRefused
from topology.contract.events import ID_CHARACTERS_MAX, Id
from topology.policy.bundle import Version
from topology.policy.documents import DOCUMENT_BYTES_MAX, without
from topology.policy.signatures import UNDOMAINED_REASON, CheckSignature, Proof, Signed, signed_message

ENVELOPE_BYTES_MAX = 2 * DOCUMENT_BYTES_MAX
"""The longest envelope: a document grows when it becomes a JSON string, and a few short fields are added."""

VERSION_NONE = "0.0.0"

OVER_MAX = 64
"""The most versions that one roll-back takes back by name."""


class PublicationKind(StrEnum):
    """The kind of a publication: the bundle that decides, a candidate beside it, or a tenant's overlay or budget."""

    BUNDLE = "bundle"
    OVERLAY = "overlay"
    SHADOW = "shadow"
    BUDGET = "budget"


class Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One publication. `id` is the policy's or the tenant's; `document` is YAML or JSON, and empty if it is withdrawn.

    `rollback` lets a version take effect that is lower than the one before it, and `over` names versions that it takes
    back, whatever their date. `issued_ms` is Unix epoch milliseconds.
    """

    kind: PublicationKind
    id: Id
    version: Version
    issued_ms: Annotated[int, Meta(ge=0)]
    document: str = ""
    rollback: bool = False
    key_id: Annotated[str, Meta(max_length=ID_CHARACTERS_MAX)] = ""
    signature: str = ""
    over: Annotated[tuple[Version, ...], Meta(max_length=OVER_MAX)] = ()

    def __post_init__(self) -> None:
        if self.over and not self.rollback:
            raise ValueError("over: only a roll-back takes versions back")

    @property
    def key(self) -> str:
        """Return the key of its record, unique to it, so that compaction drops only repetitions."""
        return f"{self.kind.value}/{self.id}/{self.issued_ms}/{hashlib.sha256(self.message()).hexdigest()[:12]}"

    @property
    def subject(self) -> tuple[PublicationKind, str]:
        """Return the subject whose earlier publications it replaces."""
        return self.kind, self.id

    @property
    def title(self) -> str:
        """Return the name that logs and errors use."""
        return f"{self.kind.value} {self.id}@{self.version}"

    def message(self) -> bytes:
        """Return the signed bytes."""
        return signed_message(Signed.POLICY, self.signed_fields())

    def signed_fields(self) -> dict[str, object]:
        """Return everything but the signature, and `over` only if it names anything: older signatures stay valid."""
        return without(msgspec.to_builtins(self), "signature", *([] if self.over else ["over"]))


def open_envelope(raw: bytes | None, keys: Iterable[str], check_signature: CheckSignature) -> Envelope:
    """Read the envelope in a record's value. Raises PublicationRefused if it cannot be trusted."""
    if raw is None:
        raise PublicationRefused(
            PolicyRefusal.TOMBSTONE, "a bare tombstone; what is withdrawn needs a signed publication"
        )
    if len(raw) > ENVELOPE_BYTES_MAX:
        raise PublicationRefused(PolicyRefusal.OVERSIZED, f"{len(raw)} bytes, at most {ENVELOPE_BYTES_MAX}")
    try:
        envelope = msgspec.json.decode(raw, type=Envelope)
        fields = envelope.signed_fields()
        envelope.message()  # which a text with half a surrogate pair does not have
    except (msgspec.MsgspecError, ValueError) as exc:  # its text may quote what anybody wrote to the topic
        raise PublicationRefused(PolicyRefusal.MALFORMED, f"not a publication ({type(exc).__name__})") from exc
    if envelope.key_id not in keys:
        raise PublicationRefused(PolicyRefusal.UNKNOWN_KEY, f"{envelope.title}: no key of that id is configured")
    proof = check_signature(Signed.POLICY, fields, envelope.key_id, envelope.signature)
    if proof is Proof.UNDOMAINED:
        raise PublicationRefused(PolicyRefusal.UNDOMAINED, f"{envelope.title}: its signature {UNDOMAINED_REASON}")
    if proof is not Proof.GENUINE:
        raise PublicationRefused(
            PolicyRefusal.BAD_SIGNATURE, f"{envelope.title}: key {envelope.key_id} did not sign this"
        )
    return envelope


class Holding(NamedTuple):
    """The publication of one subject that holds (None if there is none), and those whose version is too low."""

    held: Envelope | None
    low: list[Envelope]


def holding(envelopes: Iterable[Envelope], version_min: str = VERSION_NONE) -> Holding:
    """Return which of one subject's publications holds.

    A version may not be lower than that of the publication issued before it, except by `rollback`, and never lower
    than `version_min`. What a roll-back takes back counts as not published.
    """
    held: Envelope | None = None
    low: list[Envelope] = []
    for envelope in _standing(sorted(envelopes, key=lambda each: (each.issued_ms, each.signature))):
        floor = version_min if held is None or envelope.rollback else max(version_min, held.version, key=_numbers)
        if _numbers(envelope.version) < _numbers(floor):
            low.append(envelope)
        else:
            held = envelope
    return Holding(held, low)


def _standing(ordered: list[Envelope]) -> list[Envelope]:
    """Return the publications, oldest first, without those that a roll-back takes back.

    That is every publication of a version that it names, also a later one: only another roll-back brings it back. Of
    two roll-backs the later one counts.
    """
    taken_back: set[str] = set()
    standing: list[Envelope] = []
    for envelope in reversed(ordered):
        if envelope.version in taken_back:
            continue
        standing.append(envelope)
        if envelope.rollback:
            taken_back.update(envelope.over)
    return [each for each in reversed(standing) if each.rollback or each.version not in taken_back]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
