"""Real vLLM on the CPU with the tiny checkpoint, started once a session.

Its start is the dearest of all: mostly imports. The demonstration's own test, and the long form, start another one
under Ray Serve.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from serving.engine.child_server import VllmServer, VllmServing, running_vllm
from serving.engine.options import TINY_ARGUMENTS
from serving.engine.tiny_checkpoint import build_tiny_checkpoint

TINY_MODEL = "sluicegate-tiny"
READY_TIMEOUT_S = 400.0
"""It takes a minute on two idle cores, and several on two that others want."""


@contextmanager
def session_vllm(directory: Path, traces_endpoint: str) -> Generator[VllmServer]:
    """Run a healthy server of the tiny checkpoint that exports its spans."""
    serving = VllmServing(
        model=str(build_tiny_checkpoint(directory / "tiny")),
        served_name=TINY_MODEL,
        arguments=TINY_ARGUMENTS,
        traces_endpoint=f"{traces_endpoint}/v1/traces",
    )
    with running_vllm(serving, log=directory / "vllm.log", ready_timeout_s=READY_TIMEOUT_S) as server:
        yield server
