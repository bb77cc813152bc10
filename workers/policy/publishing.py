"""Publications of policies: made from documents, tried against the policy topic, and written to it."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from topology.contract.errors import PolicyError, PublicationRefused
from topology.contract.names import CONTENT_TYPE_JSON, Header
from topology.policy.budgets import load_budget
from topology.policy.envelopes import Envelope, PublicationKind
from topology.policy.signatures import Signed
from workers.kafka.reader import TopicReader
from workers.kafka.sender import EventSender, wait_for_position
from workers.policy.loading import DocumentLoader
from workers.policy.signing import sign
from workers.policy.topic import Found, Publications
from workers.settings import KafkaSettings, Settings


def document_envelope(
    kind: PublicationKind, path: Path, settings: Settings, *, issued_ms: int, rollback: bool, over: tuple[str, ...] = ()
) -> Envelope:
    """Make the unsigned publication of a document. An overlay must load under the bundle that settings name.

    Raises PolicyError with every reason if the document does not load, OSError if it cannot be read.
    """
    raw = path.read_bytes()
    loader = DocumentLoader(settings)
    if kind is PublicationKind.OVERLAY:
        bundle = loader.bundle(Path(settings.policy.bundle).read_bytes() if settings.policy.bundle else None)
        overlays, reasons = loader.overlays([(path.name, raw)], bundle)
        if reasons:
            raise PolicyError(*reasons)
        (overlay,) = overlays.values()
        name, version = overlay.tenant_id, overlay.version
    elif kind is PublicationKind.BUDGET:
        budget = load_budget(raw)
        name, version = budget.tenant_id, budget.version
    else:
        bundle = loader.bundle(raw)
        name, version = bundle.policy_id, bundle.version
    return _checked(
        Envelope(
            kind=kind,
            id=name,
            version=version,
            issued_ms=issued_ms,
            document=raw.decode(),
            rollback=rollback,
            over=over,
        )
    )


def withdrawal(kind: PublicationKind, name: str, version: str, *, issued_ms: int, rollback: bool) -> Envelope:
    """Make the unsigned publication that withdraws an overlay, a shadow or a budget. Raises PolicyError."""
    return _checked(Envelope(kind=kind, id=name, version=version, issued_ms=issued_ms, rollback=rollback))


def _checked(envelope: Envelope) -> Envelope:
    try:
        return msgspec.convert(msgspec.to_builtins(envelope), Envelope)
    except msgspec.ValidationError as exc:
        reason = f"{envelope.title}: {exc}; a publication needs a version such as 1.4.0"
        raise PolicyError(reason) from exc


def sealed(envelope: Envelope, key_id: str, key: Ed25519PrivateKey) -> bytes:
    """Sign a publication and encode it for the topic."""
    named = structs.replace(envelope, key_id=key_id)
    return msgspec.json.encode(structs.replace(named, signature=sign(Signed.POLICY, named.signed_fields(), key)))


def without_effect(publications: Sequence[bytes], found: Found) -> list[str]:
    """Return the reasons why publications would change nothing: they are refused, or others of their subject count."""
    envelopes = [msgspec.json.decode(raw, type=Envelope) for raw in publications]
    keys = {envelope.key for envelope in envelopes}
    reasons = [reason for other, refusal in found.refused if other.key in keys for reason in refusal.reasons]
    subjects = {envelope.subject for envelope in envelopes}
    reasons += [
        f"{held.title} stays in effect: it is dated later, or is a roll-back that takes this version back; "
        "what shall replace it is signed later, or names its version (policy sign --rollback --over)"
        for held in found.held
        if held.subject in subjects and held.key not in keys
    ]
    return reasons


def key_of(publication: bytes) -> str:
    """Return the key of a publication's record. Raises msgspec.MsgspecError for bytes that are not a publication."""
    return msgspec.json.decode(publication, type=Envelope).key


def would_be(
    settings: Settings, kafka: KafkaSettings, publications: Sequence[bytes], timeout_s: float
) -> tuple[Found, frozenset[bytes]]:
    """Work out the policies that the topic will hold with these, and which of these it holds already.

    Raises PublicationRefused if one of them is invalid, TimeoutError if the topic cannot be read within `timeout_s`.
    """
    known = Publications(settings)
    last: dict[bytes | None, bytes | None] = {}
    reader = TopicReader(kafka, [settings.topics.policy], from_beginning=True)
    try:
        for record in reader.read_to_end(timeout_s):
            last[record.key] = record.value
            try:
                known.take(record.value)
            except PublicationRefused:
                continue  # an earlier publication that has no effect; it is not part of the question
    finally:
        reader.close()
    for publication in publications:
        known.take(publication)
    return known.found(), frozenset(publications) & {value for value in last.values() if value is not None}


def write(kafka: KafkaSettings, topic: str, publications: Sequence[bytes]) -> list[tuple[str, int, int]]:
    """Write publications, each under its own key; return their positions once all are acknowledged.

    Raises KafkaError.
    """
    sender = EventSender(kafka, topic)
    try:
        headers = ((Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),)
        futures = [sender.send_raw(key_of(raw).encode(), raw, headers) for raw in publications]
        return [wait_for_position(future) for future in futures]
    finally:
        sender.close()
