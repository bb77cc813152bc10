"""A broker with access control, started once a session: listeners with and without TLS and logins, users, rights.

Three files of tests need one, each with other listeners and users; a start takes as long as all of their tests.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka.admin import (
    ACL,
    KafkaAdminClient,
    ScramMechanism,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    UserScramCredentialUpsertion,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
)

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from workers.development.broker import DevelopmentBroker
from workers.settings import KafkaSettings, Secret

SECURE, LOGIN, TLS = "SECURE", "LOGIN", "TLS"
"""Listeners: SCRAM over TLS, a plain login without TLS, TLS without a login."""

PASSWORD: Final = "password-of-the-secure-broker"
OPERATOR, WORKER = "operator", "worker"
"""Who logs in by SCRAM. To the operator nothing is refused; what the worker may do, a test grants and takes back."""

PLAIN_USERS: Final = ("alice", "bob")
"""Who logs in without TLS. Nothing is granted to them here."""


class SecureBroker:
    """A broker that refuses whatever was not granted, but to clients of its plain listener and to the operator."""

    def __init__(self, directory: Path) -> None:
        self.authority = directory / "ca.pem"
        key_store = directory / "broker.pem"
        _write_certificates(self.authority, key_store)
        self.broker = DevelopmentBroker(
            directory / "kafka",
            extra_listeners={SECURE: "SASL_SSL", LOGIN: "SASL_PLAINTEXT", TLS: "SSL"},
            properties={**_AUTHORIZER, **_logins(), **_key_stores(key_store)},
        )
        self.broker.start(PATIENCE_S)
        self.plain = Kafka(self.broker.bootstrap, self.broker)
        self._admin: Any = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        self._admin.alter_user_scram_credentials(
            [
                UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, PASSWORD, iterations=4096)
                for user in (OPERATOR, WORKER)
            ]
        )

    def settings(self, user: str, **changed: object) -> KafkaSettings:
        """Return settings of a client that logs in as `user` by SCRAM over TLS, in a group of its own."""
        values: dict[str, Any] = {
            "bootstrap_servers": (self.broker.address(SECURE),),
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(self.authority),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": user,
            "sasl_password": Secret(PASSWORD),
            "connect_timeout_s": 2,
            **changed,
        }
        return self.plain.settings(**values)

    def grant(self, acls: Sequence[ACL]) -> None:
        """Grant rights from now on."""
        self._admin.create_acls(acls)

    def revoke(self, acls: Sequence[ACL]) -> None:
        """Take rights back."""
        self._admin.delete_acls(acls)

    def close(self) -> None:
        """End clients and broker."""
        self._admin.close()
        self.plain.close()
        self.broker.stop()


_AUTHORIZER: Final = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:ANONYMOUS;User:{OPERATOR}",
}


def _logins() -> dict[str, str]:
    secure, login = (f"listener.name.{name.lower()}" for name in (SECURE, LOGIN))
    module = "org.apache.kafka.common.security"
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in PLAIN_USERS)
    return {
        f"{secure}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{secure}.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        f"{login}.sasl.enabled.mechanisms": "PLAIN",
        f"{login}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {users};",
    }


def _key_stores(key_store: Path) -> dict[str, str]:
    """Return the properties by which both listeners with TLS have the same key and certificate."""
    names = [f"listener.name.{name.lower()}.ssl.keystore" for name in (SECURE, TLS)]
    return {f"{name}.type": "PEM" for name in names} | {f"{name}.location": str(key_store) for name in names}


def _write_certificates(authority: Path, key_store: Path) -> None:
    """Write a CA, and a key with a certificate for 127.0.0.1 as one PEM key store; both are valid for half a day."""
    now = datetime.now(UTC)
    key, broker_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=12))
        )

    own = build(issuer, key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    broker = build(subject, broker_key.public_key()).add_extension(names, False)
    pem = serialization.Encoding.PEM
    ca = own.sign(key, hashes.SHA256()).public_bytes(pem)
    authority.write_bytes(ca)
    private = broker_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_store.write_bytes(private + broker.sign(key, hashes.SHA256()).public_bytes(pem) + ca)
