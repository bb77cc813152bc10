"""Policies that differ in single values, keys, and publications under their signatures."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from topology.contract.labels import CategoryId
from topology.policy.envelopes import Envelope, PublicationKind
from topology.policy.loading import packaged_bundle
from workers.policy.publishing import sealed

PLATFORM = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYS = {"platform": base64.b64encode(PLATFORM.public_key().public_bytes_raw()).decode()}
POLICY_ID = packaged_bundle().policy_id
CATEGORY = CategoryId("regulated_advice.medical")
"""Its ceilings are what the policies made here differ in."""

LOW, HIGH = (1, 1, 0), (2, 2, 1)


def document(version: str, ceilings: tuple[int, int, int] = HIGH, **changes: Any) -> bytes:
    """The packaged policy under that version, with fixed ceilings of one category."""
    fields: dict[str, Any] = msgspec.to_builtins(packaged_bundle())
    del fields["content_hash"]
    fields["policy"]["version"] = version
    fields["categories"][CATEGORY]["fixed"] = ceilings
    return msgspec.json.encode({**fields, **changes})


def overlay(tenant: str, version: str = "1.0.0", caps: Mapping[str, int] | None = None, **fields: Any) -> bytes:
    """A tenant's overlay."""
    return msgspec.json.encode({"tenant_id": tenant, "version": version, "caps": caps or {}, **fields})


def publication(
    version: str,
    raw: bytes,
    issued_ms: int,
    *,
    kind: PublicationKind = PublicationKind.BUNDLE,
    name: str = POLICY_ID,
    rollback: bool = False,
    over: tuple[str, ...] = (),
    key: Ed25519PrivateKey = PLATFORM,
    key_id: str = "platform",
) -> bytes:
    """A record's value, signed."""
    envelope = Envelope(
        kind=kind,
        id=name,
        version=version,
        issued_ms=issued_ms,
        document=raw.decode(),
        rollback=rollback,
        over=over,
    )
    return sealed(envelope, key_id, key)


def bundle(version: str, issued_ms: int, ceilings: tuple[int, int, int] = HIGH, **changes: Any) -> bytes:
    """The publication of a policy."""
    return publication(version, document(version, ceilings), issued_ms, **changes)
