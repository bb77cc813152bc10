"""The Ray Serve LLM application: refused early where it cannot work; on real Ray and vLLM it answers and recovers."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest

from serving.endpoint.client import ChatClient, Endpoint
from serving.engine import application as app
from serving.engine.application import LlmServing
from serving.engine.options import TINY_ENGINE
from serving.engine.tiny_checkpoint import build_tiny_checkpoint
from serving.generation.generator import GenerationDefaults, OpenAiGenerator
from tests.checkout import ROOT
from tests.contracts.generator import GeneratorCase
from tests.contracts.samples import generation_request
from tests.plugins.vllm_server import READY_TIMEOUT_S, TINY_MODEL
from topology.contract.errors import CheckFailed, RetryLater, SettingsError
from workers.process.clock import SystemClock

PORT = 18241
LOGICAL_CPUS = 8
"""More than a small machine has: Serve's own actors each ask for one."""


def test_a_local_model_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        app.build_application(LlmServing(model=str(tmp_path / "nothing"), served_name="m"))


@contextmanager
def local_ray() -> Generator[None]:
    import ray

    root = str(ROOT)
    ray.init(
        num_cpus=LOGICAL_CPUS,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": root, "RAY_USAGE_STATS_ENABLED": "0"}},
    )
    try:
        yield
    finally:
        ray.shutdown()


@asynccontextmanager
async def generator_at(base_url: str) -> AsyncGenerator[GeneratorCase]:
    clock = SystemClock()
    client = ChatClient(Endpoint(name="generator", base_url=base_url, request_timeout_s=10.0), clock=clock)
    generator = OpenAiGenerator(client, GenerationDefaults(model=TINY_MODEL))
    try:
        yield GeneratorCase(generator=generator, clock=clock)
    finally:
        await generator.aclose()


@pytest.mark.ray
@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_serves_and_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    serving = LlmServing(
        model=str(build_tiny_checkpoint(tmp_path / "tiny")), served_name=TINY_MODEL, device="cpu", engine=TINY_ENGINE
    )
    states: list[str] = []
    with local_ray():
        base_url = app.start(
            serving, port=PORT, ready_timeout_s=READY_TIMEOUT_S, progress=lambda state, _: states.append(state)
        )
        try:
            assert states[-1] == "RUNNING"
            asyncio.run(_ask_and_refuse(base_url))
            _kill_engine()
            asyncio.run(_wait_answer(generator_at(base_url), READY_TIMEOUT_S))
        finally:
            app.stop()


async def _ask_and_refuse(base_url: str) -> None:
    async with generator_at(base_url) as case:
        draft = await case.ask()
        assert draft.usage.output_tokens > 0
        assert "evt-1.generator.1" in draft.response_id
        with pytest.raises(CheckFailed):
            await case.generator.generate(generation_request(case.clock.monotonic_s() + 30.0, "word " * 16_000))


async def _wait_answer(made: AbstractAsyncContextManager[GeneratorCase], timeout_s: float) -> None:
    """Return at the first answer; until then every refusal must be one that the pipeline waits out."""
    started_s = time.monotonic()
    async with made as case:
        while True:
            try:
                await case.ask()
            except RetryLater:
                assert time.monotonic() - started_s < timeout_s
                await asyncio.sleep(0.5)
            else:
                return


def _kill_engine() -> None:
    """Kill the engine process below this test's own Ray."""
    below = psutil.Process().children(recursive=True)
    engines = [child for child in below if "EngineCore" in " ".join(child.cmdline())]
    assert engines
    for engine in engines:
        engine.kill()
