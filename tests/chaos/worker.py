"""A worker process for one slot: the real loop, source and sink around an answer that only takes time.

    python -m tests.chaos.worker '{"bootstrap": "127.0.0.1:9092", ...}'

It notes in a file of its own when it starts and when it has finished each record. SIGTERM drains it.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from topology.contract.codec import RecordLimits, encode
from topology.contract.dead_letters import dead_letter
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action, AuditedResponse, AuditRecord, TextPart
from topology.contract.labels import Mode
from topology.contract.lineage import position_of
from topology.contract.records import OutRecord, Record, Result
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.kafka.client import slot_name
from workers.kafka.errors import SlotFenced
from workers.kafka.sink_process import open_sink
from workers.kafka.source import KafkaSource
from workers.process.clock import SystemClock
from workers.process.interpreter import tune_interpreter
from workers.settings import KafkaSettings, LimitSettings, TopicSettings
from workers.stream.crash_journal import CrashJournal
from workers.stream.loop import Loop
from workers.stream.quarantine import Quarantine
from workers.telemetry.logs import configure_logging

WORKER_HEADER = "chaos-worker"
"""On every response: the incarnation that wrote it."""

SOURCE_HEADER = "chaos-source"
"""On every response: `partition:offset` of its event."""

FAILING_ONE_IN = 60
"""So many decodable events end as a dead letter and a withheld answer."""

EXIT_FENCED = 75
"""EX_TEMPFAIL: another process held the slot."""

logger = logging.getLogger("sluicegate.chaos")


class Task(Struct, frozen=True, kw_only=True):
    """What one worker is told. Times of an answer are between `shortest_s` and `longest_s`."""

    bootstrap: str
    group: str
    cluster: str
    slot: int
    incarnation: int
    """Unique among all processes of a run, which a pid is not."""
    marks: str
    """Directory of the notes."""
    journals: str
    """Directory of the crash journals."""
    session_s: float
    shortest_s: float = 0.05
    longest_s: float = 0.5
    drain_s: float = 10.0
    producer_process: bool = False

    def kafka(self) -> KafkaSettings:
        """As in production, but for the session."""
        kafka = kafka_settings(self.bootstrap, self.group, self.session_s, cluster=self.cluster)
        return replace(kafka, producer_process=self.producer_process)


def kafka_settings(bootstrap: str, group: str, session_s: float, *, cluster: str = "harness") -> KafkaSettings:
    """Settings for the run's broker; heartbeat and poll interval follow the session as the defaults do."""
    return KafkaSettings(
        bootstrap_servers=(bootstrap,),
        group_id=group,
        cluster_name=cluster,
        session_timeout_ms=int(session_s * 1000),
        heartbeat_interval_ms=int(session_s * 200),
        max_poll_interval_ms=int(session_s * 1500),
    )


class _Event(Struct):
    event_id: str
    conversation_id: str
    tenant_id: str
    messages: list[object]


class Stub:
    """Answers after a random time; every record leaves a start and a finish in the notes."""

    def __init__(self, task: Task, topics: TopicSettings, limits: RecordLimits) -> None:
        self._task = task
        self._topics = topics
        self._limits = limits
        self._random = random.Random(task.incarnation)
        self._decoder = msgspec.json.Decoder(_Event)
        path = Path(task.marks) / str(task.incarnation)
        self._marks = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    async def process(self, record: Record, _rest: object = None) -> Result:
        """What `record` ends as."""
        self._mark("s", record)
        await asyncio.sleep(self._random.uniform(self._task.shortest_s, self._task.longest_s))
        records = self._records(record, None)
        # Nothing waits between this note and the tracker's, so that what is noted is finished.
        self._mark("f", record)
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=records)

    def decodes(self, record: Record) -> bool:
        """As `Quarantine` asks."""
        try:
            self._decoder.decode(record.value or b"")
        except msgspec.DecodeError:
            return False
        return True

    def quarantine(self, record: Record, _crash_count: int, _is_decodable: object) -> Result:
        """What a record ends as that was running in too many kills."""
        records = self._records(record, DeadLetterReason.POISON)
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=records)

    def _records(self, record: Record, failure: DeadLetterReason | None) -> tuple[OutRecord, ...]:
        """`failure` None: the record says itself whether it fails."""
        try:
            event = self._decoder.decode(record.value or b"")
        except msgspec.DecodeError:
            return (self._letter(record, DeadLetterReason.MALFORMED, "decode"),)
        if not event.messages:
            answers = self._answers(record, event, Action.REJECTED)
            return (self._letter(record, DeadLetterReason.INVALID, "decode"), *answers)
        if failure is None and zlib.crc32(event.event_id.encode()) % FAILING_ONE_IN == 0:
            failure = DeadLetterReason.PROCESSING_FAILED
        if failure is None:
            return self._answers(record, event, Action.PUBLISHED)
        return (self._letter(record, failure, "generate"), *self._answers(record, event, Action.WITHHELD))

    def _letter(self, record: Record, reason: DeadLetterReason, stage: str) -> OutRecord:
        return dead_letter(record, DeadLetter(reason, stage, ""), self._limits, self._topics.dead_letters)

    def _answers(self, record: Record, event: _Event, action: Action) -> tuple[OutRecord, ...]:
        audit_id = f"{record.partition}-{record.offset}"
        response = AuditedResponse(
            event_id=event.event_id,
            conversation_id=event.conversation_id,
            tenant_id=event.tenant_id,
            action=action,
            mode=Mode.DIRECT_ANSWER,
            parts=(TextPart(text="It fills and empties."),),
            reason_codes=(),
            policy_ref="chaos@1#0",
            audit_id=audit_id,
        )
        audit = AuditRecord(
            audit_id=audit_id,
            event_id=event.event_id,
            conversation_id=event.conversation_id,
            tenant_id=event.tenant_id,
            position=position_of(record),
            policy_ref="chaos@1#0",
            overlay_ref="",
            action=action,
            reason_codes=(),
            labels=None,
            plan=None,
            request=None,
            attempts=(),
            response_digest="",
        )
        headers = (
            (WORKER_HEADER, str(self._task.incarnation).encode()),
            (SOURCE_HEADER, f"{record.partition}:{record.offset}".encode()),
        )
        return (
            OutRecord(topic=self._topics.audited, key=record.key, value=encode(response), headers=headers),
            OutRecord(topic=self._topics.audit, key=record.key, value=encode(audit)),
        )

    def _mark(self, what: str, record: Record) -> None:
        os.write(self._marks, f"{what} {record.partition} {record.offset} {time.time():.3f}\n".encode())


def build(task: Task) -> Loop:
    """The loop of `task`, connected."""
    limits, topics, kafka = LimitSettings(), TopicSettings(), task.kafka()
    stub = Stub(task, topics, RecordLimits())
    journal = CrashJournal.open(Path(task.journals), slot_name(kafka, task.slot), limits.in_flight_max)

    def exit_process(code: int) -> None:
        journal.end()
        os._exit(code)

    return Loop(
        KafkaSource(kafka, topics.events, task.slot),
        open_sink(kafka, task.slot, exit_process=exit_process),
        stub.process,
        clock=SystemClock(),
        limits=limits,
        metrics=Instruments.none(),
        tracing=Tracing.none(),
        quarantine=Quarantine(journal, crashes_max=limits.crashes_max, decodes=stub.decodes, answer=stub.quarantine),
    )


def main() -> int:
    """Work until drained; returns the exit code."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    configure_logging("INFO", sys.stdout)
    loops: list[Loop] = []

    def drain(_number: int, _frame: object) -> None:
        if not loops:
            os._exit(0)  # nothing was taken on yet
        loops[0].drain(task.drain_s)

    signal.signal(signal.SIGTERM, drain)
    try:
        loops.append(build(task))
        tune_interpreter()
        logger.info("worker started", extra={"slot": task.slot, "incarnation": task.incarnation})
        loops[0].run()
    except SlotFenced:
        logger.exception("fenced")
        return EXIT_FENCED
    except Exception:
        logger.exception("worker failed")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
