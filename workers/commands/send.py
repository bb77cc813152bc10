"""`sluicegate send`: JSON lines onto the input topic."""

import argparse
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from topology.codec import RecordLimits, decode_event
from topology.errors import DeadLetter
from topology.ports import Record
from workers.sender import EventSender, position_of
from workers.settings import Settings

PENDING_MAX = 5_000
"""Records that may wait for their acknowledgement."""

PROGRESS_EVERY = 1_000


class _Key(msgspec.Struct):
    conversation_id: str


_key = msgspec.json.Decoder(_Key)


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Send every line. Without --raw a line that is no valid event stops the command before anything is sent of it."""
    errors = Console(stderr=True)
    sender = EventSender(settings.kafka, settings.topics.events)
    sent = 0
    pending: list[Any] = []
    try:
        with _lines(arguments.file) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                problem = None if arguments.raw else _problem(line, settings)
                if problem is not None:
                    errors.print(f"line {number}: {problem}; {sent} lines before it were sent", style="red")
                    return 1
                pending.append(sender.send_raw(_key_of(line), line.rstrip(b"\r\n")))
                sent += 1
                if len(pending) >= PENDING_MAX:
                    _acknowledge(pending)
                if sent % PROGRESS_EVERY == 0:
                    errors.print(f"{sent} sent")
        sender.flush()
        _acknowledge(pending)
    finally:
        sender.close()
    errors.print(f"{sent} events on {settings.topics.events}", style="green")
    return 0


@contextmanager
def _lines(name: str) -> Generator[Iterable[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file


def _problem(line: bytes, settings: Settings) -> str | None:
    key = _key_of(line)
    record = Record(topic="", partition=0, offset=0, timestamp_ms=0, key=key or b"-", value=line.rstrip(b"\r\n"))
    limits = RecordLimits(
        event_bytes_max=settings.limits.event_bytes_max, nesting_depth_max=settings.limits.nesting_depth_max
    )
    try:
        decode_event(record, limits)
    except DeadLetter as exc:
        return f"{exc.reason.value}: {exc.detail}"
    return None


def _key_of(line: bytes) -> bytes | None:
    try:
        return _key.decode(line).conversation_id.encode()
    except msgspec.MsgspecError:
        return None


def _acknowledge(pending: list[Any]) -> None:
    for future in pending:
        position_of(future)
    pending.clear()
