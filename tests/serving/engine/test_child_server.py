"""How vLLM is started as a child, and that its span joins our trace."""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from serving.endpoint.client import ChatClient, Endpoint
from serving.endpoint.completion import ChatBody, ChatTurn
from serving.engine.child_server import VllmServing, command, environment, running_vllm
from serving.engine.options import TINY_ARGUMENTS
from serving.engine.tiny_checkpoint import build_tiny_checkpoint
from tests.plugins.vllm_server import READY_TIMEOUT_S, TINY_MODEL
from workers.process.clock import SystemClock

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


class Receiver:
    """A small OTLP/HTTP receiver on a free port."""

    def __init__(self) -> None:
        spans: list[Span] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") is None:
                    request = ExportTraceServiceRequest.FromString(body)
                    for resource in request.resource_spans:
                        for scope in resource.scope_spans:
                            spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
                """Say nothing."""

        self.spans = spans
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_span(self, name: str, timeout_s: float) -> Span:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for span in self.spans:
                if span.name == name:
                    return span
            time.sleep(0.1)
        raise TimeoutError(f"no span {name}, but {[span.name for span in self.spans]}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    started = Receiver()
    yield started
    started.close()


def test_a_local_model_never_asks_a_hub_and_nothing_phones_home(tmp_path: Path) -> None:
    variables = environment(VllmServing(model=str(tmp_path), served_name="m"))
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["VLLM_NO_USAGE_STATS"] == "1"
    assert variables["DO_NOT_TRACK"] == "1"
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "OTEL_SERVICE_NAME" not in variables


def test_a_hub_model_on_a_gpu_may_ask_its_hub() -> None:
    variables = environment(VllmServing(model="org/name", served_name="m", device="gpu"))
    assert not {"HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE"} & set(variables)


def test_the_command_is_a_list_and_starts_by_module() -> None:
    line = command(VllmServing(model="a b; c", served_name="m", arguments=("--enforce-eager",)), 81)
    assert line[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert "a b; c" in line
    assert line[-1] == "--enforce-eager"
    assert "--otlp-traces-endpoint" not in line


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_engines_span_is_a_child_of_ours_and_stopping_leaves_no_process(tmp_path: Path, receiver: Receiver) -> None:
    serving = VllmServing(
        model=str(build_tiny_checkpoint(tmp_path / "tiny")),
        served_name=TINY_MODEL,
        arguments=TINY_ARGUMENTS,
        traces_endpoint=receiver.endpoint,
    )
    with running_vllm(serving, log=tmp_path / "log", ready_timeout_s=READY_TIMEOUT_S) as server:
        asyncio.run(_ask(server.base_url))
        span = receiver.wait_span("llm_request", 30.0)
        group = server.pid
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert not list(_alive_in(group))


@pytest.mark.vllm
@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    serving = VllmServing(model=str(tmp_path), served_name="m", arguments=TINY_ARGUMENTS)
    with pytest.raises(RuntimeError, match="vLLM ended"), running_vllm(serving, log=tmp_path / "log"):
        pass


def _alive_in(group: int) -> Iterator[int]:
    """Processes of the group that still run; one that ended but was not waited for by its new parent does not."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid


async def _ask(base_url: str) -> None:
    clock = SystemClock()
    client = ChatClient(Endpoint(name="generator", base_url=base_url), clock=clock)
    body = ChatBody(model=TINY_MODEL, messages=(ChatTurn(role="user", content="Hello"),), max_tokens=4)
    headers = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
    try:
        await client.complete(body, request_id="evt-1", deadline_s=clock.monotonic_s() + 60.0, headers=headers)
    finally:
        await client.aclose()
