"""vLLM's own OpenAI-compatible server as a child process: for tests, benchmarks and a demo without Ray Serve."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from serving.engine.options import Device, Progress, engine_environment

_POLL_INTERVAL_S = 0.25
_PROBE_TIMEOUT_S = 2.0
_STOP_TIMEOUT_S = 20.0
_LOG_TAIL_BYTES = 2000


class VllmServing(Struct, frozen=True, kw_only=True):
    """The model to serve. `model` is a hub name or a directory; `arguments` are appended to vLLM's command.

    `port` 0 takes a free one. `traces_endpoint` is the OTLP/HTTP address of vLLM's own spans; empty means none.
    """

    model: str
    served_name: str
    device: Device = "cpu"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    arguments: tuple[str, ...] = ()
    kv_cache_gib: Annotated[int, Meta(ge=1)] = 1
    traces_endpoint: str = ""
    service_name: str = "sluicegate-llm"


class VllmServer:
    """A running server. Its process leads a process group, so that `stop` reaches the engine's processes too."""

    def __init__(self, process: "subprocess.Popen[bytes]", origin: str, log: Path) -> None:
        self._process = process
        self._origin = origin
        self._log = log
        self._is_stopped = False

    @property
    def pid(self) -> int:
        """Return the process id of the server, which is also that of its group."""
        return self._process.pid

    @property
    def base_url(self) -> str:
        """Return the URL for clients; it ends before `/chat/completions`."""
        return f"{self._origin}/v1"

    def is_healthy(self) -> bool:
        """Return whether the server answers its health check. Blocks up to two seconds."""
        try:
            with urllib.request.urlopen(f"{self._origin}/health", timeout=_PROBE_TIMEOUT_S) as response:  # noqa: S310 (our own http address)
                return response.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def wait_healthy(self, timeout_s: float, *, progress: Progress | None = None) -> None:
        """Wait until the server answers. Raises TimeoutError, or RuntimeError with the log's end if it exited."""
        started_s = time.monotonic()
        while not self.is_healthy():
            waited_s = time.monotonic() - started_s
            if self._process.poll() is not None:
                raise RuntimeError(f"vLLM ended with status {self._process.returncode}: {self._log_tail()}")
            if waited_s >= timeout_s:
                raise TimeoutError(f"vLLM is not healthy after {waited_s:.0f} s; its log is {self._log}")
            if progress is not None:
                progress("STARTING", waited_s)
            time.sleep(_POLL_INTERVAL_S)

    def stop(self) -> None:
        """End the server and its engine, by force after twenty seconds. A second call does nothing."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        self._signal(signal.SIGKILL)  # ends processes that the leader left behind in its group, too
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _log_tail(self) -> str:
        return self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")


def start_vllm(serving: VllmServing, *, log: Path) -> VllmServer:
    """Start a server, which may take a minute to become healthy. Its output is written to `log`."""
    port = serving.port or _free_port(serving.host)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (our own interpreter, arguments as a list)
            command(serving, port),
            env={**os.environ, **environment(serving)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return VllmServer(process, f"http://{serving.host}:{port}", log)


@contextlib.contextmanager
def running_vllm(
    serving: VllmServing, *, log: Path, ready_timeout_s: float = 240.0, progress: Progress | None = None
) -> Generator[VllmServer]:
    """Run a healthy server while the context lasts. Raises as `wait_healthy` does."""
    server = start_vllm(serving, log=log)
    try:
        server.wait_healthy(ready_timeout_s, progress=progress)
        yield server
    finally:
        server.stop()


def command(serving: VllmServing, port: int) -> list[str]:
    """Return the command line. It starts the module, because the console script of the CPU build does not start."""
    traces = ["--otlp-traces-endpoint", serving.traces_endpoint] if serving.traces_endpoint else []
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", serving.model, "--served-model-name", serving.served_name),
        *("--host", serving.host, "--port", str(port)),
        *traces,
        *serving.arguments,
    ]


def environment(serving: VllmServing) -> Mapping[str, str]:
    """Return the variables that the process gets on top of the caller's environment."""
    variables = engine_environment(serving.model, device=serving.device, kv_cache_gib=serving.kv_cache_gib)
    if serving.traces_endpoint:
        variables["OTEL_SERVICE_NAME"] = serving.service_name
        variables["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    return variables


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
