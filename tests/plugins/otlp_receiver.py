"""Collectors for tests: one that keeps every byte, one that is not there, one that never answers."""

import socket
import threading
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from workers.development.otlp_receiver import SpanStore


class KeptExports(SpanStore):
    """A store that also keeps each export as it was sent, unpacked; `endpoint` is said by who serves it."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = ""
        self.traces: list[bytes] = []
        self.metric_pushes: list[bytes] = []

    def add_traces(self, request: ExportTraceServiceRequest) -> None:
        self.traces.append(request.SerializeToString())
        super().add_traces(request)

    def add_metrics(self, request: ExportMetricsServiceRequest) -> None:
        self.metric_pushes.append(request.SerializeToString())
        super().add_metrics(request)


def closed_endpoint() -> str:
    """An endpoint on a port that was free a moment ago: connections are refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class SilentCollector:
    """Accepts connections while it is entered, reads nothing, says nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:  # until the listener is closed
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._taken.append(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in self._taken:
            connection.close()
