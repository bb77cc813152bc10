"""TLS and SASL against a real listener: the whole path with certificates and SCRAM, and each way to be refused."""

import ipaddress
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka.admin import (
    KafkaAdminClient,
    ScramMechanism,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    UserScramCredentialUpsertion,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
)

from tests.contracts.delivery import after, read, settle
from tests.plugins.kafka_broker import Kafka
from topology.ports import OutRecord
from workers.broker import DevelopmentBroker
from workers.kafka_errors import KafkaRefused, KafkaUnavailable
from workers.settings import KafkaSettings, Secret
from workers.sink import TransactionalSink
from workers.source import KafkaSource

pytestmark = pytest.mark.kafka

PASSWORD = "scram-password-of-this-test"
LISTENER = "SECURE"


class Secure:
    """A broker with a SASL_SSL listener beside the plain one, and the CA that vouches for it."""

    def __init__(self, directory: Path) -> None:
        self.authority = directory / "ca.pem"
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
            },
        )
        self.broker.start()
        self.plain = Kafka(self.broker.bootstrap, self.broker)
        admin: Any = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion("alice", ScramMechanism.SCRAM_SHA_512, PASSWORD, iterations=4096)]
        )
        admin.close()

    def settings(self, **changed: object) -> KafkaSettings:
        values: dict[str, Any] = {
            "bootstrap_servers": (self.broker.address(LISTENER),),
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(self.authority),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": "alice",
            "sasl_password": Secret(PASSWORD),
            "connect_timeout_s": 2,
            **changed,
        }
        return self.plain.settings(**values)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, kafka_session: Kafka) -> Generator[Secure]:
    assert kafka_session.broker.is_running, "skips where brokers are not ours to start"
    secure = Secure(tmp_path_factory.mktemp("secure"))
    yield secure
    secure.plain.close()
    secure.broker.stop()


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


def test_a_worker_reads_and_commits_over_tls_with_scram(secure: Secure) -> None:
    topic, output = secure.plain.topic(), secure.plain.topic()
    secure.plain.send(topic, b"a", key=b"key")
    settings = secure.settings(connect_timeout_s=20)
    source, ended = KafkaSource(settings, topic, 0), list[int]()
    sink = TransactionalSink(settings, 0, exit_process=ended.append)
    try:
        (record,) = read(source, 1)
        assert sink.commit([OutRecord(topic=output, key=b"key", value=b"A")], [after(record)], settle(source))
        assert secure.plain.values(output) == [b"A"]
        assert ended == []
    finally:
        source.close()
        sink.close()


def test_a_wrong_password_is_refused_and_not_shown(secure: Secure, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "wrong-password-of-this-test"
    with pytest.raises(KafkaRefused, match="SaslAuthenticationFailed") as caught:
        TransactionalSink(
            secure.settings(sasl_password=Secret(wrong), connect_timeout_s=20), 0, exit_process=list[int]().append
        )
    assert wrong not in f"{caught.value!r} {caplog.text}"


def test_a_broker_that_no_known_authority_vouches_for_is_not_talked_to(secure: Secure) -> None:
    with pytest.raises(KafkaRefused, match="CERTIFICATE_VERIFY_FAILED"):
        TransactionalSink(secure.settings(ssl_cafile="", connect_timeout_s=20), 0, exit_process=list[int]().append)


def test_plain_text_to_a_tls_listener_fails_within_its_bound(secure: Secure) -> None:
    plain = secure.settings(security_protocol="PLAINTEXT", sasl_password=Secret(), sasl_username="")
    with pytest.raises(KafkaUnavailable):
        TransactionalSink(plain, 0, exit_process=list[int]().append)


def test_the_passwords_hash_is_all_the_broker_has(secure: Secure) -> None:
    assert PASSWORD not in secure.broker.log.read_text()
