"""What every test may use: a broker, one with access control, Ray and vLLM, each started once a session on demand.

A fixture imports what it starts only then, so that collecting a folder of unit tests loads neither Kafka nor vLLM.
"""

from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.plugins.progress import pytest_addoption, pytest_configure, pytest_terminal_summary
from tests.plugins.side_by_side import pytest_collection_modifyitems, pytest_xdist_make_scheduler
from workers.settings import RaySettings
from workers.supervision.ray_session import prepare_ray

if TYPE_CHECKING:
    from serving.engine.child_server import VllmServer
    from tests.plugins.kafka_broker import Kafka
    from tests.plugins.otlp_receiver import KeptExports
    from tests.plugins.secure_broker import SecureBroker

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_terminal_summary",
    "pytest_xdist_make_scheduler",
]

prepare_ray(RaySettings())  # Ray reads the environment when it is first imported, which any test module may do


@pytest.fixture(scope="session")
def kafka_session(tmp_path_factory: pytest.TempPathFactory) -> "Generator[Kafka]":
    """Hold the session's broker, in whatever state the last test left it; `kafka` repairs it."""
    from tests.plugins.kafka_broker import session_broker

    with session_broker(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture
def kafka(kafka_session: "Kafka") -> "Generator[Kafka]":
    """Hold the session's broker; it runs again when the test is over, whatever the test did to it."""
    yield kafka_session
    kafka_session.repair()


@pytest.fixture(scope="session")
def secure_broker(tmp_path_factory: pytest.TempPathFactory, kafka_session: "Kafka") -> "Generator[SecureBroker]":
    """Hold the session's broker with access control; skip where brokers are not the session's to start."""
    from tests.plugins.secure_broker import SecureBroker

    assert kafka_session.broker.is_running
    with closing(SecureBroker(tmp_path_factory.mktemp("secure"))) as secure:
        yield secure


@pytest.fixture(scope="session")
def local_ray() -> Generator[None]:
    """Hold this process's connection to the session's Ray."""
    from tests.plugins.local_ray import session_ray

    with session_ray():
        yield


@pytest.fixture(scope="session")
def ray_address(local_ray: None) -> str:
    """Return where processes of workers find the session's Ray."""
    import ray

    return ray.get_runtime_context().gcs_address


@pytest.fixture(scope="session")
def model_traces() -> "Generator[KeptExports]":
    """Hold what the session's vLLM exports."""
    from tests.plugins.otlp_receiver import kept_exports

    with kept_exports() as exports:
        yield exports


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory, model_traces: "KeptExports") -> "Generator[VllmServer]":
    """Hold the session's vLLM, healthy, with the tiny checkpoint; its spans go to `model_traces`."""
    from tests.plugins.vllm_server import session_vllm

    with session_vllm(tmp_path_factory.mktemp("vllm"), model_traces.endpoint) as server:
        yield server
