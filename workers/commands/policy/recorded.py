"""Recorded decisions, read one by one from a file of JSON lines, or from the audit topic up to its present end."""

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from topology.contract.events import AuditRecord
from workers.commands.console.terminal import Terminal
from workers.commands.console.usage_error import WrongUse
from workers.kafka.client import REQUEST_BYTES_MAX, kafka_session
from workers.kafka.reader import RangeReader, Span, ValueDecoder
from workers.settings import Settings

LINE_BYTES_MAX = REQUEST_BYTES_MAX
"""The longest line. No audit record is longer, because each came through a topic."""

FILE_SUFFIXES = (".jsonl", ".json", ".ndjson")
"""A name that ends so is a file, not a topic, even if the file does not exist."""

PLACES_MAX = 5
"""The most places of unreadable records that are kept; the others are counted."""

audit_record_of = ValueDecoder(AuditRecord)
_of_line = msgspec.json.Decoder(AuditRecord)


class Window(Struct, frozen=True, kw_only=True):
    """A range of decisions, by the time of the event's own record in Unix epoch milliseconds; None is no bound."""

    since_ms: int | None = None
    until_ms: int | None = None

    def holds(self, record: AuditRecord) -> bool:
        """Return whether the event's time is at `since_ms` or later, and before `until_ms`."""
        at = record.position.timestamp_ms
        return (self.since_ms is None or at >= self.since_ms) and (self.until_ms is None or at < self.until_ms)


class Unreadable:
    """The records that are not audit records: their number, and the places of the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.places: list[str] = []

    def add(self, place: str) -> None:
        """Count one more, at `place`."""
        self.count += 1
        if len(self.places) < PLACES_MAX:
            self.places.append(place)

    def say(self, terminal: Terminal) -> None:
        """Print their number and places, if there are any."""
        if self.count:
            more = ", …" if self.count > len(self.places) else ""
            terminal.say(f"not audit records: {self.count}, at {', '.join(self.places)}{more}", "red")


@contextmanager
def recorded(
    name: str, settings: Settings, window: Window, unreadable: Unreadable, *, count_max: int = 0
) -> Generator[Iterator[AuditRecord]]:
    """Yield the decisions in the file or on the topic `name`; `-` is standard input. At most `count_max`, 0: all.

    Raises WrongUse for a file that cannot be read, and what `kafka_session` raises for a topic.
    """
    with _from_file(name, unreadable) if is_file(name) else _from_topic(name, settings, window, unreadable) as records:
        chosen = (record for record in records if window.holds(record))
        yield islice(chosen, count_max) if count_max else chosen


def is_file(name: str) -> bool:
    """Return whether `name` means a file: it exists, is `-`, or is spelt like one."""
    return name == "-" or "/" in name or name.endswith(FILE_SUFFIXES) or Path(name).is_file()


@contextmanager
def _from_file(name: str, unreadable: Unreadable) -> Generator[Iterable[AuditRecord]]:
    if name == "-":
        yield _lines(sys.stdin.buffer, unreadable)
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - an error of reading it later is no wrong use
    except OSError as exc:
        raise WrongUse("--from-audit", name, f"cannot be read: {exc.strerror}") from exc
    with file:
        yield _lines(file, unreadable)


def _lines(file: BinaryIO, unreadable: Unreadable) -> Iterator[AuditRecord]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise WrongUse("--from-audit", f"line {number}", f"longer than {LINE_BYTES_MAX} bytes")
        if line.isspace():
            continue
        try:
            yield _of_line.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            unreadable.add(f"line {number}")


@contextmanager
def _from_topic(
    topic: str, settings: Settings, window: Window, unreadable: Unreadable
) -> Generator[Iterable[AuditRecord]]:
    with kafka_session(settings.kafka, "policy", topic) as kafka, RangeReader(kafka, topic) as reader:
        yield _messages(reader, window, unreadable)


def _messages(reader: RangeReader, window: Window, unreadable: Unreadable) -> Iterator[AuditRecord]:
    for records in reader.read(_spans(reader, window)):
        for record in records:
            if (found := audit_record_of(record)) is None:
                unreadable.add(f"{record.topic}-{record.partition}@{record.offset}")
            else:
                yield found


def _spans(reader: RangeReader, window: Window) -> dict[int, Span]:
    """Return spans from the first record that can be about an event in the window: none is older than its event."""
    held = reader.bounds()
    if window.since_ms is None:
        return held
    starts = reader.offsets_at(window.since_ms)
    return {
        partition: Span(start=span.end if (at := starts[partition]) is None else max(at, span.start), end=span.end)
        for partition, span in held.items()
    }
