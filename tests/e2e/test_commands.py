"""The commands as a user runs them: processes of their own, on the real broker."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.plugins.fake_endpoint import FakeEndpoint, status
from tests.plugins.kafka_broker import Kafka
from tests.plugins.otlp_receiver import Collector, closed_endpoint
from tests.plugins.patience import PATIENCE_S
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.codec import RecordLimits, decode_event, encode
from topology.contract.events import Action, AuditedResponse, TextPart
from topology.contract.labels import Mode
from topology.contract.records import Record
from workers.kafka.reader import read_topic
from workers.settings import KafkaSettings

pytestmark = pytest.mark.kafka

SECRET = "words-of-a-user-that-must-not-show"

Ended = subprocess.CompletedProcess[str]


class CommandLine:
    """Runs commands under a settings file with topics of its own; `environment` is all that is set besides."""

    def __init__(self, kafka: Kafka, directory: Path) -> None:
        prefix = f"cli-{uuid.uuid4().hex[:8]}"
        self.topics = {name: f"{prefix}.{name}" for name in TOPIC_FIELDS}
        self.kafka = KafkaSettings(bootstrap_servers=tuple(kafka.bootstrap.split(",")))
        self.config = directory / "sluicegate.toml"
        servers = json.dumps(list(self.kafka.bootstrap_servers))
        names = "".join(f"{name} = {json.dumps(topic)}\n" for name, topic in self.topics.items())
        self.config.write_text(f"[kafka]\nbootstrap_servers = {servers}\n[topics]\npartitions = 2\n{names}")
        inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        self.environment = {**inherited, "PYTHONPATH": str(ROOT)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "workers.cli", "--config", str(self.config), *arguments]

    def run(self, *arguments: str, given: str = "", **environment: str) -> Ended:
        return subprocess.run(
            self.command(*arguments),
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=self.environment | environment,
            check=False,
        )

    @contextmanager
    def running(self, *arguments: str) -> Generator[subprocess.Popen[str]]:
        """A command that is ended with the block at the latest."""
        process = subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def events(self) -> dict[tuple[int, int], Record]:
        """What is on the input topic, by partition and offset."""
        return {(record.partition, record.offset): record for record in read_topic(self.kafka, self.topics["events"])}

    def events_since(self, before: dict[tuple[int, int], Record]) -> list[Record]:
        return [record for position, record in self.events().items() if position not in before]


@pytest.fixture(scope="module")
def line(kafka_session: Kafka, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A command line whose topics were made by `topics create`."""
    line = CommandLine(kafka_session, tmp_path_factory.mktemp("commands"))
    ended = line.run("topics", "create")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (
        ended.stdout.splitlines()[-1]
        == f"topics: {len(TOPIC_FIELDS)}; created {len(TOPIC_FIELDS)}, altered 0, differing 0"
    )
    return line


def event(number: int, conversation: str = "c1") -> str:
    messages = [{"role": "user", "parts": [{"type": "text", "text": "Hello"}]}]
    given = {"event_id": f"e{number}", "conversation_id": conversation, "tenant_id": "t", "messages": messages}
    return json.dumps(given)


def response(number: int) -> bytes:
    return encode(
        AuditedResponse(
            event_id=f"e{number}",
            conversation_id="c1",
            tenant_id="t",
            action=Action.PUBLISHED,
            mode=Mode.DIRECT_ANSWER,
            parts=(TextPart(text=f"answer {number}"),),
            reason_codes=(),
            policy_ref="p",
            audit_id=f"a{number}",
        )
    )


def test_creating_topics_again_changes_nothing(line: CommandLine) -> None:
    ended = line.run("topics", "create")
    assert (ended.returncode, ended.stdout) == (0, f"topics: {len(TOPIC_FIELDS)}; created 0, altered 0, differing 0\n")


def test_topics_that_differ_are_told_and_altered_on_request(line: CommandLine) -> None:
    wanted = {"SLUICEGATE_TOPICS__INPUT_MESSAGE_BYTES_MAX": "3000000"}
    told = line.run("topics", "create", **wanted)
    assert told.returncode == 1
    assert f"wrong: {line.topics['events']}: max.message.bytes is 2097152, expected 3000000" in told.stdout
    assert "--alter" in told.stdout
    assert line.run("topics", "create", "--alter", **wanted).returncode == 0
    assert line.run("topics", "create", **wanted).returncode == 0
    assert line.run("topics", "create", "--alter").returncode == 0


@pytest.mark.parametrize("is_piped", [False, True], ids=["file", "pipe"])
def test_events_arrive_with_key_and_headers(line: CommandLine, tmp_path: Path, is_piped: bool) -> None:
    before = line.events()
    lines = f"{event(1)}\n\n{event(2, 'c2')}\n"
    (tmp_path / "events.jsonl").write_text(lines)
    ended = line.run("send", "-", given=lines) if is_piped else line.run("send", str(tmp_path / "events.jsonl"))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == f"sent to {line.topics['events']}: 2\n"
    sent = line.events_since(before)
    assert {record.key for record in sent} == {b"c1", b"c2"}
    for record in sent:
        assert dict(record.headers)["sluicegate-schema"] == b"conversation-event/1"
        assert decode_event(record, RecordLimits()).conversation_id.encode() == record.key


def test_a_broken_line_is_named_by_number_and_reason_and_never_quoted(line: CommandLine) -> None:
    before = line.events()
    broken = json.dumps({"event_id": SECRET, "conversation_id": SECRET, "tenant_id": 5})
    ended = line.run("send", "-", given=f"{event(1)}\n\n{broken}\n{event(3)}\n")
    assert ended.returncode == 1
    assert ended.stderr.startswith("line 3: invalid: $.tenant_id: Expected `str`")
    assert SECRET not in ended.stderr
    assert len(line.events_since(before)) == 1


def test_raw_lines_are_sent_as_they_are(line: CommandLine) -> None:
    before = line.events()
    assert line.run("send", "--raw", "-", given='no event\n{"conversation_id":"c9"}\n').returncode == 0
    sent = line.events_since(before)
    assert {(record.key, record.value, record.headers) for record in sent} == {
        (None, b"no event", ()),
        (b"c9", b'{"conversation_id":"c9"}', ()),
    }


def test_with_an_otlp_endpoint_every_record_starts_a_trace(line: CommandLine) -> None:
    before = line.events()
    with Collector() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "SLUICEGATE_TELEMETRY__PRESET": "full"}
        assert line.run("send", "-", given=event(1), **variables).returncode == 0
        (span,) = receiver.store.spans()
    (record,) = line.events_since(before)
    assert dict(record.headers)["traceparent"].decode().split("-")[1:3] == [span.trace_id, span.span_id]


@pytest.mark.parametrize("command", [("send", "-"), ("tail",)], ids=" ".join)
def test_a_topic_that_is_not_there_is_one_line(line: CommandLine, command: tuple[str, ...]) -> None:
    variables = {
        f"SLUICEGATE_TOPICS__{name}": "not-there" for name in ("EVENTS" if command[0] == "send" else "AUDITED",)
    }
    ended = line.run(*command, given=event(1), **variables)
    assert ended.returncode == 1
    assert ended.stderr == f"sluicegate: kafka: {command[0]}: no topic not-there: `sluicegate topics create` makes it\n"


def test_a_topic_without_records_is_said_to_be_empty(line: CommandLine) -> None:
    ended = line.run("tail", "--audit", "--all")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == f"{line.topics['audit']} holds no audit record\n"


@pytest.fixture(scope="module")
def answered(line: CommandLine, kafka_session: Kafka) -> CommandLine:
    """Three responses on the audited topic, with something in between that is none."""
    topic = line.topics["audited"]
    kafka_session.send(topic, response(1), b"{}", response(2), response(3), key=b"c1", partition=0)
    return line


def test_responses_are_shown_without_colour_where_nobody_sees_it(answered: CommandLine) -> None:
    ended = answered.run("tail", "--from-beginning", "--count", "3")
    assert ended.returncode == 0
    assert [shown.split() for shown in ended.stdout.splitlines()] == [
        ["published", "direct_answer", "c1", f"e{number}", "answer", str(number)] for number in (1, 2, 3)
    ]
    assert ended.stderr == f"{answered.topics['audited']}-0@1 is not an audited response\n"


def test_responses_as_json_are_one_object_a_line(answered: CommandLine) -> None:
    ended = answered.run("tail", "--from-beginning", "--count", "2", "--json")
    assert [json.loads(shown)["event_id"] for shown in ended.stdout.splitlines()] == ["e1", "e2"]


def test_a_reader_that_has_enough_ends_the_command(answered: CommandLine) -> None:
    with answered.running("tail", "--from-beginning") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("published")
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 141
        assert "Traceback" not in process.stderr.read()


def test_an_interrupt_ends_the_command_with_one_word(answered: CommandLine) -> None:
    with answered.running("tail", "--from-beginning") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("published")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr.read().splitlines()[-1] == "sluicegate: interrupted"


class Checks:
    """What one run of `check` printed: mark and the rest, by what was checked."""

    def __init__(self, ended: Ended) -> None:
        self.status = ended.returncode
        self.text = ended.stdout
        found = [shown.split(maxsplit=2) for shown in ended.stdout.splitlines() if not shown.startswith(" ")]
        self.marks: dict[str, str] = {}
        for mark, what, *_ in (words for words in found if len(words) > 2):
            self.marks[what] = "wrong" if self.marks.get(what) == "wrong" else mark


def fake_models(*names: str) -> str:
    return json.dumps({"object": "list", "data": [{"id": name} for name in names]})


@pytest.fixture
def endpoint() -> Iterator[Callable[[str], str]]:
    """Starts endpoints that answer every request with one body; gives their base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started: list[FakeEndpoint] = []

    def start(body: str) -> str:
        endpoint = FakeEndpoint(then=status(200, body.encode()))
        asyncio.run_coroutine_threadsafe(endpoint.__aenter__(), loop).result(10)
        started.append(endpoint)
        return endpoint.base_url

    yield start
    for each in started:
        asyncio.run_coroutine_threadsafe(each.__aexit__(None, None, None), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_check_is_content_where_all_is_well(line: CommandLine, endpoint: Callable[[str], str]) -> None:
    with Collector() as receiver:
        found = Checks(
            line.run(
                "check",
                SLUICEGATE_GENERATION__BASE_URL=endpoint(fake_models("one", "two")),
                SLUICEGATE_GENERATION__MODEL="two",
                SLUICEGATE_GENERATION__TURN_MARKS="none",
                SLUICEGATE_GENERATION__API_KEY=SECRET,
                SLUICEGATE_REDACTION__DIGEST_KEY=SECRET,
                SLUICEGATE_TELEMETRY__ENDPOINT=receiver.endpoint,
            )
        )
    assert (found.status, found.text.splitlines()[-1]) == (0, "all is well"), found.text
    parts = ("settings", "policy", "brokers", "topics", "rights", "model", "telemetry")
    assert {found.marks[part] for part in parts} == {"ok"}
    assert SECRET not in found.text


def test_check_says_everything_that_is_wrong_at_once(line: CommandLine, endpoint: Callable[[str], str]) -> None:
    found = Checks(
        line.run(
            "check",
            SLUICEGATE_TOPICS__AUDIT="not-there",
            SLUICEGATE_GENERATION__BASE_URL=endpoint(fake_models("one")),
            SLUICEGATE_GENERATION__MODEL="two",
            SLUICEGATE_GENERATION__TURN_MARKS="none",
            SLUICEGATE_GUARD__JUDGE_BASE_URL=closed_endpoint(),
            SLUICEGATE_GUARD__JUDGE_MODEL="guard",
            SLUICEGATE_TELEMETRY__ENDPOINT=closed_endpoint(),
        )
    )
    assert found.status == 1
    assert {what for what, mark in found.marks.items() if mark == "wrong"} == {"topics", "model", "guard", "telemetry"}
    assert "missing: not-there" in found.text
    assert "does not serve 'two'; it serves one" in found.text
    assert found.text.count("connection refused") == 2


def test_check_looks_at_the_rest_where_the_broker_is_down(line: CommandLine, endpoint: Callable[[str], str]) -> None:
    found = Checks(
        line.run(
            "check",
            SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=closed_endpoint().removeprefix("http://"),
            SLUICEGATE_GENERATION__BASE_URL=endpoint(fake_models("sluicegate-tiny")),
        )
    )
    assert found.status == 1
    assert (found.marks["brokers"], found.marks["model"]) == ("wrong", "ok")
    assert "kafka.bootstrap_servers" in found.text


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is missing: Debian's package of that name")
def test_kcat_writes_what_the_codec_reads_and_reads_what_is_answered(answered: CommandLine) -> None:
    broker, (events, audited) = (
        answered.kafka.bootstrap_servers[0],
        (answered.topics["events"], answered.topics["audited"]),
    )
    before = answered.events()
    write = ["kcat", "-P", "-b", broker, "-t", events, "-k", "c7"]
    subprocess.run(write, input=event(7, "c7"), text=True, check=True, timeout=PATIENCE_S)
    (record,) = answered.events_since(before)
    assert decode_event(record, RecordLimits()).event_id == "e7"
    read = ["kcat", "-C", "-b", broker, "-t", audited, "-X", "isolation.level=read_committed", "-o", "beginning", "-e"]
    shown = subprocess.run([*read, "-q"], capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    assert [json.loads(value).get("event_id") for value in shown.splitlines()] == ["e1", None, "e2", "e3"]
