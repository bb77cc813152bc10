"""The platform's Ed25519 private keys: making, reading and using them, whatever they sign."""

import base64

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from topology.contract.errors import SettingsError


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
