"""A command line with topics and a group of its own on the real broker, and dead letters as a worker writes them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.codec import RecordLimits
from topology.contract.dead_letters import dead_letter
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.headers import last_header
from topology.contract.records import Headers, Record
from workers.cli import main
from workers.kafka.reader import read_topic
from workers.settings import KafkaSettings

SECRET = "words-of-a-user-that-must-not-show"
MALFORMED = DeadLetter(DeadLetterReason.MALFORMED, "decode", "")
FAILED = DeadLetter(DeadLetterReason.PROCESSING_FAILED, "deadline", "the event's deadline passed")
BATCH_EVENTS_MAX = 5


class Desk:
    """Runs commands in this process, under a settings file of its own. Two partitions to a topic."""

    def __init__(self, kafka: Kafka, directory: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        own = kafka.settings()
        self.kafka = kafka
        self.settings: KafkaSettings = own
        self.topics = {name: kafka.topic(2) for name in TOPIC_FIELDS}
        self.config = directory / "sluicegate.toml"
        servers = json.dumps(list(own.bootstrap_servers))
        names = "".join(f"{name} = {json.dumps(topic)}\n" for name, topic in self.topics.items())
        self.config.write_text(
            f"[kafka]\nbootstrap_servers = {servers}\ngroup_id = {json.dumps(own.group_id)}\n"
            f"[limits]\nbatch_events_max = {BATCH_EVENTS_MAX}\n[topics]\n{names}"
        )
        self._capsys = capsys
        self._buried = 0

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Status, standard output, standard error."""
        assert self._capsys is not None
        self._capsys.readouterr()
        try:
            status = main(["--config", str(self.config), *arguments])
        except SystemExit as exc:
            status = int(exc.code or 0)
        ended = self._capsys.readouterr()
        return status, ended.out, ended.err

    def bury(
        self,
        *values: bytes | None,
        error: DeadLetter = MALFORMED,
        key: bytes = b"c1",
        headers: Headers = (),
        partition: int = 1,
        limits: RecordLimits | None = None,
    ) -> None:
        """Write a dead letter for a record with each value, read at one offset after the other."""
        for value in values:
            record = Record(
                topic=self.topics["events"],
                partition=partition,
                offset=self._buried,
                timestamp_ms=1_700_000_000_000 + self._buried,
                key=key,
                value=value,
                headers=headers,
            )
            self._buried += 1
            letter = dead_letter(record, error, limits or RecordLimits(), self.topics["dead_letters"])
            self.kafka.send_record(letter.topic, letter.value, letter.key, list(letter.headers))

    def letters(self) -> list[Record]:
        """What is on the dead-letter topic, in the order of positions."""
        return read_topic(self.settings, self.topics["dead_letters"])

    def positions(self) -> list[str]:
        """The same, as commands take them."""
        return [f"{letter.partition}:{letter.offset}" for letter in self.letters()]

    def put_back(self, topic: str = "") -> list[Record]:
        """What is on the input topic, or another."""
        return read_topic(self.settings, topic or self.topics["events"])


def header_of(records: Sequence[Record], name: str) -> list[str | None]:
    """One header of each record."""
    return [last_header(record.headers, name) for record in records]
