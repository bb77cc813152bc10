"""The platform's Ed25519 keys: making and reading them, signing and verifying, whatever is signed."""

import base64
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from topology.contract.errors import SettingsError
from topology.policy.signatures import CheckSignature, Proof, Signed, signed_message, undomained_message

PUBLIC_KEY_BYTES = 32


def new_private_key() -> bytes:
    """Make a private key: unencrypted PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """Read the private key in a PEM file. Raises SettingsError, which shows no part of it."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # `from None`, because the library's message may quote the file.
        raise SettingsError("--key", "not a key", "an unencrypted Ed25519 private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError("--key", "another kind of key", "an unencrypted Ed25519 private key in PEM")
    return key


def public_half(pem: bytes) -> str:
    """Return the public key as settings take it: base64 of its 32 bytes."""
    raw = private_key(pem).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def sign(kind: Signed, fields: object, key: Ed25519PrivateKey) -> str:
    """Return the signature of a message in base64. Raises ValueError as `signed_message` does."""
    return base64.b64encode(key.sign(signed_message(kind, fields))).decode()


def public_keys(encoded: Mapping[str, str], setting: str) -> dict[str, Ed25519PublicKey]:
    """Decode the base64 public keys of `setting`, by key id. Raises SettingsError, which never shows a key."""
    keys: dict[str, Ed25519PublicKey] = {}
    for key_id, text in encoded.items():
        name = f"{setting}.{key_id}"
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError as exc:  # binascii.Error is one
            raise SettingsError(name, "not base64", "a base64 Ed25519 public key") from exc
        if len(raw) != PUBLIC_KEY_BYTES:
            raise SettingsError(name, f"{len(raw)} bytes", f"{PUBLIC_KEY_BYTES} bytes of Ed25519 key")
        keys[key_id] = Ed25519PublicKey.from_public_bytes(raw)
    return keys


def signature_check(keys: Mapping[str, Ed25519PublicKey], *, accept_undomained: bool = False) -> CheckSignature:
    """Return the check of signatures by these keys; `accept_undomained` counts the form before version 0.2 as genuine.

    Only a signature that is not genuine costs a second verification.
    """

    def check(kind: Signed, fields: object, key_id: str, signature: str) -> Proof:
        key = keys.get(key_id)
        if key is None:
            return Proof.FALSE
        try:
            if _has_signed(key, signed_message(kind, fields), signature):
                return Proof.GENUINE
            if _has_signed(key, undomained_message(kind, fields), signature):
                return Proof.GENUINE if accept_undomained else Proof.UNDOMAINED
        except ValueError:  # half a surrogate pair has no canonical JSON
            pass
        return Proof.FALSE

    return check


def _has_signed(key: Ed25519PublicKey, message: bytes, signature: str) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):  # binascii.Error is a ValueError
        return False
    return True
