"""TLS and SASL against a real listener: the whole path with certificates and SCRAM, and each way to be refused."""

import pytest

from tests.contracts.delivery import after, read, settle
from tests.plugins.patience import PATIENCE_S
from tests.plugins.secure_broker import OPERATOR, PASSWORD, SecureBroker
from topology.contract.records import OutRecord
from workers.kafka.errors import KafkaRefused, KafkaUnavailable
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.settings import Secret

pytestmark = pytest.mark.kafka


def test_a_worker_reads_and_commits_over_tls_with_scram(secure_broker: SecureBroker) -> None:
    topic, output = secure_broker.plain.topic(), secure_broker.plain.topic()
    secure_broker.plain.send(topic, b"a", key=b"key")
    settings = secure_broker.settings(OPERATOR, connect_timeout_s=PATIENCE_S)
    source, ended = KafkaSource(settings, topic, 0), list[int]()
    sink = TransactionalSink(settings, 0, exit_process=ended.append)
    try:
        (record,) = read(source, 1)
        assert sink.commit([OutRecord(topic=output, key=b"key", value=b"A")], [after(record)], settle(source))
        assert secure_broker.plain.values(output) == [b"A"]
        assert ended == []
    finally:
        source.close()
        sink.close()


def test_a_wrong_password_is_refused_and_not_shown(
    secure_broker: SecureBroker, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "wrong-password-of-this-test"
    with pytest.raises(KafkaRefused, match="SaslAuthenticationFailed") as caught:
        TransactionalSink(
            secure_broker.settings(OPERATOR, sasl_password=Secret(wrong), connect_timeout_s=PATIENCE_S),
            0,
            exit_process=list[int]().append,
        )
    assert wrong not in f"{caught.value!r} {caplog.text}"


def test_a_broker_that_no_known_authority_vouches_for_is_not_talked_to(secure_broker: SecureBroker) -> None:
    with pytest.raises(KafkaRefused, match="CERTIFICATE_VERIFY_FAILED"):
        TransactionalSink(
            secure_broker.settings(OPERATOR, ssl_cafile="", connect_timeout_s=PATIENCE_S),
            0,
            exit_process=list[int]().append,
        )


def test_plain_text_to_a_tls_listener_fails_within_its_bound(secure_broker: SecureBroker) -> None:
    plain = secure_broker.settings(OPERATOR, security_protocol="PLAINTEXT", sasl_password=Secret(), sasl_username="")
    with pytest.raises(KafkaUnavailable):
        TransactionalSink(plain, 0, exit_process=list[int]().append)


def test_the_passwords_hash_is_all_the_broker_has(secure_broker: SecureBroker) -> None:
    assert PASSWORD not in secure_broker.broker.log.read_text()
