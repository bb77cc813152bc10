"""`sluicegate send`: write JSON lines to the input topic as a chat service would."""

import argparse
import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from topology.contract.codec import RecordLimits, decode_event
from topology.contract.errors import DeadLetter
from topology.contract.names import CONTENT_TYPE_JSON, Header, SchemaName
from topology.contract.records import Headers, Record
from workers.commands.console.terminal import Terminal
from workers.kafka.client import REQUEST_BYTES_MAX, kafka_session
from workers.kafka.sender import EventSender, wait_for_position
from workers.process.exit_codes import ExitCode
from workers.settings import KafkaSettings, Settings
from workers.telemetry.setup import TELEMETRY_STOP_S, start_telemetry

PENDING_MAX = 5_000
"""The most records that may wait for their acknowledgement."""

PROGRESS_EVERY = 1_000

LINE_BYTES_MAX = REQUEST_BYTES_MAX
"""The longest line that is sent, even with --raw: no producer of this project sends a larger request."""

EVENT_HEADERS: Headers = (
    (Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),
    (Header.SCHEMA.value, f"{SchemaName.CONVERSATION_EVENT.value}/1".encode()),
)


class BadLineError(Exception):
    """A line that is not sent. `args` is (its number, from 1; the reason, which quotes nothing of the line)."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason


class _Key(msgspec.Struct):
    conversation_id: str


_key = msgspec.json.Decoder(_Key)


class _Sending:
    """The records in flight, and the number of acknowledged ones."""

    def __init__(self, sender: EventSender, terminal: Terminal) -> None:
        self._sender = sender
        self._terminal = terminal
        self._pending: list[Any] = []
        self.acknowledged_count = 0

    def send(self, line: bytes, headers: Headers) -> None:
        """Send one line; wait for acknowledgements first if PENDING_MAX records are in flight."""
        self._pending.append(self._sender.send_raw(_key_of(line), line, headers))
        if len(self._pending) >= PENDING_MAX:
            self.settle()

    def settle(self) -> None:
        """Wait until every record is acknowledged. Raises KafkaError."""
        self._sender.flush()
        for future in self._pending:
            wait_for_position(future)
            self.acknowledged_count += 1
            if self.acknowledged_count % PROGRESS_EVERY == 0:
                self._terminal.say(f"{self.acknowledged_count} sent")
        self._pending.clear()


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Send every line. Without --raw the first invalid event ends the command; the lines before it are sent.

    1 for an invalid event, 2 for a file that cannot be opened.
    """
    terminal = Terminal("stderr")
    try:
        opened = _opened(arguments.file, terminal)
    except OSError as exc:
        terminal.say(f"sluicegate send: {arguments.file}: {exc.strerror}", "red")
        return ExitCode.WRONG_USE
    topic = settings.topics.events
    with opened as file, kafka_session(settings.kafka, "send", topic) as kafka, _sender(settings, kafka) as sender:
        sending = _Sending(sender, terminal)
        try:
            _send_all(file, settings, sending, raw=arguments.raw)
        except BadLineError as exc:
            terminal.say(f"line {exc.number}: {exc.reason}; this line and the lines after it were not sent", "red")
            return 1
        finally:
            terminal.say(f"sent to {topic}: {sending.acknowledged_count}")
    return 0


def _opened(name: str, terminal: Terminal) -> AbstractContextManager[BinaryIO]:
    """Open the file; `-` is standard input, which stays open. Raises OSError."""
    if name != "-":
        return Path(name).open("rb")
    if sys.stdin.isatty():
        terminal.say("type one JSON object per line; Ctrl-D ends the input", "dim")
    return nullcontext(sys.stdin.buffer)


@contextmanager
def _sender(settings: Settings, kafka: KafkaSettings) -> Generator[EventSender]:
    """Yield a producer; with an OTLP endpoint every record starts a trace, as a chat service's would."""
    telemetry = start_telemetry(settings.telemetry, "sender")
    try:
        sender = EventSender(kafka, settings.topics.events, telemetry.tracer)
        try:
            yield sender
        finally:
            sender.close()
    finally:
        telemetry.shutdown(TELEMETRY_STOP_S)


def _send_all(file: BinaryIO, settings: Settings, sending: _Sending, *, raw: bool) -> None:
    """Send the lines. Raises BadLineError after the lines before the bad one were acknowledged."""
    for number, line in _lines(file):
        problem = _too_long(line) or (None if raw else problem_of(line, settings))
        if problem is not None:
            sending.settle()
            raise BadLineError(number, problem)
        sending.send(line, () if raw else EVENT_HEADERS)
    sending.settle()


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers; of a line that is too long only the beginning."""
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 2):
        number += 1
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _too_long(line: bytes) -> str | None:
    return f"longer than {LINE_BYTES_MAX} bytes" if len(line) > LINE_BYTES_MAX else None


def problem_of(line: bytes, settings: Settings) -> str | None:
    """Return why a worker would write this line to the dead-letter topic; None if it would not."""
    record = Record(topic="", partition=0, offset=0, timestamp_ms=0, key=_key_of(line) or b"-", value=line)
    limits = RecordLimits(
        event_bytes_max=settings.limits.event_bytes_max, nesting_depth_max=settings.limits.nesting_depth_max
    )
    try:
        decode_event(record, limits)
    except DeadLetter as exc:
        return f"{exc.reason.value}: {exc.detail}"
    return None


def _key_of(line: bytes) -> bytes | None:
    """Return the conversation id; None if the line has none."""
    try:
        return _key.decode(line).conversation_id.encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
