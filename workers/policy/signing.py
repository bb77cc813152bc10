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
from topology.policy.overlays import VerifySignature

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


def sign(message: bytes, key: Ed25519PrivateKey) -> str:
    """Return the signature of a message in base64."""
    return base64.b64encode(key.sign(message)).decode()


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


def signature_verifier(keys: Mapping[str, Ed25519PublicKey]) -> VerifySignature:
    """Return a predicate of (message, key id, base64 signature): whether the key of that id signed the message."""

    def is_signed(message: bytes, key_id: str, signature: str) -> bool:
        key = keys.get(key_id)
        return key is not None and has_signed(key, message, signature)

    return is_signed


def has_signed(key: Ed25519PublicKey, message: bytes, signature: str) -> bool:
    """Return whether a base64 signature of the message is the key's."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):  # binascii.Error is a ValueError
        return False
    return True
