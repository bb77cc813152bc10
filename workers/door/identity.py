"""The ids of a request: its event, its conversation, and the digest by which a repeated request is recognised.

All are keyed digests (HMAC-SHA256 under `door.digest_key`), so that nobody can compute those of another API key.
"""

import hashlib
import hmac
from collections.abc import Mapping

from topology.contract.codec import canonical_json

ID_CHARACTERS = 40
"""160 bits of a digest in hexadecimal digits."""


class Digests:
    """Digests under one key. Doors that stand in for each other need the same key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def event_id(self, key_name: str, idempotency_key: str) -> str:
        """Return the event id of everything that an API key sends under one `Idempotency-Key`."""
        return f"door-{self._of('event', key_name, idempotency_key)[:ID_CHARACTERS]}"

    def conversation_id(self, key_name: str, subject: str, first_message: bytes) -> str:
        """Return the conversation of a user that began with this message."""
        return f"door-{self._of('conversation', key_name, subject, first_message.decode())[:ID_CHARACTERS]}"

    def lone_conversation_id(self, event_id: str) -> str:
        """Return the conversation of an event whose user is not known: no other event shares it."""
        return f"door-{self._of('lone conversation', event_id)[:ID_CHARACTERS]}"

    def request(self, key_name: str, path: str, body: bytes, overrides: Mapping[str, str]) -> str:
        """Return the digest of a request: two with one digest ask for the same."""
        named = sorted(overrides.items())
        return self._of("request", key_name, path, hashlib.sha256(body).hexdigest(), canonical_json(named).decode())

    def _of(self, *parts: str) -> str:
        return hmac.new(self._key, canonical_json(parts), hashlib.sha256).hexdigest()
