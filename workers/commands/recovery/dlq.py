"""`sluicegate dlq list` and `show`: dead letters as an operator sees them."""

import argparse
import os
import sys
from pathlib import Path

from topology.contract.lineage import origin_of
from topology.contract.records import Record
from workers.commands.console.progress import Progress
from workers.commands.console.terminal import Terminal, printable
from workers.commands.console.usage_error import WrongUse
from workers.commands.recovery.copies import original
from workers.commands.recovery.dlq_text import described, json_document, listed, totals
from workers.commands.recovery.letters import Letter, Newest, Wholeness, letter_of
from workers.commands.recovery.redriving import letters, marks_if_allowed, spans_of
from workers.commands.recovery.selecting import positions, selection_of, terms_of
from workers.kafka.client import kafka_session
from workers.kafka.reader import RangeReader, Span
from workers.settings import Settings

ONLY_OWNER = 0o600


def list_letters(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the newest letters and the totals. Raises WrongUse."""
    selection = selection_of(arguments)
    topic = settings.topics.dead_letters
    newest = Newest(arguments.limit)
    with kafka_session(settings.kafka, "dlq list", topic) as kafka, RangeReader(kafka, topic) as reader:
        spans = spans_of(reader, selection)
        marks = marks_if_allowed(kafka, topic, spans)
        progress = Progress(Terminal("stderr").say, "letters read")
        for _, letter in letters(reader, spans, selection, terms_of(settings)):
            newest.add(letter)
            progress.at(newest.count)
    if arguments.json:
        sys.stdout.write(json_document(newest.letters(), marks, newest) + "\n")
        return 0
    terminal = Terminal()
    for line in listed(newest.letters(), marks):
        terminal.say(line)
    terminal.say(totals(newest))
    return 0


def show(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show one letter; 1 if there is none at that position. Raises WrongUse."""
    if arguments.output and not arguments.value:
        raise WrongUse("--output", str(arguments.output), "is the file for --value; give both")
    ((partition, offset),) = positions([arguments.position])
    topic = settings.topics.dead_letters
    with kafka_session(settings.kafka, "dlq show", topic) as kafka, RangeReader(kafka, topic) as reader:
        record = record_at(reader, partition, offset)
        if record is None:
            Terminal("stderr").say(f"sluicegate dlq show: no letter at {arguments.position}; {_held(reader)}", "red")
            return 1
        terms = terms_of(settings)
        letter = letter_of(record, terms.limits, terms.input_topic)
        marks = marks_if_allowed(kafka, topic, {partition: Span(start=offset, end=offset + 1)})
        claim = _claim(reader, record, letter)
    out = Terminal("stderr" if arguments.value and not arguments.output else "stdout")
    for line in described(record, letter, marks, claim):
        out.say(line)
    if arguments.value:
        _give_value(record, letter, arguments.output, out)
    return 0


def record_at(reader: RangeReader, partition: int, offset: int) -> Record | None:
    """Return the record at one position; None if there is none."""
    span = reader.bounds().get(partition)
    if span is None or not span.start <= offset < span.end:
        return None
    found = [record for records in reader.read({partition: Span(start=offset, end=offset + 1)}) for record in records]
    return found[0] if found else None


def _held(reader: RangeReader) -> str:
    spans = reader.bounds().items()
    held = ", ".join(f"{p}:{span.start} to {p}:{span.end - 1}" for p, span in spans if span.start < span.end)
    return f"{reader.topic} holds {held}" if held else f"{reader.topic} is empty"


def _claim(reader: RangeReader, record: Record, letter: Letter) -> str:
    """Say whether the claimed original position is confirmed by the letter that the record was put back from."""
    origin = origin_of(record.headers)
    if origin == letter.source:
        return ""
    if letter.redriven_from is None:
        return " (claimed by the record's headers)"
    at = letter.redriven_from.partition(":")[2]
    ((partition, offset),) = positions([at])
    before = record_at(reader, partition, offset)
    if before is None:
        return f" (claimed; letter {at} is gone)"
    return f" (letter {at} says so too)" if origin_of(before.headers) == origin else f" (letter {at} denies it)"


def _give_value(record: Record, letter: Letter, output: Path | None, out: Terminal) -> None:
    """Write the original bytes that were kept to a file or a pipe, or to a terminal without control characters."""
    value = original(record).value or b""
    if letter.wholeness is not Wholeness.WHOLE:
        out.say(f"the value is {letter.wholeness.value}; the {len(value)} bytes that were kept follow", "yellow")
    if output is not None:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_OWNER), "wb") as file:
            file.write(value)
        out.say(f"{len(value)} bytes in {output}")
    elif sys.stdout.isatty():
        sys.stdout.write(printable(value.decode("utf-8", "replace"), len(value) + 1) + "\n")
    else:
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
