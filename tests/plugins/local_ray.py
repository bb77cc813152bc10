"""Ray on loopback, started once a session.

Importing this prepares the environment: Ray reads it when it is first imported, which other test modules may do.
"""

import os
from collections.abc import Generator

import pytest

from tests.checkout import ROOT
from workers.settings import RaySettings
from workers.supervision.ray_session import prepare_ray, ray_session

prepare_ray(RaySettings())

LOGICAL_CPUS = 4
"""Ray starts as many processes in advance; our actors ask for a tenth each."""


@pytest.fixture(scope="session")
def local_ray() -> Generator[None]:
    """A cluster of this machine alone, whose workers import this very checkout."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        with ray_session(RaySettings(logical_cpus=LOGICAL_CPUS)):
            import ray

            assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
            yield
