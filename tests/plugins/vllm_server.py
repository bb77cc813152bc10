"""Real vLLM on the CPU with the tiny checkpoint, started once a session; its spans go to `model_traces`."""

from collections.abc import Iterator

import pytest

from serving.engine.child_server import VllmServer, VllmServing, running_vllm
from serving.engine.options import TINY_ARGUMENTS
from serving.engine.tiny_checkpoint import build_tiny_checkpoint
from tests.plugins.otlp_receiver import KeptExports
from workers.development.otlp_receiver import OtlpReceiver

TINY_MODEL = "sluicegate-tiny"
READY_TIMEOUT_S = 240.0


@pytest.fixture(scope="session")
def model_traces() -> Iterator[KeptExports]:
    """What the session's vLLM exported."""
    exports = KeptExports()
    with OtlpReceiver(exports) as receiver:
        exports.endpoint = receiver.endpoint
        yield exports


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory, model_traces: KeptExports) -> Iterator[VllmServer]:
    """A healthy server of the tiny checkpoint."""
    directory = tmp_path_factory.mktemp("vllm")
    model = build_tiny_checkpoint(directory / "tiny")
    serving = VllmServing(
        model=str(model),
        served_name=TINY_MODEL,
        arguments=TINY_ARGUMENTS,
        traces_endpoint=f"{model_traces.endpoint}/v1/traces",
    )
    with running_vllm(serving, log=directory / "vllm.log", ready_timeout_s=READY_TIMEOUT_S) as server:
        yield server
