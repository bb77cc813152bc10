"""Makes publications of policies from documents, and writes them to the policy topic once they are known to count."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from topology.contract.errors import PolicyError, PublicationRefused
from topology.contract.names import CONTENT_TYPE_JSON, Header
from topology.policy.envelopes import Envelope, PublicationKind, signed
from workers.kafka.reader import TopicReader
from workers.kafka.sender import EventSender, position_of
from workers.policy.loading import DocumentLoader
from workers.policy.signing import sign
from workers.policy.topic import Found, Publications
from workers.settings import KafkaSettings, Settings


def document_envelope(
    kind: PublicationKind, path: Path, settings: Settings, *, issued_ms: int, rollback: bool
) -> Envelope:
    """The unsigned publication of a document, which must load; an overlay under the bundle that settings name.

    Raises PolicyError with every reason, OSError.
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
        )
    )


def withdrawal(kind: PublicationKind, name: str, version: str, *, issued_ms: int, rollback: bool) -> Envelope:
    """The unsigned publication by which an overlay or a shadow is withdrawn. Raises PolicyError."""
    return _checked(Envelope(kind=kind, id=name, version=version, issued_ms=issued_ms, rollback=rollback))


def _checked(envelope: Envelope) -> Envelope:
    try:
        return msgspec.convert(msgspec.to_builtins(envelope), Envelope)
    except msgspec.ValidationError as exc:
        reason = f"{envelope.title}: {exc}; what is published needs a version such as 1.4.0"
        raise PolicyError(reason) from exc


def sealed(envelope: Envelope, key_id: str, key: Ed25519PrivateKey) -> bytes:
    """The publication under its signature, as it is written to the topic."""
    return msgspec.json.encode(signed(envelope, key_id, lambda message: sign(message, key)))


def key_of(publication: bytes) -> str:
    """What the record of a publication is keyed by. Raises msgspec.MsgspecError where it is none."""
    return msgspec.json.decode(publication, type=Envelope).key


def would_be(settings: Settings, kafka: KafkaSettings, publications: Sequence[bytes], timeout_s: float) -> Found:
    """What the topic will amount to with these. Raises PublicationRefused where one of them does not count at all.

    Raises TimeoutError where the topic cannot be read in time.
    """
    known = Publications(settings)
    reader = TopicReader(kafka, [settings.topics.policy], from_beginning=True)
    try:
        for record in reader.read_to_end(timeout_s):
            try:
                known.take(record.value)
            except PublicationRefused:
                continue  # it has no effect, and is not ours to speak of
    finally:
        reader.close()
    for publication in publications:
        known.take(publication)
    return known.found()


def write(kafka: KafkaSettings, topic: str, publications: Sequence[bytes]) -> list[tuple[str, int, int]]:
    """Write publications, each under its own key; their positions, once all are acknowledged. Raises KafkaError."""
    sender = EventSender(kafka, topic)
    try:
        headers = ((Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),)
        futures = [sender.send_raw(key_of(raw).encode(), raw, headers) for raw in publications]
        return [position_of(future) for future in futures]
    finally:
        sender.close()
