"""The verification of an event's grants: Ed25519 signatures by the platform, for one tenant, one subject and a time.

A writer of the input topic can claim anything, so only what the platform signed counts. An invalid grant counts as
absent, and the audit record has its status.
"""

from collections.abc import Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from topology.contract.codec import canonical_json
from topology.contract.events import ConversationEvent, Grant, GrantUse
from workers.policy.signing import has_signed, sign


class Ed25519GrantVerifier:
    """The GrantVerifier port over public keys by key id; without keys no grant is valid."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = keys

    def verify(self, event: ConversationEvent, now_ms: int) -> tuple[GrantUse, ...]:
        """Return the use of each grant of the event, in order; `now_ms` is Unix epoch milliseconds. Never raises.

        The signature is checked first, because an unsigned grant proves nothing that it says.
        """
        return tuple(
            GrantUse(grant=grant.grant, key_id=grant.key_id, status=self._status(grant, event, now_ms))
            for grant in event.user.grants
        )

    def _status(self, grant: Grant, event: ConversationEvent, now_ms: int) -> str:
        key = self._keys.get(grant.key_id)
        if key is None:
            return "unknown_key"
        if not _is_signed(grant, key):
            return "altered"
        if not grant.subject or grant.subject != event.user.subject or grant.tenant != event.tenant_id:
            return "foreign"
        if now_ms < grant.not_before:
            return "not_yet_valid"
        return "used" if now_ms <= grant.not_after else "expired"


def sign_grant(grant: Grant, key: Ed25519PrivateKey) -> Grant:
    """Return `grant` with the signature of its other fields; an earlier signature is ignored."""
    return msgspec.structs.replace(grant, signature=sign(_signed_bytes(grant), key))


def _signed_bytes(grant: Grant) -> bytes:
    fields = msgspec.structs.asdict(grant)
    del fields["signature"]
    return canonical_json(fields)


def _is_signed(grant: Grant, key: Ed25519PublicKey) -> bool:
    try:
        message = _signed_bytes(grant)
    except ValueError:  # a text with a lone surrogate has no canonical JSON
        return False
    return has_signed(key, message, grant.signature)
