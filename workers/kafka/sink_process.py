"""The Sink port on a producer in a process of its own.

A worker's threads share one interpreter, and its producer takes a third of it if nothing else is slow. Here the records
of a round cross a pipe, and events are processed while the records are sent: docs/bench.md has the figures. The child
runs the same `sink.TransactionalSink`.

If the child does not answer, the outcome of the round is unknown, and this process ends too.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path

import msgspec

from topology.contract.errors import SluicegateError
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.telemetry.instruments import Instruments
from workers.kafka.errors import KafkaUnavailable
from workers.kafka.sink import TransactionalSink
from workers.kafka.watchdog import Watchdog
from workers.process.child import KeptProcess
from workers.settings import KafkaSettings

END = b""
"""The frame that asks the child to end."""

CHILD_MODULE = "workers.kafka.sink_child"

START_MARGIN_S = 30.0
"""The time added to `kafka.connect_timeout_s`, for the process to start and to report a failure."""

ANSWER_MARGIN_S = 10.0
"""Added to `kafka.commit_timeout_s` and twice `kafka.connect_timeout_s`, which bound a transaction and a new producer
before and after it."""

CLOSE_TIMEOUT_S = 5.0
"""The time after which a process that was asked to end is killed."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The child's slot and settings. Pickled, because settings hold secrets that no other codec writes."""

    kafka: KafkaSettings
    slot: int
    log_level: str


class Request(msgspec.Struct, frozen=True, array_like=True):
    """The arguments of one `Sink.commit`, as MessagePack."""

    records: tuple[OutRecord, ...]
    offsets: tuple[PartitionOffset, ...]
    ownership: Ownership


class Counted(msgspec.Struct, frozen=True, array_like=True):
    """One call of `Instruments.count`."""

    name: str
    n: float
    labels: dict[str, str]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request or of the start, or the error that it raised, and the metrics that it counted."""

    is_done: bool = False
    error: SluicegateError | None = None
    counted: tuple[Counted, ...] = ()
    identity: tuple[int, int] | None = None
    """At the start: producer id and epoch of the child's first producer."""


class ProcessSink:
    """One slot's producer, in a child process. Raises as `TransactionalSink` if it cannot be made.

    The child logs where this process logs, from `log_level` up; this process counts its metrics.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        slot: int,
        *,
        exit_process: Callable[[int], object] = os._exit,
        metrics: Instruments | None = None,
        log_level: str = "INFO",
        answer_margin_s: float = ANSWER_MARGIN_S,
    ) -> None:
        self._kafka = kafka
        self._answer_timeout_s = kafka.commit_timeout_s + 2 * kafka.connect_timeout_s + answer_margin_s
        self._metrics = metrics or Instruments.none()
        self._exit_process = exit_process
        self._watchdog = Watchdog(self._exit)
        self._encoder = msgspec.msgpack.Encoder()
        self.first_identity = (-1, -1)
        """See `TransactionalSink.first_identity`."""
        self._connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-m", CHILD_MODULE, str(theirs.fileno())]
            self._child = KeptProcess(command, log=None, directory=Path.cwd(), inherited=[theirs.fileno()])
        try:
            self._begin(Start(kafka=kafka, slot=slot, log_level=log_level))
        except BaseException:
            self._release()
            raise

    @property
    def pid(self) -> int:
        """Return the child's process id."""
        return self._child.pid

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """See `TransactionalSink.commit`. Ends this process if the child does not answer."""
        frame = self._encoder.encode(Request(tuple(records), tuple(offsets), ownership))
        with self._watchdog.limit("commit", self._answer_timeout_s):
            try:
                self._connection.send_bytes(frame)
                answer: Answer = self._connection.recv()
            except (EOFError, OSError) as exc:
                ended = self._child.wait(CLOSE_TIMEOUT_S)
                raise self._watchdog.give_up("commit", f"the producer's process ended with {ended}") from exc
        return self._result(answer)

    def close(self) -> None:
        """See `Sink.close`; takes at most a few seconds."""
        with suppress(OSError):  # it has ended
            self._connection.send_bytes(END)
        self._release()

    def _begin(self, start: Start) -> None:
        try:
            self._connection.send(start)
            if not self._connection.poll(self._kafka.connect_timeout_s + START_MARGIN_S):
                raise KafkaUnavailable("producer", "its process does not answer")
            answer: Answer = self._connection.recv()
            self._result(answer)
            self.first_identity = answer.identity or self.first_identity
        except (EOFError, OSError) as exc:
            ended = self._child.wait(CLOSE_TIMEOUT_S)
            raise KafkaUnavailable("producer", f"its process ended with {ended}") from exc

    def _result(self, answer: Answer) -> bool:
        for counted in answer.counted:
            self._metrics.count(counted.name, counted.n, **counted.labels)
        if answer.error is not None:
            raise answer.error
        return answer.is_done

    def _exit(self, code: int) -> object:
        """End both processes: a round that nobody waits for must not become visible later."""
        self._child.kill()
        return self._exit_process(code)

    def _release(self) -> None:
        if self._child.wait(CLOSE_TIMEOUT_S) is None:
            self._child.kill()
        self._connection.close()


def open_sink(
    kafka: KafkaSettings,
    slot: int,
    *,
    exit_process: Callable[[int], object] = os._exit,
    metrics: Instruments | None = None,
    log_level: str = "INFO",
) -> ProcessSink | TransactionalSink:
    """Open the slot's producer: in a child process if `kafka.producer_process` is set, else in this one."""
    if kafka.producer_process:
        return ProcessSink(kafka, slot, exit_process=exit_process, metrics=metrics, log_level=log_level)
    return TransactionalSink(kafka, slot, exit_process=exit_process, metrics=metrics)
