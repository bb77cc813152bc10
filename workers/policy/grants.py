"""The verification of an event's grants: Ed25519 signatures by the platform, for one tenant, one subject and a time.

A writer of the input topic can claim anything, so only what the platform signed counts. An invalid grant counts as
absent, and the audit record has its status.
"""

import base64
import binascii
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from topology.contract.codec import canonical_json
from topology.contract.errors import SettingsError
from topology.contract.events import ConversationEvent, Grant, GrantUse

PUBLIC_KEY_BYTES = 32


class Ed25519GrantVerifier:
    """The GrantVerifier port over raw 32-byte Ed25519 public keys by key id; without keys no grant is valid.

    Raises SettingsError for an invalid key.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {key_id: _public_key(key_id, key) for key_id, key in keys.items()}

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
    signature = base64.b64encode(key.sign(_signed_bytes(grant))).decode()
    return msgspec.structs.replace(grant, signature=signature)


def public_keys(encoded: Mapping[str, str]) -> dict[str, bytes]:
    """Decode the base64 keys of settings, by key id. Raises SettingsError, which never shows the key."""
    keys: dict[str, bytes] = {}
    for key_id, text in encoded.items():
        try:
            keys[key_id] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise SettingsError(f"grants.keys.{key_id}", "not base64", "a base64 Ed25519 public key") from exc
    return keys


def signature_verifier(keys: Mapping[str, bytes]) -> Callable[[bytes, str, str], bool]:
    """Return a predicate of (message, key id, base64 signature): whether the key signed it. Raises SettingsError."""
    known = {key_id: _public_key(key_id, key) for key_id, key in keys.items()}

    def is_signed(message: bytes, key_id: str, signature: str) -> bool:
        key = known.get(key_id)
        return key is not None and _has_signed(key, message, signature)

    return is_signed


def _public_key(key_id: str, key: bytes) -> Ed25519PublicKey:
    if len(key) != PUBLIC_KEY_BYTES:
        raise SettingsError(f"grants.keys.{key_id}", f"{len(key)} bytes", f"{PUBLIC_KEY_BYTES} bytes of Ed25519 key")
    return Ed25519PublicKey.from_public_bytes(key)


def _signed_bytes(grant: Grant) -> bytes:
    fields = msgspec.structs.asdict(grant)
    del fields["signature"]
    return canonical_json(fields)


def _is_signed(grant: Grant, key: Ed25519PublicKey) -> bool:
    try:
        message = _signed_bytes(grant)
    except ValueError:  # a text with a lone surrogate has no canonical JSON
        return False
    return _has_signed(key, message, grant.signature)


def _has_signed(key: Ed25519PublicKey, message: bytes, signature: str) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):  # binascii.Error is a ValueError
        return False
    return True
