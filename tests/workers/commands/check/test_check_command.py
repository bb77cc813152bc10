"""What `check` says of each thing that can be wrong, in words that name the setting, and within its bound."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import (  # pyright: ignore[reportAttributeAccessIssue]
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)
from kafka.structs import OffsetAndMetadata, TopicPartition
from msgspec.structs import replace

from tests.plugins.fake_endpoint import FakeEndpoint, Play, raw, silence, status
from tests.plugins.otlp_receiver import Collector, SilentCollector, closed_endpoint
from tests.plugins.patience import wait_until
from tests.plugins.secure_broker import LOGIN, PASSWORD, TLS, SecureBroker
from workers.commands.check.brokers import bounded_options, probe_brokers
from workers.commands.check.collector import probe_collector
from workers.commands.check.configuration import probe_policy, probe_settings
from workers.commands.check.endpoints import probe_generator, probe_guard, probe_turn_marks
from workers.commands.check.probe import Line, Mark, Probe, RunningProbe, ok
from workers.kafka.topics import create_topics
from workers.settings import (
    GenerationSettings,
    GuardSettings,
    KafkaSettings,
    PolicySettings,
    Secret,
    Settings,
    TelemetrySettings,
    TopicSettings,
)

TIMEOUT_S = 5.0
SECRET = "a-secret-that-must-not-show"


def look(probe: Probe, settings: Settings, timeout_s: float = TIMEOUT_S) -> list[Line]:
    lines = list(probe(settings, timeout_s))
    assert SECRET not in repr(lines)
    return lines


def one(probe: Probe, settings: Settings, timeout_s: float = TIMEOUT_S) -> Line:
    (line,) = look(probe, settings, timeout_s)
    return line


def generator(base_url: str) -> Settings:
    return Settings(generation=GenerationSettings(base_url=base_url, model="served", api_key=Secret(SECRET)))


def telemetry(endpoint: str, **changed: Any) -> Settings:
    return Settings(telemetry=TelemetrySettings(endpoint=endpoint, headers=Secret(f"x-key={SECRET}"), **changed))


def kafka_at(*servers: str, **changed: Any) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers=servers, **changed))


def models(*names: str) -> Play:
    return status(200, json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


def against(play: Play, probe: Probe, settings: Callable[[str], Settings], timeout_s: float = TIMEOUT_S) -> Line:
    async def ask() -> Line:
        async with FakeEndpoint(then=play) as endpoint:
            return await asyncio.to_thread(one, probe, settings(endpoint.base_url), timeout_s)

    return asyncio.run(ask())


def test_settings_whose_files_are_not_there_are_named(tmp_path: Path) -> None:
    policy = PolicySettings(bundle=str(tmp_path / "bundle.yaml"), overlays=str(tmp_path / "overlays"))
    lines = look(probe_settings, Settings(policy=policy))
    assert [line.mend.partition(":")[0] for line in lines if line.mark is Mark.WRONG] == [
        "policy.bundle",
        "policy.overlays",
    ]


def test_the_packaged_policy_is_well() -> None:
    assert one(probe_policy, Settings()).mark is Mark.OK


def test_an_overlay_that_must_not_be_loaded_gives_every_reason(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("- no overlay\n")
    lines = look(probe_policy, Settings(policy=PolicySettings(overlays=str(tmp_path))))
    assert [(line.mark, "policy.overlays" in line.mend) for line in lines] == [(Mark.WRONG, True)]


def test_a_model_that_is_served_is_well() -> None:
    assert against(models("other", "served"), probe_generator, generator).mark is Mark.OK


@pytest.mark.parametrize(
    ("play", "found", "setting"),
    [
        (models("other", "and\x1b[31mthis"), "serves other, and�[31mthis", "generation.model"),
        (models(), "serves none", "generation.model"),
        (status(401), "HTTP 401", "generation.api_key_file"),
        (status(404), "HTTP 404", "generation.base_url"),
        (status(500), "HTTP 500", "generation.base_url"),
        (status(302, b"", "Location: http://127.0.0.1:1/"), "HTTP 302", "generation.base_url"),
        (status(200, b"<html>secret text</html>"), "not a list of models", "generation.base_url"),
        (status(200, b"[" * 1_100_000), "not a list of models", "generation.base_url"),
        (raw(b"SSH-2.0-secret text\r\n"), "not HTTP", "generation.base_url"),
        (raw(b""), "closed without an answer", "generation.base_url"),
    ],
    ids=["other", "none", "key", "path", "error", "redirect", "html", "long", "ssh", "closed"],
)
def test_a_model_endpoint_that_is_wrong_is_told_by_what_it_answers(play: Play, found: str, setting: str) -> None:
    line = against(play, probe_generator, generator)
    assert line.mark is Mark.WRONG
    assert found in line.found
    assert setting in line.mend
    assert "secret text" not in line.found


@pytest.mark.parametrize(
    ("base_url", "found"),
    [
        (closed_endpoint(), "connection refused"),
        ("http://no-such-host.invalid/v1", "does not resolve"),
        ("http://[::zz]/v1", ""),
    ],
    ids=["closed port", "unknown host", "no address"],
)
def test_a_model_endpoint_that_cannot_be_reached_is_told_by_why(base_url: str, found: str) -> None:
    line = one(probe_generator, generator(base_url))
    assert line.mark is Mark.WRONG
    assert found in line.found
    assert "generation.base_url" in line.mend


def test_a_model_endpoint_that_says_nothing_is_given_up_in_time() -> None:
    assert "no answer within 0.3 s" in against(silence, probe_generator, generator, 0.3).found


def test_a_key_with_a_line_break_is_not_sent() -> None:
    settings = Settings(generation=GenerationSettings(api_key=Secret(f"{SECRET}\nx")))
    assert "generation.api_key_file" in one(probe_generator, settings).mend


def instruct(base_url: str) -> Settings:
    return Settings(generation=GenerationSettings(base_url=base_url, model="instruct", api_key=Secret(SECRET)))


def test_a_model_whose_marks_nobody_says_is_wrong_and_every_cure_is_named() -> None:
    line = against(status(404), probe_turn_marks, instruct)
    assert (line.mark, line.found) == (Mark.WRONG, "generation.model is 'instruct'")
    for cure in ("generation.tokenizer", "/tokenize", "a name that tells its family", "generation.turn_marks"):
        assert cure in line.mend
    away = one(probe_turn_marks, instruct(closed_endpoint()))
    assert (away.mark, "it is away" in away.found, away.mend in line.mend) == (Mark.WRONG, True, True)


def test_a_model_whose_marks_somebody_says_is_well() -> None:
    written = status(200, json.dumps({"token_strs": ["<go>", "user"]}).encode())
    assert "1 said by the server at" in against(written, probe_turn_marks, instruct).found
    assert (
        "said by the model's name: the tiny checkpoint"
        in against(status(404), probe_turn_marks, lambda _: Settings()).found
    )
    listed = Settings(generation=GenerationSettings(model="instruct", turn_marks=("none",)))
    assert one(probe_turn_marks, listed).mark is Mark.OK


def test_a_tokenizer_that_is_not_there_is_told_by_its_setting(tmp_path: Path) -> None:
    settings = Settings(generation=GenerationSettings(tokenizer=str(tmp_path / "absent")))
    line = one(probe_turn_marks, settings)
    assert (line.mark, line.mend.partition(":")[0]) == (Mark.WRONG, "generation.tokenizer")


def test_the_guard_llm_is_looked_at_where_one_is_set() -> None:
    assert one(probe_guard, Settings()).mark is Mark.UNUSED
    settings = Settings(guard=GuardSettings(judge_base_url=closed_endpoint()))
    assert [line.mend.rpartition(" ")[2] for line in look(probe_guard, settings)] == [
        "guard.judge_model",
        "guard.judge_base_url",
    ]


def test_a_collector_takes_an_export_without_spans_over_http_and_grpc() -> None:
    with Collector() as receiver:
        assert one(probe_collector, telemetry(receiver.endpoint)).mark is Mark.OK
        assert one(probe_collector, telemetry(receiver.grpc_endpoint, protocol="grpc")).mark is Mark.OK
        assert receiver.store.spans() == []


def test_a_collector_of_the_other_protocol_is_told() -> None:
    with Collector() as receiver:
        for settings in (telemetry(receiver.grpc_endpoint), telemetry(receiver.endpoint, protocol="grpc")):
            line = one(probe_collector, settings)
            assert line.mark is Mark.WRONG
            assert "telemetry.protocol" in line.mend


def test_a_collector_that_is_not_there_or_not_used_is_told() -> None:
    closed = one(probe_collector, telemetry(closed_endpoint()))
    assert (closed.mark, "connection refused" in closed.found) == (Mark.WRONG, True)
    assert "telemetry.endpoint" in closed.mend
    assert one(probe_collector, telemetry("")).mark is Mark.UNUSED
    assert one(probe_collector, telemetry(closed_endpoint(), enabled=False)).mark is Mark.UNUSED


@pytest.mark.parametrize(("protocol", "found"), [("http", "no answer within 0.3 s"), ("grpc", "DEADLINE_EXCEEDED")])
def test_a_collector_that_says_nothing_is_given_up_in_time(protocol: str, found: str) -> None:
    with SilentCollector() as collector:
        line = one(probe_collector, telemetry(collector.endpoint, protocol=protocol), 0.5)
    assert line.mark is Mark.WRONG
    assert found in line.found


@pytest.mark.parametrize(
    ("server", "found"),
    [(closed_endpoint().removeprefix("http://"), "connection refused"), ("no-such-host.invalid:9", "not resolve")],
    ids=["closed port", "unknown host"],
)
def test_brokers_that_are_not_there_are_told_by_why(server: str, found: str) -> None:
    line = one(probe_brokers, kafka_at(server))
    assert (line.mark, line.what) == (Mark.WRONG, "brokers")
    assert found in line.found
    assert "kafka.bootstrap_servers" in line.mend


def test_something_that_is_no_broker_is_given_up_in_time() -> None:
    with SilentCollector() as other:
        line = one(probe_brokers, kafka_at(other.endpoint.removeprefix("http://")), 1.0)
    assert line.mark is Mark.WRONG
    bounded = bounded_options(KafkaSettings(), 1.0)
    assert (bounded["bootstrap_timeout_ms"], bounded["request_timeout_ms"]) == (500, 500)
    assert bounded_options(KafkaSettings(request_timeout_ms=200), 1.0)["request_timeout_ms"] == 200


def test_certificates_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with SilentCollector() as other:
        server = other.endpoint.removeprefix("http://")
        line = one(probe_brokers, kafka_at(server, security_protocol="SSL", ssl_cafile=str(tmp_path / "ca.pem")))
    assert "kafka.ssl_cafile" in line.mend


def test_a_probe_that_hangs_is_left_behind_and_keeps_what_it_found() -> None:
    heard, never = threading.Event(), threading.Event()

    def probe(_settings: Settings, _timeout_s: float) -> Iterator[Line]:
        yield ok("thing", "first")
        heard.set()
        never.wait(20)

    running = RunningProbe("thing", probe, Settings(), 0.2)
    heard.wait(20)
    lines = running.lines()
    never.set()
    assert [(line.mark, line.found) for line in lines] == [(Mark.OK, "first"), (Mark.WRONG, "not done within 0.2 s")]


def test_a_probe_that_breaks_says_where_and_quotes_nothing() -> None:
    def probe(_settings: Settings, _timeout_s: float) -> Iterator[Line]:
        yield ok("thing", "first")
        raise ValueError(SECRET)

    _, line = RunningProbe("thing", probe, Settings(), 5).lines()
    assert "ValueError at test_check_command.py:" in line.found
    assert SECRET not in repr(line)


class Guarded:
    """The session's broker with access control, whose plain listener lets anybody do anything; all topics are there."""

    def __init__(self, secure: SecureBroker) -> None:
        self.broker = secure.broker
        create_topics(KafkaSettings(bootstrap_servers=(self.broker.bootstrap,)), TopicSettings())

    def settings(self, listener: str, protocol: str, password: str = "", mechanism: str = "PLAIN") -> Settings:
        user = {"sasl_username": "alice", "sasl_password": Secret(password), "sasl_mechanism": mechanism}
        return kafka_at(self.broker.address(listener), security_protocol=protocol, **(user if password else {}))


@pytest.fixture(scope="module")
def guarded(secure_broker: SecureBroker) -> Guarded:
    return Guarded(secure_broker)


@pytest.mark.kafka
def test_a_broker_that_lets_everything_through_is_well(guarded: Guarded) -> None:
    assert [line.mark for line in look(probe_brokers, guarded.settings("CLIENTS", "PLAINTEXT"))] == [Mark.OK] * 3


@pytest.mark.kafka
def test_one_of_several_brokers_being_away_is_a_note(guarded: Guarded) -> None:
    settings = kafka_at(closed_endpoint().removeprefix("http://"), guarded.broker.bootstrap)
    assert [line.mark for line in look(probe_brokers, settings)] == [Mark.NOTE, *[Mark.OK] * 3]


@pytest.mark.kafka
def test_credentials_without_rights_are_told_what_to_be_granted(guarded: Guarded) -> None:
    lines = look(probe_brokers, guarded.settings(LOGIN, "SASL_PLAINTEXT", PASSWORD))
    assert [line.what for line in lines] == ["brokers", "topics", "rights", "rights"]
    assert "DESCRIBE" in lines[1].mend
    assert "group sluicegate" in lines[2].mend
    assert "transactional id sluicegate.local.0" in lines[3].mend


@pytest.mark.kafka
def test_rights_to_look_are_not_rights_to_work(guarded: Guarded) -> None:
    admin: Any = KafkaAdminClient(bootstrap_servers=guarded.broker.bootstrap)
    everything = [
        ResourcePattern(kind, "*") for kind in (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
    ]
    acls = [ACL("User:bob", "*", ACLOperation.DESCRIBE, ACLPermissionType.ALLOW, pattern) for pattern in everything]
    admin.create_acls(acls)
    look(probe_brokers, guarded.settings("CLIENTS", "PLAINTEXT"))  # waits until groups have a coordinator
    # Brokers tell the rights on a group only once there is one.
    position = {TopicPartition("conversations.events", 0): OffsetAndMetadata(0, "", -1)}
    admin.alter_group_offsets("sluicegate", position)
    admin.close()
    settings = guarded.settings(LOGIN, "SASL_PLAINTEXT", PASSWORD)
    settings = replace(settings, kafka=replace(settings.kafka, sasl_username="bob"))
    wait_until(lambda: look(probe_brokers, settings)[1].mark is Mark.NOTE)
    _, configs, *rights = look(probe_brokers, settings)
    assert "DESCRIBE_CONFIGS" in configs.mend
    assert [line.mend for line in rights] == [
        "grant READ on topic conversations.events",
        "grant WRITE on topic conversations.audited",
        "grant READ on topic sluicegate.cancel",
        "grant WRITE on topic sluicegate.audit",
        "grant WRITE on topic sluicegate.review",
        "grant READ and WRITE on topic sluicegate.state",
        "grant WRITE on topic sluicegate.canary",
        "grant READ on topic sluicegate.policy",
        "grant WRITE on topic sluicegate.dlq",
        "grant READ on group sluicegate",
        "grant WRITE and DESCRIBE on transactional id sluicegate.local.0",
    ]


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("listener", "protocol", "password", "mechanism", "found", "setting"),
    [
        (LOGIN, "SASL_PLAINTEXT", "wrong", "PLAIN", "", "kafka.sasl_password_file"),
        (LOGIN, "SASL_PLAINTEXT", PASSWORD, "SCRAM-SHA-512", "", "kafka.sasl_mechanism"),
        ("CLIENTS", "SASL_PLAINTEXT", PASSWORD, "PLAIN", "does not accept SASL_PLAINTEXT", "kafka.security_protocol"),
        (LOGIN, "PLAINTEXT", "", "", "then closed", "kafka.security_protocol is PLAINTEXT"),
        (TLS, "PLAINTEXT", "", "", "then closed", "kafka.security_protocol is PLAINTEXT"),
        ("CLIENTS", "SSL", "", "", "no TLS", "kafka.security_protocol is SSL"),
        (TLS, "SSL", "", "", "certificate is not accepted: self-signed", "kafka.ssl_cafile"),
    ],
    ids=["password", "mechanism", "no login", "login", "tls", "no tls", "authority"],
)
def test_a_listener_that_lets_nobody_in_is_told_by_why(
    guarded: Guarded, listener: str, protocol: str, password: str, mechanism: str, found: str, setting: str
) -> None:
    line = one(probe_brokers, guarded.settings(listener, protocol, password, mechanism), 1.5)
    assert (line.mark, line.what) == (Mark.WRONG, "brokers")
    assert found in line.found
    assert setting in line.mend


@pytest.mark.kafka
def test_topics_that_are_missing_or_differ_are_told(guarded: Guarded) -> None:
    settings = guarded.settings("CLIENTS", "PLAINTEXT")
    topics = replace(settings.topics, audit="not-there", partitions=4, input_message_bytes_max=4 * 1024 * 1024)
    lines = [line for line in look(probe_brokers, replace(settings, topics=topics)) if line.what == "topics"]
    assert (lines[0].mark, lines[0].found) == (Mark.WRONG, "missing: not-there")
    assert "sluicegate topics create" in lines[0].mend
    serious = [line.found for line in lines[1:] if line.mark is Mark.WRONG]
    assert serious == ["conversations.events: max.message.bytes is 2097152, expected 4194304"]
    assert {line.mark for line in lines[1:]} == {Mark.WRONG, Mark.NOTE}
