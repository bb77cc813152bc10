"""A broker with a SASL_SSL listener beside the plain one, the CA that vouches for it, users and their rights."""

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
from workers.development.broker import DevelopmentBroker
from workers.settings import KafkaSettings, Secret

LISTENER = "SECURE"
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": "User:ANONYMOUS",
}
"""Who comes by the plain listener may do anything, who logs in only what was granted."""


class SecureBroker:
    """Started with its users, name to password; stop it when done. `properties` are the broker's own, further ones."""

    def __init__(self, directory: Path, users: Mapping[str, str], properties: Mapping[str, str] | None = None) -> None:
        self.authority = directory / "ca.pem"
        self._users = users
        key_store = directory / "broker.pem"
        _write_certificates(self.authority, key_store)
        name = f"listener.name.{LISTENER.lower()}"
        self.broker = DevelopmentBroker(
            directory / "kafka",
            extra_listeners={LISTENER: "SASL_SSL"},
            properties={
                f"{name}.ssl.keystore.type": "PEM",
                f"{name}.ssl.keystore.location": str(key_store),
                f"{name}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
                f"{name}.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                **(properties or {}),
            },
        )
        self.broker.start()
        self.plain = Kafka(self.broker.bootstrap, self.broker)
        self._admin: Any = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        self._admin.alter_user_scram_credentials(
            [
                UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, password, iterations=4096)
                for user, password in users.items()
            ]
        )

    def settings(self, user: str, **changed: object) -> KafkaSettings:
        """Settings of a client that logs in as `user`, in a group of its own."""
        values: dict[str, Any] = {
            "bootstrap_servers": (self.broker.address(LISTENER),),
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(self.authority),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": user,
            "sasl_password": Secret(self._users[user]),
            "connect_timeout_s": 2,
            **changed,
        }
        return self.plain.settings(**values)

    def grant(self, acls: Sequence[ACL]) -> None:
        """Rights that hold from now on."""
        self._admin.create_acls(acls)

    def revoke(self, acls: Sequence[ACL]) -> None:
        """Rights that hold no more."""
        self._admin.delete_acls(acls)

    def stop(self) -> None:
        """End clients and broker."""
        self._admin.close()
        self.plain.close()
        self.broker.stop()


def _write_certificates(authority: Path, key_store: Path) -> None:
    """A CA, and a key with a certificate for 127.0.0.1 as one PEM key store; valid for an hour."""
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
            .not_valid_after(now + timedelta(hours=1))
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
