"""The producer's own process: one slot's `TransactionalSink`, asked through a connection by the worker that started it.

    python -m workers.kafka.sink_child <file descriptor of the connection>

It ends when the connection is closed, when the kernel kills it because the worker died, and, with the watchdog's exit
code, when the outcome of a transaction is unknown. If it outlives its worker for a moment, it can do no more than a
worker that was stopped: the next holder of the slot fences it.
"""

import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

import msgspec
from opentelemetry.metrics import NoOpMeter

from topology.contract.errors import SluicegateError
from topology.telemetry.instruments import Instruments
from workers.kafka.sink import TransactionalSink
from workers.kafka.sink_process import Answer, Counted, Request, Start
from workers.process.interpreter import tune_interpreter
from workers.telemetry.logs import configure_logging


class KeptCounts(Instruments):
    """Counters whose values are kept until the worker, which exports metrics, takes them."""

    def __init__(self) -> None:
        super().__init__(NoOpMeter("none"))
        self._counted: list[Counted] = []

    def count(self, name: str, n: float = 1, **labels: str) -> None:
        """Keep a call of `Instruments.count` for later."""
        self._counted.append(Counted(str(name), n, {label: str(value) for label, value in labels.items()}))

    def take(self) -> tuple[Counted, ...]:
        """Return and forget what was counted since the last call."""
        taken, self._counted = tuple(self._counted), []
        return taken


def serve(connection: "Connection[Answer, Start]") -> None:
    """Answer each request once, until the worker is gone or asks for the end."""
    try:
        start, counts = connection.recv(), KeptCounts()
        configure_logging(start.log_level)
        try:
            sink = TransactionalSink(start.kafka, start.slot, metrics=counts)
        except SluicegateError as exc:
            connection.send(Answer(error=exc))
            return
        tune_interpreter()
        connection.send(Answer(is_done=True, identity=sink.first_identity))
        decoder = msgspec.msgpack.Decoder(Request)
        while frame := connection.recv_bytes():
            connection.send(_answer(sink, decoder.decode(frame), counts))
        sink.close()
    except (EOFError, ConnectionError):
        return  # the worker is gone; only the slot's next holder may end an open transaction


def _answer(sink: TransactionalSink, request: Request, counts: KeptCounts) -> Answer:
    try:
        is_done = sink.commit(request.records, request.offsets, request.ownership)
    except SluicegateError as exc:
        return Answer(error=exc, counted=counts.take())
    return Answer(is_done=is_done, counted=counts.take())


def main(arguments: Sequence[str]) -> int:
    """Serve the inherited connection."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the worker, which ends this process when it is done
        signal.signal(number, signal.SIG_IGN)
    with Connection(int(arguments[0])) as connection:
        serve(connection)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
