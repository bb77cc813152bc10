"""`sluicegate tail`: show audited responses, or audit records, as they are committed."""

import argparse
import sys
from collections.abc import Generator
from contextlib import closing

from topology.contract.codec import encode
from topology.contract.events import AuditedResponse, AuditRecord
from topology.contract.records import Record
from workers.commands.console.answers import line_of
from workers.commands.console.terminal import Terminal
from workers.commands.policy.recorded import audit_record_of
from workers.kafka.client import kafka_session
from workers.kafka.reader import RangeReader, TopicReader, ValueDecoder
from workers.settings import KafkaSettings, Settings

POLL_S = 0.5


response_of = ValueDecoder(AuditedResponse)


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show records until Ctrl-C, the end with `--all`, or `--count` of them; name records of another kind."""
    topic = settings.topics.audit if arguments.audit else settings.topics.audited
    of_record, what = (audit_record_of, "audit record") if arguments.audit else (response_of, "audited response")
    errors, output = Terminal("stderr"), Terminal()
    shown = 0
    with (
        kafka_session(settings.kafka, "tail", topic) as kafka,
        closing(_records(kafka, topic, output, arguments)) as records,
    ):
        for record in records:
            if (found := of_record(record)) is None:
                errors.say(f"{record.topic}-{record.partition}@{record.offset} is not an {what}", "red")
                continue
            _show(found, output, as_json=arguments.json)
            shown += 1
            if shown == arguments.count:
                break
    if arguments.all and not shown:
        errors.say(f"{topic} holds no {what}")
    return 0


def _records(kafka: KafkaSettings, topic: str, output: Terminal, arguments: argparse.Namespace) -> Generator[Record]:
    """Yield everything up to now with `--all`; else new records for as long as somebody reads the output."""
    if arguments.all:
        with RangeReader(kafka, topic) as reader:
            for records in reader.read(reader.bounds()):
                yield from records
        return
    with TopicReader(kafka, [topic], from_beginning=arguments.from_beginning) as follower:
        while True:  # ended by the caller, or by the BrokenPipeError of `require_reader`
            output.require_reader()
            yield from follower.poll(POLL_S)


def _show(found: AuditedResponse | AuditRecord, output: Terminal, *, as_json: bool) -> None:
    """Print one record. An audit record is always JSON, because it is for programs."""
    if isinstance(found, AuditedResponse) and not as_json:
        output.say(line_of(found))
    else:
        sys.stdout.write(encode(found).decode() + "\n")
        sys.stdout.flush()
