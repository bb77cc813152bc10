"""The demo from start to end: start the parts, send events, show decisions, take the census, say where to look."""

import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from topology.contract.events import AuditRecord
from topology.contract.names import DraftSource
from topology.contract.records import Record
from topology.telemetry.instruments import Instruments
from workers.commands.demo.broken import BrokenRecord, awaited_id, broken_records
from workers.commands.demo.census import Census, Sent, take_census
from workers.commands.demo.lateness import lateness_of
from workers.commands.demo.machine import machine_meter
from workers.commands.demo.parts import (
    BOOTSTRAP,
    demo_settings,
    kafka_brokers,
    language_model,
    mock_brokers,
    scripted_model,
    with_model,
)
from workers.commands.demo.parts import MODEL_NAME as TINY
from workers.commands.demo.rounds import Round
from workers.commands.demo.scripted_model import MODEL_NAME as SCRIPTED
from workers.commands.demo.scripts import is_rejudged
from workers.commands.demo.view import (
    LiveView,
    decode_audits,
    decode_responses,
    print_answers,
    print_census,
    print_lateness,
    print_rejudged,
    print_tables,
)
from workers.development.otlp_receiver import OtlpReceiver
from workers.kafka.reader import TopicReader, read_topic
from workers.kafka.sender import EventSender, wait_for_position
from workers.kafka.topics import create_topics
from workers.settings import Settings
from workers.supervision.ray_session import ray_session
from workers.supervision.supervisor import Supervisor
from workers.telemetry.setup import start_telemetry

RUN_TIMEOUT_S = 300.0
"""The longest wait for all events of a round; a machine with two cores needs about one minute for 300."""

POLL_S = 0.2

SPANS_WAIT_S = 15.0
"""The longest wait for the last spans: vLLM and the workers export in batches."""

WHOLE_TRACE = ("send conversations.events", "process conversations.events", "chat ", "audited")
"""The spans of a whole trace; vLLM's own is added where it answered."""

VLLM_SPAN = "llm_request"

NAMES_WAIT_S = 20.0
"""The longest wait until Ray has forgotten an actor that ended."""


class Demo:
    """One run of the demo. `directory` gets the broker's data and the files to look at."""

    def __init__(
        self,
        settings: Settings,
        console: Console,
        directory: Path,
        *,
        plain: bool,
        restore_logging: Callable[[], None],
    ) -> None:
        self._base = settings
        self._restore_logging = restore_logging
        self._console = console
        self._directory = directory
        self._plain = plain
        self._second_reader: Callable[[str], list[str]] | None = None
        self._meter = machine_meter()

    def run(self, rounds: Sequence[Round], seed: int, *, kill: bool, mock: bool, keep: bool) -> int:
        """Run the demo; 0 if the census holds and answers were in time, else 1. Nothing is left running in any case.

        One model after the other answers its round; with `kill` the ingress is killed half way through the first.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as parts, _terminated_as_interrupt():
            receiver = parts.enter_context(OtlpReceiver())
            settings = self._start(parts, receiver, mock=mock)
            reader = TopicReader(
                settings.kafka, [settings.topics.audited, settings.topics.dead_letters], from_beginning=True
            )
            parts.callback(reader.close)
            sent: list[Sent] = []
            supervisor: Supervisor | None = None
            for number, each in enumerate(rounds):
                url = self._start_model(parts, each.model, receiver)
                if supervisor is not None:
                    self._replace(supervisor, settings)
                supervisor = self._start_workers(with_model(settings, each.model, url))
                new = self._send(settings, each, broken=() if number else broken_records(seed))
                self._watch(reader, settings, supervisor, new, kill=kill and not number)
                sent += new
            assert supervisor is not None
            census, audits = self._count(settings, sent, receiver, rounds)
            late = lateness_of(audits, self._meter.load())
            print_lateness(self._console, late)
            self._show_one(settings, receiver, audits)
            if keep:
                self._console.print(f"{rounds[-1].model} stays up until Ctrl-C; brokers at {_servers(settings)}")
                _until_interrupted(supervisor)
            self._console.print("stopping: the workers are drained, then the parts end")
            supervisor.drain(settings.drain.timeout_s)
        return 1 if late.is_fault or not (mock or census.is_exactly_once) else 0

    def _start(self, parts: ExitStack, receiver: OtlpReceiver, *, mock: bool) -> Settings:
        with self._step("Kafka" if not mock else "mock broker: in memory, WITHOUT real transactions") as say:
            brokers = (
                mock_brokers(self._base.kafka)
                if mock
                else kafka_brokers(self._base.kafka, self._directory / "kafka", say)
            )
            started = parts.enter_context(brokers)
        self._second_reader = started.second_reader
        settings = demo_settings(
            self._base,
            started.kafka,
            self._directory,
            own_brokers=bool(os.environ.get(BOOTSTRAP)),
            otlp=receiver.endpoint,
        )
        with self._step("topics"):
            create_topics(settings.kafka, settings.topics)
        with self._step("Ray, on loopback"):
            parts.enter_context(ray_session(self._base.ray))
        self._console.print(
            "real: Apache Kafka, Ray, OTLP, guards, policy; stand-ins: models, conversations, trace store"
            if not mock
            else "real: Ray, OTLP, guards, policy; stand-in: the broker, so nothing below is about delivery",
            style="bold",
        )
        return settings

    def _start_model(self, parts: ExitStack, model: str, receiver: OtlpReceiver) -> str:
        """Return the model's base URL once it answers."""
        if model == SCRIPTED:
            with self._step(f"model {model}: prepared answers, some above their ceiling"):
                return parts.enter_context(scripted_model())
        telemetry = self._base.telemetry
        traces = telemetry.endpoint or receiver.endpoint
        with self._step(f"model {model}: real vLLM, random weights (its text is noise)") as say:
            return parts.enter_context(
                language_model(traces, telemetry.protocol, lambda state, _: say(state.lower()), self._restore_logging)
            )

    def _start_workers(self, settings: Settings) -> Supervisor:
        with self._step(f"stream worker and stage actors, asking {settings.generation.model}"):
            supervisor = Supervisor(settings, Instruments.none())
            supervisor.start()
            self._wait_for_worker(supervisor)
        return supervisor

    def _replace(self, supervisor: Supervisor, settings: Settings) -> None:
        """Drain the workers, so that others can take their names and continue where they stopped."""
        with self._step("draining the workers, to start others for another model"):
            names = {actor.name for actor in supervisor.status()}
            supervisor.drain(settings.drain.timeout_s)
            _wait_until_gone(names)

    def _wait_for_worker(self, supervisor: Supervisor) -> None:
        deadline_s = time.monotonic() + self._base.ray.start_timeout_s
        while not all(actor.is_healthy for actor in supervisor.status()):
            if time.monotonic() >= deadline_s:
                raise TimeoutError(f"no healthy worker after {self._base.ray.start_timeout_s:g} s")
            supervisor.step()
            time.sleep(POLL_S)

    def _send(self, settings: Settings, given: Round, broken: Sequence[BrokenRecord]) -> list[Sent]:
        chat = msgspec.structs.replace(settings.telemetry, service_name="chat-service")
        telemetry = start_telemetry(chat, "chat-service")
        sender = EventSender(settings.kafka, settings.topics.events, telemetry.tracer)
        try:
            conversations = [(event, sender.send_event(event)) for event in given.events]
            refused = [(record, sender.send_raw(*record[2:])) for record in broken]
            sender.flush()
            sent = [_sent(event.event_id, future, event_id=event.event_id) for event, future in conversations]
            sent += [_sent(one[0], future, expected=one[1], event_id=awaited_id(one)) for one, future in refused]
        finally:
            sender.close()
            telemetry.shutdown(5)
        also = f" and {len(refused)} records broken on purpose" if refused else ""
        self._console.print(f"sent {len(conversations)} conversations for {given.model}{also}", style="bold")
        return sent

    def _watch(
        self, reader: TopicReader, settings: Settings, supervisor: Supervisor, sent: list[Sent], *, kill: bool
    ) -> None:
        """Show the end of each record of `sent`; `reader` is past the records that were shown before."""
        view = LiveView(len(sent))
        deadline_s = time.monotonic() + RUN_TIMEOUT_S
        decodable = sum(1 for one in sent if one.expected is None)
        kill_at = decodable // 2 if kill else None
        self._meter.start()
        with self._live(view) if not self._plain else ExitStack():
            while view.answered_count < decodable or view.dead_letter_count < len(sent) - decodable:
                if time.monotonic() >= deadline_s:
                    self._console.print(f"gave up waiting after {RUN_TIMEOUT_S:g} s", style="red")
                    return
                for record in reader.poll(POLL_S):
                    self._see(view, record, is_response=record.topic == settings.topics.audited)
                supervisor.step()
                self._meter.look(time.monotonic())
                if kill_at is not None and view.answered_count >= kill_at:
                    kill_at = None
                    view.note = _kill_ingress(supervisor)
                    if self._plain:
                        self._console.print(view.note, style="bold")

    def _see(self, view: LiveView, record: Record, *, is_response: bool) -> None:
        line = view.add_response(record) if is_response else view.add_dead_letter(record)
        if self._plain:
            self._console.print(line, no_wrap=True, overflow="ellipsis")

    def _count(
        self, settings: Settings, sent: list[Sent], receiver: OtlpReceiver, rounds: Sequence[Round]
    ) -> tuple[Census, list[AuditRecord]]:
        topics = settings.topics
        second: int | None = None
        with self._step("census, from the beginning of every topic"):
            audited, audit, letters, review = (
                read_topic(settings.kafka, topic)
                for topic in (topics.audited, topics.audit, topics.dead_letters, topics.review)
            )
            if self._second_reader is not None:
                lines = self._second_reader(topics.audited)
                second = sum(1 for line in lines if line.startswith("{"))
        census = take_census(sent, audited, audit, letters, review)
        audits = decode_audits(audit)
        print_tables(self._console, census, audits, receiver.spans())
        responses = decode_responses(audited)
        for each in rounds:
            print_answers(self._console, each.model, each.events, responses)
        if rejudged := [event for each in rounds for event in each.events if is_rejudged(event)]:
            print_rejudged(self._console, rejudged, audits, responses)
        print_census(self._console, census, second)
        return census, audits

    def _show_one(self, settings: Settings, receiver: OtlpReceiver, audits: list[AuditRecord]) -> None:
        """Write one event's trace, audit record and response to files, and print the trace."""
        shown, tree = _whole_trace(receiver, audits)
        if shown is None:
            return
        responses = read_topic(settings.kafka, settings.topics.audited)
        response = next(record.value or b"" for record in responses if shown.event_id.encode() in (record.value or b""))
        looks = {"trace.txt": tree.encode(), "audit.json": msgspec.json.format(msgspec.json.encode(shown), indent=2)}
        looks["response.json"] = msgspec.json.format(response, indent=2)
        for name, content in looks.items():
            (self._directory / name).write_bytes(content)
        self._console.print(Text(f"one event as one trace ({shown.event_id}, trace {shown.trace_id}):", style="bold"))
        self._console.print(Text(tree), soft_wrap=True)
        where = settings.telemetry.endpoint if settings.telemetry.endpoint != receiver.endpoint else "this process"
        self._console.print(f"trace store: {where}; the same as files: {', '.join(looks)} in {self._directory}")

    def _live(self, shown: RenderableType, *, transient: bool = False) -> Live:
        # Without redirection, the output of libraries is logged and does not reach the terminal.
        return Live(
            shown,
            console=self._console,
            refresh_per_second=4,
            transient=transient,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @contextmanager
    def _step(self, name: str) -> Generator[Callable[[str], None]]:
        """Show that `name` is being started, then how long it took; the block may report its progress."""
        started_s = time.monotonic()
        spinner = Spinner("dots", name)
        with self._live(spinner, transient=True):

            def say(what: str) -> None:
                spinner.update(text=f"{name}: {what} ({time.monotonic() - started_s:.0f} s)")

            yield say
        self._console.print(f"{name}: ready after {time.monotonic() - started_s:.1f} s")


def _sent(name: str, future: object, **known: object) -> Sent:
    topic, partition, offset = wait_for_position(future)
    return Sent(name=name, topic=topic, partition=partition, offset=offset, **known)  # pyright: ignore[reportArgumentType]


def _kill_ingress(supervisor: Supervisor) -> str:
    pid = next(actor.pid for actor in supervisor.status() if actor.role == "ingress")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return f"kill -9 of the ingress actor (process {pid}): it is started again, and the census must hold"


def _wait_until_gone(names: set[str]) -> None:
    """Wait until no actor has one of these names, which end in the supervisor's own. Raises TimeoutError."""
    import ray

    deadline_s = time.monotonic() + NAMES_WAIT_S
    while any(known.endswith(f".{name}") for known in ray.util.list_named_actors() for name in names):
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"Ray still lists the ended actors after {NAMES_WAIT_S:g} s")
        time.sleep(POLL_S)


def _whole_trace(receiver: OtlpReceiver, audits: list[AuditRecord]) -> tuple[AuditRecord | None, str]:
    """Return an event and its trace, from sender to model server; if none is whole after a bounded wait, a partial one.

    Events that vLLM answered come first, and among them those with two drafts. The spans of a killed worker are lost.
    """
    drafted = [audit for audit in audits if audit.attempts and audit.attempts[0].source is DraftSource.GENERATOR]
    drafted.sort(key=lambda audit: (audit.attempts[0].model != TINY, abs(len(audit.attempts) - 2)))
    deadline_s = time.monotonic() + SPANS_WAIT_S
    while drafted:
        for audit in drafted:
            tree = receiver.tree(audit.trace_id)
            expected = (*WHOLE_TRACE, VLLM_SPAN) if audit.attempts[0].model == TINY else WHOLE_TRACE
            if all(name in tree for name in expected):
                return audit, tree
        if time.monotonic() >= deadline_s:
            return drafted[0], receiver.tree(drafted[0].trace_id)
        time.sleep(POLL_S)
    return None, ""


def _servers(settings: Settings) -> str:
    return ",".join(settings.kafka.bootstrap_servers)


def _until_interrupted(supervisor: Supervisor) -> None:
    try:
        while True:
            supervisor.step()
            time.sleep(1)
    except KeyboardInterrupt:
        return


@contextmanager
def _terminated_as_interrupt() -> Generator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that the parts are stopped."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
