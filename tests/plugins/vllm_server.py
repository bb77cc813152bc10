"""Real vLLM on the CPU with the tiny checkpoint, started once a session. Import `vllm_server` where it is used."""

from collections.abc import Iterator

import pytest

from serving.server import VllmServer, VllmServing, running_vllm
from serving.tiny import build_tiny_checkpoint
from serving.vllm_options import TINY_ARGUMENTS

TINY_MODEL = "sluicegate-tiny"
READY_TIMEOUT_S = 240.0


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """A healthy server of the tiny checkpoint."""
    directory = tmp_path_factory.mktemp("vllm")
    model = build_tiny_checkpoint(directory / "tiny")
    serving = VllmServing(model=str(model), served_name=TINY_MODEL, arguments=TINY_ARGUMENTS)
    with running_vllm(serving, log=directory / "vllm.log", ready_timeout_s=READY_TIMEOUT_S) as server:
        yield server
