"""The verification of an event's grants: Ed25519 signatures by the platform, for one tenant, one subject and a time.

A writer of the input topic can claim anything, so only what the platform signed counts. An invalid grant counts as
absent, and the audit record has its status.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import structs

from topology.contract.events import ConversationEvent, Grant, GrantUse
from topology.policy.overlays import signed_fields
from topology.policy.signatures import Proof, Signed
from workers.policy.signing import public_keys, sign, signature_check
from workers.settings import Settings


class Ed25519GrantVerifier:
    """The GrantVerifier port over public keys by key id; without keys no grant is valid."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey], *, accept_undomained: bool = False) -> None:
        self._key_ids = frozenset(keys)
        self._check = signature_check(keys, accept_undomained=accept_undomained)

    def verify(self, event: ConversationEvent, now_ms: int) -> tuple[GrantUse, ...]:
        """Return the use of each grant of the event, in order; `now_ms` is Unix epoch milliseconds. Never raises."""
        subject, tenant = event.user.subject, event.tenant_id
        return tuple(
            GrantUse(grant=grant.grant, key_id=grant.key_id, status=self.status(grant, tenant, subject, now_ms))
            for grant in event.user.grants
        )

    def status(self, grant: Grant, tenant: str, subject: str, now_ms: int) -> str:
        """Return what becomes of a grant in an event of this tenant and subject.

        The signature is checked first, because an unsigned grant proves nothing that it says.
        """
        if grant.key_id not in self._key_ids:
            return "unknown_key"
        proof = self._check(Signed.GRANT, signed_fields(grant), grant.key_id, grant.signature)
        if proof is not Proof.GENUINE:
            return "undomained" if proof is Proof.UNDOMAINED else "altered"
        if not grant.subject or grant.subject != subject or grant.tenant != tenant:
            return "foreign"
        if now_ms < grant.not_before:
            return "not_yet_valid"
        return "used" if now_ms <= grant.not_after else "expired"


def grant_verifier(settings: Settings) -> Ed25519GrantVerifier:
    """Return the verifier with the keys of settings. Raises SettingsError for an invalid one."""
    keys = public_keys(settings.grants.keys, "grants.keys")
    return Ed25519GrantVerifier(keys, accept_undomained=settings.signatures.accept_undomained)


def sign_grant(grant: Grant, key: Ed25519PrivateKey) -> Grant:
    """Return `grant` with the signature of its other fields; an earlier signature is ignored."""
    return structs.replace(grant, signature=sign(Signed.GRANT, signed_fields(grant), key))
