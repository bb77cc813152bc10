"""Phoenix, a tracing backend, in a tool environment of its own: started for a test, asked by its REST interface."""

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.checkout import ROOT
from workers.commands.demo.parts import free_port

TOOL_S = 300
START_S = 400.0
"""It takes 18 s of CPU time to start, mostly imports and the tables of its database."""
ANSWER_S = 60.0
POLL_S = 0.25
SPANS_MAX = 1000

Json = dict[str, Any]


class Phoenix:
    """A running instance. `endpoint` takes OTLP over HTTP, of traces alone."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def is_up(self) -> bool:
        """True where it answers its health check."""
        try:
            self._get("/healthz")
        except OSError:
            return False
        return True

    def push(self, request: bytes) -> None:
        """Hand on an export of traces, as a collector would."""
        headers = {"content-type": "application/x-protobuf"}
        asked = urllib.request.Request(f"{self.endpoint}/v1/traces", request, headers)
        with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:
            assert answer.status == 200

    def spans(self, trace_id: str) -> list[Json]:
        """One trace's spans as the REST interface gives them."""
        asked = urllib.parse.urlencode({"trace_id": trace_id, "limit": SPANS_MAX})
        return json.loads(self._get(f"/v1/projects/default/spans?{asked}"))["data"]

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.endpoint}{path}", timeout=ANSWER_S) as answer:
            return answer.read()


def build_tool() -> None:
    """Have the environment by its lock; does nothing where it is there already."""
    command = ["sh", ROOT / "requirements" / "tool.sh", "phoenix"]
    built = subprocess.run(command, check=False, timeout=TOOL_S, capture_output=True, text=True)
    assert built.returncode == 0, f"the tool environment could not be built: {built.stderr[-2000:]}"


@contextmanager
def starting_phoenix(directory: Path) -> Generator[Callable[[], Phoenix]]:
    """Starts Phoenix beside what the block does first; the function given waits until it answers."""
    build_tool()
    port, grpc_port = free_port(), free_port()
    environment = {
        **os.environ,
        "PHOENIX_WORKING_DIR": str(directory),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    phoenix = Phoenix(f"http://127.0.0.1:{port}")
    log = directory / "phoenix.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [ROOT / "var" / "tools" / "phoenix" / "bin" / "phoenix", "serve"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def wait() -> Phoenix:
        deadline_s = time.monotonic() + START_S
        while not phoenix.is_up():
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline_s, f"no Phoenix after {START_S:g} s"
            time.sleep(POLL_S)
        return phoenix

    try:
        yield wait
    finally:
        process.kill()
        process.wait(10)
