"""The demo from start to end: start the parts, send events, show decisions, take the census, say where to look."""

import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from topology.contract.events import AuditRecord, ConversationEvent
from topology.telemetry.instruments import Instruments
from workers.commands.demo.broken import BrokenRecord, awaited_id, broken_records
from workers.commands.demo.census import Census, Sent, take_census
from workers.commands.demo.door import open_door
from workers.commands.demo.lateness import lateness_of
from workers.commands.demo.machine import machine_meter
from workers.commands.demo.parts import (
    BOOTSTRAP,
    demo_settings,
    kafka_brokers,
    language_model,
    mock_brokers,
    removed_topics,
    scripted_model,
    wait_until_gone,
    with_model,
)
from workers.commands.demo.rounds import Model, Round
from workers.commands.demo.story.afterwards import kcat_commands, leave, next_commands
from workers.commands.demo.story.examples import Example, is_example
from workers.commands.demo.traces import whole_trace
from workers.commands.demo.view import (
    LiveView,
    StreamView,
    decode_audits,
    decode_responses,
    detailed_tables,
    faults,
    print_census,
    print_lateness,
    print_lines,
    print_story,
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

TABLES, TABLES_WIDTH = "tables.txt", 120
"""The file with the tables of categories, latencies and dead letters, and its columns."""

KEPT = "everything stays up until Ctrl-C; ask over the door, or over the topics:"


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
            topics = settings.topics
            read = [topics.audited, topics.audit, topics.dead_letters, topics.stream]
            reader = TopicReader(settings.kafka, read, from_beginning=True)
            parts.callback(reader.close)
            sent: list[Sent] = []
            supervisor: Supervisor | None = None
            for number, each in enumerate(rounds):
                url = self._start_model(parts, each.model, receiver)
                if supervisor is not None:
                    self._replace(supervisor, settings)
                supervisor = self._start_workers(with_model(settings, each.model, url))
                run = _Running(reader, settings, supervisor)
                if each.examples:
                    sent += self._tell(run, each, seed)
                new = self._send(settings, each.events, () if number else broken_records(seed))
                self._say_sent(len(each.events), each.model, len(new) - len(each.events))
                self._watch(run, LiveView(len(new), each.events), kill=kill and not number)
                sent += new
            assert supervisor is not None
            census, audits = self._count(settings, sent, receiver)
            late = lateness_of(audits, self._meter.load())
            print_lateness(self._console, late)
            self._show_one(settings, receiver, audits)
            self._say_what_next(audits)
            if keep:
                asked = [] if mock else self._open_door(parts, settings)
                self._say_lines([KEPT, *asked, *kcat_commands(settings)])
                _until_interrupted(supervisor)
            self._console.print("stopping: the workers are drained, then the parts end")
            supervisor.drain(settings.drain.timeout_s)
        return 1 if late.is_fault or not (mock or census.is_exactly_once) else 0

    def _tell(self, run: "_Running", given: Round, seed: int) -> list[Sent]:
        """Send the pinned examples, wait for them, and show each with its drafts; then those that stream."""
        is_streaming = run.settings.streaming.enabled
        whole = [example for example in given.examples if not (example.streams and is_streaming)]
        events = [example.event(seed) for example in whole]
        sent = self._send(run.settings, events, ())
        self._say_sent(len(events), given.model)
        view = LiveView(len(events), events)
        self._watch(run, view, is_shown=False)
        print_story(self._console, view.decisions, whole, seed)
        for example in given.examples:
            if example not in whole:
                sent += self._tell_streaming(run, example, seed)
        return sent

    def _tell_streaming(self, run: "_Running", example: Example, seed: int) -> list[Sent]:
        """Send an example whose answer streams, and show its segments as they arrive."""
        view, event = StreamView(example, seed, self._console.width), example.event(seed)
        print_lines(self._console, view.begin())
        sent = self._send(run.settings, [event], ())
        self._watch(run, view, is_live=False)
        print_lines(self._console, faults(view.decisions.get(event.event_id), example, seed))
        return sent

    def _say_what_next(self, audits: list[AuditRecord]) -> None:
        """Print the commands that work on what the run leaves."""
        twice = min(audits, key=lambda audit: (abs(len(audit.attempts) - 2), not is_example(audit.event_id)))
        self._say_lines(["now look closer:", *next_commands(self._directory, twice.event_id)])

    def _say_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._console.print(Text(line, style="bold" if line.endswith(":") else ""), soft_wrap=True)

    def _open_door(self, parts: ExitStack, settings: Settings) -> list[str]:
        with self._step("a door, on loopback"):
            return parts.enter_context(open_door(settings, self._directory))

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
            is_streaming=not mock,
            otlp=receiver.endpoint,
        )
        with self._step("topics"):
            create_topics(settings.kafka, settings.topics)
            if os.environ.get(BOOTSTRAP):
                parts.enter_context(removed_topics(settings))
        with self._step("Ray, on loopback"):
            parts.enter_context(ray_session(self._base.ray, say_again=self._say_again))
        self._console.print(
            "real: Apache Kafka, Ray, guards, policy; stand-ins: models, conversations, traces"
            if not mock
            else "real: Ray, OTLP, guards, policy; stand-in: the broker, so nothing below is about delivery",
            style="bold",
        )
        return settings

    def _say_again(self, reason: str) -> None:
        """Say why Ray is started once more."""
        self._console.print(Text(reason, style="yellow"))

    def _start_model(self, parts: ExitStack, model: Model, receiver: OtlpReceiver) -> str:
        """Return the model's base URL once it answers."""
        if not model.is_vllm:
            with self._step(f"model {model}: prepared answers, some above their ceiling"):
                return parts.enter_context(scripted_model())
        telemetry = self._base.telemetry
        traces = telemetry.endpoint or receiver.endpoint
        what = "random weights (its text is noise)" if model is Model.TINY else "135 million weights, on the CPU"
        with self._step(f"model {model}: real vLLM, {what}") as say:
            return parts.enter_context(
                language_model(
                    model, traces, telemetry.protocol, lambda state, _: say(state.lower()), self._restore_logging
                )
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
            wait_until_gone(names)

    def _wait_for_worker(self, supervisor: Supervisor) -> None:
        deadline_s = time.monotonic() + self._base.ray.start_timeout_s
        while not all(actor.is_healthy for actor in supervisor.status()):
            if time.monotonic() >= deadline_s:
                raise TimeoutError(f"no healthy worker after {self._base.ray.start_timeout_s:g} s")
            supervisor.step()
            time.sleep(POLL_S)

    def _send(
        self, settings: Settings, events: Sequence[ConversationEvent], broken: Sequence[BrokenRecord]
    ) -> list[Sent]:
        chat = msgspec.structs.replace(settings.telemetry, service_name="chat-service")
        telemetry = start_telemetry(chat, "chat-service")
        sender = EventSender(settings.kafka, settings.topics.events, telemetry.tracer)
        try:
            conversations = [(event, sender.send_event(event)) for event in events]
            refused = [(record, sender.send_raw(*record[2:])) for record in broken]
            sender.flush()
            sent = [_sent(event.event_id, future, event_id=event.event_id) for event, future in conversations]
            sent += [_sent(one[0], future, expected=one[1], event_id=awaited_id(one)) for one, future in refused]
        finally:
            sender.close()
            telemetry.shutdown(5)
        return sent

    def _say_sent(self, count: int, model: Model, broken_count: int = 0) -> None:
        also = f" and {broken_count} records broken on purpose" if broken_count else ""
        self._console.print(f"sent {count} conversations for {model}{also}", style="bold")

    def _watch(
        self, run: "_Running", view: LiveView, *, kill: bool = False, is_shown: bool = True, is_live: bool = True
    ) -> None:
        """Wait until `view` is complete, and show it; the reader is past what was shown before.

        Without `is_live`, or on a plain terminal, its lines are printed one after the other.
        """
        deadline_s = time.monotonic() + RUN_TIMEOUT_S
        kill_at = view.event_count // 2 if kill else None
        is_live = is_live and not self._plain
        stream = run.settings.topics.stream
        self._meter.start()
        with self._live(view) if is_shown and is_live else ExitStack():
            while not view.is_complete:
                if time.monotonic() >= deadline_s:
                    self._console.print(f"gave up waiting after {RUN_TIMEOUT_S:g} s", style="red")
                    break
                for record in sorted(run.reader.poll(POLL_S), key=lambda record: record.topic != stream):
                    lines = view.add(record, run.settings.topics)
                    print_lines(self._console, lines if is_shown and not is_live else ())
                run.supervisor.step()
                self._meter.look(time.monotonic())
                if kill_at is not None and view.answered_count >= kill_at:
                    kill_at = None
                    view.note = _kill_ingress(run.supervisor)
                    if self._plain:
                        self._console.print(view.note, style="bold")

    def _count(self, settings: Settings, sent: list[Sent], receiver: OtlpReceiver) -> tuple[Census, list[AuditRecord]]:
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
        leave(self._directory, settings, audits, decode_responses(audited))
        with (self._directory / TABLES).open("w", encoding="utf-8") as file:
            detailed_tables(Console(file=file, width=TABLES_WIDTH), census, audits, receiver.spans())
        print_tables(self._console, audits)
        print_census(self._console, census, second)
        return census, audits

    def _show_one(self, settings: Settings, receiver: OtlpReceiver, audits: list[AuditRecord]) -> None:
        """Write one event's trace, audit record and response to files, and print the trace."""
        shown, tree = whole_trace(receiver, audits)
        if shown is None:
            return
        responses = read_topic(settings.kafka, settings.topics.audited)
        response = next(record.value or b"" for record in responses if shown.event_id.encode() in (record.value or b""))
        looks = {"trace.txt": tree.encode(), "audit.json": msgspec.json.format(msgspec.json.encode(shown), indent=2)}
        looks["response.json"] = msgspec.json.format(response, indent=2)
        for name, content in looks.items():
            (self._directory / name).write_bytes(content)
        self._console.print(Text(f"one event as one trace ({shown.event_id}, trace {shown.trace_id}):", style="bold"))
        for line in tree.splitlines():
            self._console.print(Text(line), no_wrap=True, overflow="ellipsis")
        where = settings.telemetry.endpoint if settings.telemetry.endpoint != receiver.endpoint else "this process"
        self._console.print(f"trace store: {where}; files in {self._directory}:", soft_wrap=True)
        self._console.print(f"  audit.jsonl, responses.jsonl, {', '.join(looks)}, {TABLES}")

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


class _Running(NamedTuple):
    """The parts of a round: a reader that is past what was shown, the settings, and the workers."""

    reader: TopicReader
    settings: Settings
    supervisor: Supervisor


def _sent(name: str, future: object, **known: object) -> Sent:
    topic, partition, offset = wait_for_position(future)
    return Sent(name=name, topic=topic, partition=partition, offset=offset, **known)  # pyright: ignore[reportArgumentType]


def _kill_ingress(supervisor: Supervisor) -> str:
    pid = next(actor.pid for actor in supervisor.status() if actor.role == "ingress")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return f"kill -9 of the ingress actor (process {pid}): it is started again, and the census must hold"


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
