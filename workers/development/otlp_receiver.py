"""A small OTLP receiver in memory, with which the demo shows a trace if no tracing backend is configured.

It takes traces over HTTP (protobuf, gzip) on a free port of the loopback interface. Everything is bounded: body size,
connections, traces, spans of a trace. It authenticates nobody and is not a backend.
"""

import threading
import zlib
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from types import TracebackType
from typing import Any, Final, Self

from google.protobuf.message import DecodeError
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""The most bytes of one request, compressed as well as unpacked."""
CONNECTIONS_MAX: Final = 32
READ_TIMEOUT_S: Final = 10.0
TRACES_MAX: Final = 1_000
SPANS_PER_TRACE_MAX: Final = 200
TREE_DEPTH_MAX: Final = 20
SHUTDOWN_S: Final = 5.0

Value = str | int | float | bool | tuple[str, ...]

_SHOWN: Final = (
    "sluicegate.action",
    "sluicegate.verdict",
    "sluicegate.category",
    "gen_ai.request.model",
    "gen_ai.usage.output_tokens",
    "error.type",
)
"""Attributes that the tree prints behind a span."""


class ReceivedSpan(Struct, frozen=True, kw_only=True):
    """A span as it arrived. Ids in hexadecimal; `parent_span_id` is empty for a root; times in nanoseconds."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: str
    service: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    links: tuple[tuple[str, str], ...]
    is_error: bool


class SpanStore:
    """The last traces. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traces: OrderedDict[str, list[ReceivedSpan]] = OrderedDict()
        self.refused_count = 0

    def take(self, path: str, body: bytes) -> bytes | None:
        """Keep one export and return the answer to it; None for a path that is not served. Raises DecodeError."""
        if path != "/v1/traces":
            return None
        self.add_traces(ExportTraceServiceRequest.FromString(body))
        return ExportTraceServiceResponse().SerializeToString()

    def add_traces(self, request: ExportTraceServiceRequest) -> None:
        """Keep a request's spans. The oldest trace is dropped if there are too many."""
        with self._lock:
            for span in _spans(request):
                trace = self._traces.setdefault(span.trace_id, [])
                if len(trace) < SPANS_PER_TRACE_MAX:
                    trace.append(span)
                while len(self._traces) > TRACES_MAX:
                    self._traces.popitem(last=False)

    def spans(self) -> list[ReceivedSpan]:
        """Return all spans, by trace in order of arrival."""
        with self._lock:
            return [span for trace in self._traces.values() for span in trace]

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Return one trace's spans by start; empty if the trace is not known."""
        with self._lock:
            return sorted(self._traces.get(trace_id, ()), key=lambda span: (span.start_ns, -span.end_ns))

    def tree(self, trace_id: str) -> str:
        """Return one trace as an indented tree: name, kind, duration, outcome; empty if the trace is not known."""
        spans = self.trace(trace_id)
        known = {span.span_id for span in spans}
        lines: list[str] = []
        for root in (span for span in spans if span.parent_span_id not in known):
            lines += _branch(root, spans, "", "", 0)
        return "\n".join(lines)


class OtlpReceiver:
    """The server of a `SpanStore` while it is entered. `endpoint` is what settings take."""

    def __init__(self, store: SpanStore | None = None) -> None:
        """Take a free port; `store` None means a new one."""
        self.store = store or SpanStore()
        self._server = _Server(self.store)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="otlp-receiver", daemon=True
        )

    @property
    def endpoint(self) -> str:
        """Return the base URL for OTLP over HTTP, without `/v1/traces`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def spans(self) -> list[ReceivedSpan]:
        """See `SpanStore.spans`."""
        return self.store.spans()

    def tree(self, trace_id: str) -> str:
        """See `SpanStore.tree`."""
        return self.store.tree(trace_id)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. The received spans stay."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(SHUTDOWN_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, store: SpanStore) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """Serve a connection on a thread of its own, or refuse it if there are too many."""
        if not self._free.acquire(blocking=False):
            self.store.refused_count += 1
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """Serve a connection, and release its permit."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = READ_TIMEOUT_S

    def do_POST(self) -> None:
        """Take one export."""
        server = self.server
        assert isinstance(server, _Server)
        body = self._body()
        if body is None:
            return
        try:
            answer = server.store.take(self.path, body)
        except DecodeError:
            self._answer(400)
            return
        self._answer(404 if answer is None else 200, answer or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the standard library's name
        """Say nothing."""

    def _body(self) -> bytes | None:
        """Return the unpacked body; None if the request was refused and answered."""
        length = self.headers.get("content-length", "")
        if self.headers.get_content_type() != "application/x-protobuf" or not length.isascii() or not length.isdigit():
            self._refuse(415 if length else 411)
            return None
        if int(length) > BODY_BYTES_MAX:
            self._refuse(413)
            return None
        body = self.rfile.read(int(length))
        if self.headers.get("content-encoding", "identity") == "gzip":
            try:
                body = _unzipped(body)
            except (zlib.error, ValueError):
                self._refuse(400)
                return None
        return body

    def _refuse(self, status: int) -> None:
        """Answer, and close the connection, because the rest of the body was not read."""
        self.close_connection = True
        self._answer(status)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _unzipped(body: bytes) -> bytes:
    """Return the unpacked body. Raises ValueError if it is too long, zlib.error if it is no gzip."""
    unpacker = zlib.decompressobj(wbits=31)
    plain = unpacker.decompress(body, BODY_BYTES_MAX)
    if unpacker.unconsumed_tail:
        raise ValueError("too long")
    return plain


def _spans(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    found: list[ReceivedSpan] = []
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            found += [_received(span, service) for span in scope.spans]
    return found


def _received(span: trace_pb2.Span, service: str) -> ReceivedSpan:
    return ReceivedSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        service=service,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
    )


def _attributes(pairs: Any) -> dict[str, Value]:  # Any: protobuf's repeated field
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(str(_value(item)) for item in value.array_value.values)
    return getattr(value, kind) if kind in {"string_value", "bool_value", "int_value", "double_value"} else ""


def _branch(span: ReceivedSpan, spans: list[ReceivedSpan], lead: str, mark: str, depth: int) -> list[str]:
    lines = [lead + mark + _line(span)]
    children = [child for child in spans if child.parent_span_id == span.span_id]
    if depth == TREE_DEPTH_MAX:
        return lines
    below = lead + {"": "", "├─ ": "│  ", "└─ ": "   "}[mark]
    for index, child in enumerate(children):
        lines += _branch(child, spans, below, "└─ " if index == len(children) - 1 else "├─ ", depth + 1)
    return lines


def _line(span: ReceivedSpan) -> str:
    shown = [f"{name.rpartition('.')[2]}={span.attributes[name]}" for name in _SHOWN if name in span.attributes]
    duration_ms = (span.end_ns - span.start_ns) / 1e6
    parts = [f"{span.name}  {span.kind}  {duration_ms:.1f} ms", *shown, *(["ERROR"] if span.is_error else [])]
    return "  ".join(parts)
