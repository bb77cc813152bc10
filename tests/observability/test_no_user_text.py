"""User text is in no signal: secrets planted in events and answers, and every byte that leaves a worker searched."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from msgspec import structs

from tests.e2e.test_run_command import running
from tests.observability.planted import (
    MAIL,
    OVERLAY,
    SECRETS,
    answers,
    broken_values,
    events,
    found_in,
    unreadable_verdict,
    well,
)
from tests.observability.served_endpoint import served
from tests.observability.traced_worker import running_worker, send_traced
from tests.plugins.fake_endpoint import FakeEndpoint
from tests.plugins.kafka_broker import Kafka
from tests.plugins.otlp_receiver import kept_exports
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import audits, fresh_settings, responses
from topology.contract.events import Action, parts_text
from topology.contract.names import Header
from topology.contract.records import Record
from workers.commands.demo.parts import free_port
from workers.kafka.reader import read_topic
from workers.settings import (
    AgentSettings,
    GenerationSettings,
    GuardSettings,
    PolicySettings,
    RedactionSettings,
    Settings,
    TelemetrySettings,
    show,
)
from workers.settings.secret import Secret

pytestmark = pytest.mark.kafka

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def leaky_settings(kafka: Kafka, directory: Path, model: str, **telemetry: object) -> Settings:
    """As talkative as settings can make a worker without content capture, and a tenant whose persona is secret."""
    overlays = directory / "overlays"
    overlays.mkdir()
    (overlays / "tenant.yaml").write_text(OVERLAY)
    given = {"log_level": "DEBUG", "export_interval_s": 1.0, "openinference": True, **telemetry}
    return structs.replace(
        fresh_settings(kafka),
        policy=PolicySettings(overlays=str(overlays)),
        generation=GenerationSettings(
            base_url=model,
            model="m1",
            turn_marks=("none",),
            attempts_max=2,
            request_timeout_s=3,
            retries_max=0,
            backoff_max_s=0.2,
        ),
        redaction=RedactionSettings(digest_key=Secret("a key for tests")),
        telemetry=TelemetrySettings(**given),  # pyright: ignore[reportArgumentType] -- test's short form
    )


def send_everything(kafka: Kafka, settings: Settings) -> None:
    """The events, traced, and the broken records beside them, one of them under a key that is somebody's words."""
    send_traced(settings, events())
    for value in broken_values():
        kafka.send(settings.topics.events, value, key=b"c")
    kafka.send(settings.topics.events, json.dumps({"event_id": "x"}).encode(), key=SECRETS["key"].encode())


def wait_answered(settings: Settings) -> None:
    """Returns once every event has its response and every broken record its letter."""
    wait_until(
        lambda: len([each for each in responses(settings) if each.action is not Action.REJECTED]) == len(events())
    )
    wait_until(lambda: len(letters(settings)) >= len(broken_values()) + 1)


def letters(settings: Settings) -> list[Record]:
    return read_topic(settings.kafka, settings.topics.dead_letters)


def why_rejected(settings: Settings) -> bytes:
    """Return what answers say of events that are not valid: the place of the fault, and no word of the event."""
    rejected = [each for each in responses(settings) if each.action is Action.REJECTED]
    return "\n".join(each.detail + "".join(parts_text(each.parts)) for each in rejected).encode()


def headers_of(records: list[Record]) -> bytes:
    """All header names and values but the subject, which is the conversation's id and goes where the record goes."""
    subject = Header.CE_SUBJECT.value
    pairs = [pair for record in records for pair in record.headers if pair[0] != subject]
    return b"\n".join(name.encode() + b"=" + (value or b"") for name, value in pairs)


def get(url: str, accept: str = "*/*") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=PATIENCE_S) as answer:
        return answer.read()


def said(config: Path, *arguments: str) -> bytes:
    """What a command writes, on both outputs."""
    command = [sys.executable, "-m", "workers.cli", *arguments, "--config", config]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    assert b"Traceback" not in ended.stderr, ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.ray
def test_no_signal_of_a_node_holds_what_users_or_models_said(kafka: Kafka, ray_address: str, tmp_path: Path) -> None:
    """Preset `full`: spans, pushed metrics, the agent's pages, logs, headers of dead letters, what commands say."""
    endpoint = FakeEndpoint(plays=answers(), then=well())
    log, config, port = tmp_path / "run.log", tmp_path / "sluicegate.toml", free_port()
    with served(endpoint) as model, kept_exports() as exports:
        settings = leaky_settings(kafka, tmp_path, model, endpoint=exports.endpoint, preset="full")
        settings = structs.replace(settings, agent=AgentSettings(port=port))
        config.write_text(show(settings).replace('digest_key = "***"', 'digest_key = "a key for tests"'))
        with running(config, log, ray_address) as process:
            send_everything(kafka, settings)
            wait_answered(settings)
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: b"sluicegate_event_duration" in get(f"{url}/metrics"))
            pages = {path: get(url + path) for path in ("/livez", "/metrics", "/status")}
            pages["/metrics, OpenMetrics"] = get(f"{url}/metrics", OPENMETRICS)
            (tmp_path / "bad.jsonl").write_text(f'{{"{SECRETS["line"]}": \n{SECRETS["line"]}\n')
            pages["status"] = said(config, "status", "--json")
            pages["send"] = said(config, "send", str(tmp_path / "bad.jsonl"))
            pages["dlq list"] = said(config, "dlq", "list") + said(config, "dlq", "list", "--json")
            pages["dlq show"] = said(config, "dlq", "show", "0:0") + said(config, "dlq", "show", "1:0")
            process.terminate()
            assert process.wait(PATIENCE_S) == 0, log.read_text(errors="replace")[-2000:]
        assert_planted(endpoint, settings)
        assert any(span.name == "chat m1" and span.is_error for span in exports.spans())
        assert "# EOF" in pages["/metrics, OpenMetrics"].decode()
        signals = {
            **pages,
            "spans": b"".join(exports.traces),
            "metrics": b"".join(exports.metric_pushes),
            "logs": log.read_bytes(),
            "headers of dead letters": headers_of(letters(settings)),
            "why events were rejected": why_rejected(settings),
            "headers of answers": headers_of(read_topic(settings.kafka, settings.topics.audited)),
        }
    assert all(signals.values())
    assert b" dead letters in " in signals["logs"]  # the night watch has spoken: it was searched too
    assert {name: places for name, signal in signals.items() if (places := found_in(signal))} == {}
    assert not [name for name, signal in signals.items() if MAIL.encode() in signal]


def assert_planted(endpoint: FakeEndpoint, settings: Settings) -> None:
    """Fails unless the secrets went where they belong: to the model, and into the answers."""
    asked = json.dumps([received.body for received in endpoint.received]).encode()
    assert {"request", "tool", "code", "persona"} <= set(found_in(asked)), found_in(asked)
    answered = responses(settings)
    assert any(SECRETS["answer"] in str(response) for response in answered)
    assert {Action.PUBLISHED, Action.WITHHELD} <= {response.action for response in answered}


def test_the_ratio_preset_says_no_more_of_a_flagged_event_and_of_a_guard_that_babbles(
    kafka: Kafka, tmp_path: Path
) -> None:
    """Nothing is sampled; every event is flagged, for the guard LLM's words cannot be read."""
    generator, guard = FakeEndpoint(then=well()), FakeEndpoint(then=unreadable_verdict())
    with served(generator) as model, served(guard) as judge, kept_exports() as exports:
        settings = leaky_settings(kafka, tmp_path, model, endpoint=exports.endpoint, preset="ratio", ratio=0.0)
        settings = structs.replace(settings, guard=GuardSettings(judge_base_url=judge, judge_model="m2"))
        with running_worker(settings, tmp_path) as log:
            send_everything(kafka, settings)
            wait_answered(settings)
        spans = [span for span in exports.spans() if span.attributes.get("sluicegate.late")]
        signals = {"spans": b"".join(exports.traces), "metrics": b"".join(exports.metric_pushes)}
        signals["logs"] = log.read_bytes()
    assert len(spans) >= len(events()) - 1
    assert guard.received
    assert {name: places for name, signal in signals.items() if (places := found_in(signal))} == {}


def test_captured_content_is_on_chat_spans_alone_and_without_personal_data(kafka: Kafka, tmp_path: Path) -> None:
    generator = FakeEndpoint(then=well())
    with served(generator) as model, kept_exports() as exports:
        settings = leaky_settings(
            kafka, tmp_path, model, endpoint=exports.endpoint, preset="full", capture_content=True
        )
        with running_worker(settings, tmp_path) as log:
            send_everything(kafka, settings)
            wait_answered(settings)
        holding = {
            (span.name, name)
            for span in exports.spans()
            for name, value in span.attributes.items()
            if found_in(str(value).encode())
        }
        signals = {"metrics": b"".join(exports.metric_pushes), "logs": log.read_bytes()}
        spans = b"".join(exports.traces)
    assert holding == {("chat m1", "gen_ai.input.messages"), ("chat m1", "gen_ai.output.messages")}
    assert {"request", "answer"} <= set(found_in(spans))
    assert MAIL.encode() not in spans
    assert b"<EMAIL_ADDRESS>" in spans
    assert {name: places for name, signal in signals.items() if (places := found_in(signal))} == {}
    assert audits(settings)
