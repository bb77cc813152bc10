"""Collectors for tests: one that takes metrics and gRPC too, one that keeps every byte, one that is not there, one
that never answers.
"""

import socket
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from workers.development.otlp_receiver import OtlpReceiver, SpanStore

Labels = tuple[tuple[str, str], ...]


class MetricStore(SpanStore):
    """A store that also keeps the last value of every series; of a histogram its count."""

    def __init__(self) -> None:
        super().__init__()
        self._metrics_lock = threading.Lock()
        self._metrics: dict[str, dict[Labels, float]] = {}

    def take(self, path: str, body: bytes) -> bytes | None:
        if path != "/v1/metrics":
            return super().take(path, body)
        self.add_metrics(ExportMetricsServiceRequest.FromString(body))
        return ExportMetricsServiceResponse().SerializeToString()

    def add_metrics(self, request: ExportMetricsServiceRequest) -> None:
        with self._metrics_lock:
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self._metrics.setdefault(metric.name, {}).update(_points(metric))

    def metrics(self) -> dict[str, dict[Labels, float]]:
        """The last value of every series, by metric and sorted labels."""
        with self._metrics_lock:
            return {name: dict(series) for name, series in self._metrics.items()}


class Collector(OtlpReceiver):
    """A receiver that takes metrics too, and traces over gRPC at `grpc_endpoint`."""

    def __init__(self) -> None:
        self._store = MetricStore()
        super().__init__(self._store)
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_GrpcTraces(self.store), self._grpc)
        self.grpc_endpoint = f"http://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"

    def metrics(self) -> dict[str, dict[Labels, float]]:
        """As `MetricStore.metrics`."""
        return self._store.metrics()

    def start(self) -> None:
        super().start()
        self._grpc.start()

    def stop(self) -> None:
        super().stop()
        self._grpc.stop(None).wait(5)


class _GrpcTraces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, store: SpanStore) -> None:
        self._store = store

    def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: N802
        self._store.add_traces(request)
        return ExportTraceServiceResponse()


def _points(metric: Metric) -> dict[Labels, float]:
    kind = metric.WhichOneof("data")
    assert kind in {"sum", "gauge", "histogram"}, kind
    return {_labels(point.attributes): _number(point) for point in getattr(metric, kind).data_points}


def _labels(pairs: Any) -> Labels:  # Any: protobuf's repeated field
    return tuple(sorted((pair.key, str(getattr(pair.value, pair.value.WhichOneof("value")))) for pair in pairs))


def _number(point: Any) -> float:  # Any: one of three kinds of protobuf message
    kind = "count" if hasattr(point, "bucket_counts") else point.WhichOneof("value")
    return float(getattr(point, kind))


class KeptExports(MetricStore):
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


@contextmanager
def kept_exports() -> Generator[KeptExports]:
    """Run a collector that keeps what is exported to it."""
    exports = KeptExports()
    with OtlpReceiver(exports) as receiver:
        exports.endpoint = receiver.endpoint
        yield exports


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
